import { type Static, Type } from 'typebox'
import { LimitsConfig } from './limits-schema.ts'
import { options } from './schema-parts.ts'

const Time = (description: string) =>
  Type.String({
    description,
    pattern: '^\\d{4}-\\d\\d-\\d\\d[Tt]\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?([Zz]|[+-]\\d\\d:\\d\\d)$',
  })

export const ApiKey = Type.Object(
  {
    key: Type.Optional(Type.String({ minLength: 8, description: 'The key in clear; best from the environment.' })),
    sha256: Type.Optional(
      Type.String({ pattern: '^[0-9a-fA-F]{64}$', description: 'Instead of `key`: its SHA-256, 64 hex digits.' }),
    ),
    user: Type.Optional(Type.String({ minLength: 1, description: 'User id. Default: made from the key.' })),
    models: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), { description: 'Models it may use, `openai/*` too. Default: all.' }),
    ),
    limits: Type.Optional(LimitsConfig),
    notBefore: Type.Optional(Time('It is refused before this time, as `2027-01-31T00:00:00Z` (RFC 3339).')),
    expiresAt: Type.Optional(Time('And from this time on.')),
  },
  options,
)

export type ApiKeyConfig = Static<typeof ApiKey>

export const AuthConfig = Type.Object(
  {
    keys: Type.Optional(Type.Array(ApiKey, { minItems: 1, description: 'The keys of the clients.' })),
    keyFiles: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        description:
          'Files with more of them: one a line, or in `.yaml` a list as `keys`. Of a directory each file, named for its user.',
      }),
    ),
  },
  options,
)
