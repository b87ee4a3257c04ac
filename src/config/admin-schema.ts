import { type Static, Type } from 'typebox'
import { options } from './schema-parts.ts'

const AdminKey = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 100,
      description: 'Whose it is: what the audit log calls its calls.',
    }),
    key: Type.Optional(Type.String({ minLength: 16, description: 'The key in clear; best from the environment.' })),
    sha256: Type.Optional(
      Type.String({ pattern: '^[0-9a-fA-F]{64}$', description: 'Instead of `key`: its SHA-256, 64 hex digits.' }),
    ),
  },
  options,
)

/** The admin API, which makes keys of clients and takes targets out. */
export const AdminConfig = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'Serve the admin API; then clients need a key: of `auth.keys`, or made there.',
    }),
    port: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description: 'A port of its own for it, instead of `server.port`; 0 for a free one.',
      }),
    ),
    host: Type.Optional(Type.String({ minLength: 1, description: 'Of that port. Default: as `server.host`.' })),
    keys: Type.Array(AdminKey, { default: [], description: 'Who may use it. No key of a client can.' }),
  },
  { ...options, default: {} },
)

export type AdminConfig = Static<typeof AdminConfig>
