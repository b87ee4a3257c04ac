import { Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

const RedisTLS = Type.Object(
  {
    ca: Type.Optional(Type.String({ minLength: 1, description: 'Certificates in PEM, instead of the public ones.' })),
    cert: Type.Optional(Type.String({ minLength: 1, description: "The gateway's own certificate, in PEM." })),
    key: Type.Optional(Type.String({ minLength: 1, description: 'Its key, in PEM.' })),
    servername: Type.Optional(Type.String({ minLength: 1, description: "Default: the URL's host." })),
    rejectUnauthorized: Type.Optional(Type.Boolean({ default: true, description: 'False takes any certificate.' })),
  },
  options,
)

/** Where everything is that outlives a request. */
export const StoreConfig = Type.Object(
  {
    kind: Type.Union([Type.Literal('memory'), Type.Literal('file'), Type.Literal('redis')], {
      default: 'memory',
      description: 'memory (lost with the process), file (for one process) or redis (for all replicas).',
    }),
    directory: Type.Optional(
      Type.String({ minLength: 1, description: 'Of a store of files: where they are, seen from this one.' }),
    ),
    url: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Of Redis: `redis://`, `redis+sentinel://` or `redis+cluster://`; `rediss` for TLS.',
      }),
    ),
    username: Type.Optional(Type.String({ minLength: 1, description: "Of Redis: instead of the URL's." })),
    password: Type.Optional(Type.String({ minLength: 1, description: "Of Redis: instead of the URL's." })),
    sentinelUsername: Type.Optional(
      Type.String({ minLength: 1, description: 'Of the sentinels, which have users of their own.' }),
    ),
    sentinelPassword: Type.Optional(Type.String({ minLength: 1, description: 'Likewise.' })),
    tls: Type.Optional(RedisTLS),
    keyPrefix: Type.String({ minLength: 1, default: 'signalbox:', description: 'Of Redis: before every key.' }),
    connectTimeout: Duration('Of Redis: to open a connection.', '2s'),
    commandTimeout: Duration('Of Redis: until a command is given up.', '1s'),
    leaseTime: Duration('Of Redis: how long the conversation of a turn whose process died stays locked.', '15s'),
    required: Type.Boolean({ default: false, description: 'Of Redis: `/ready` is 503 while it cannot be reached.' }),
  },
  { ...options, default: {} },
)
