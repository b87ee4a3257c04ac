import { Type } from 'typebox'
import { Duration } from './duration.ts'
import { OverloadConfig } from './overload-schema.ts'
import { options } from './schema-parts.ts'

/** The address, what a request may be, and how the gateway stops. */
export const ServerConfig = Type.Object(
  {
    host: Type.String({
      minLength: 1,
      default: '127.0.0.1',
      description: 'Address to listen on; `HOST` wins over it.',
    }),
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 4000,
      description: 'Port to listen on, 0 for a free one; `PORT` wins over it.',
    }),
    bodyLimit: Type.Integer({ minimum: 1024, default: 10_485_760, description: 'Largest request body, in bytes.' }),
    headerLimit: Type.Integer({ minimum: 1024, default: 16_384, description: 'Largest request head, in bytes.' }),
    jsonDepth: Type.Integer({ minimum: 8, maximum: 1000, default: 128, description: 'Deepest nesting of a body.' }),
    timeouts: Type.Object(
      {
        headers: Duration('To receive a request head.', '15s'),
        request: Duration('To receive a whole request.', '60s'),
        keepAlive: Duration(
          'An idle connection is closed after this; clients are told to use none that was idle for 5s.',
          '72s',
        ),
        write: Duration('A client that reads nothing of its answer for this long is dropped.', '5m'),
      },
      { ...options, default: {} },
    ),
    keepAlive: Duration('A silent stream gets a comment this often.', '15s'),
    drainDelay: Duration('From SIGTERM (readiness off) to the end of listening.', '5s'),
    overload: OverloadConfig,
    drainTimeout: Duration('Open requests may take this long to finish when the gateway stops.', '60s'),
    cors: Type.Object(
      {
        origins: Type.Array(Type.String({ minLength: 1 }), {
          default: ['*'],
          description: 'Origins that browsers may call from; `*` for all.',
        }),
        credentials: Type.Boolean({ default: false, description: 'Let browsers send cookies.' }),
      },
      { ...options, default: {} },
    ),
    logLevel: Type.Union(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
      { default: 'info', description: 'fatal, error, warn, info, debug, trace or silent.' },
    ),
  },
  { ...options, default: {} },
)
