import { Type } from 'typebox'
import { options } from './schema-parts.ts'

/** What is counted, and where it is shown. */
export const MetricsConfig = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Count, and show it at `GET /metrics`, which needs no key.' }),
    port: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description: 'A port of its own for that, instead of `server.port`; 0 for a free one.',
      }),
    ),
    host: Type.Optional(Type.String({ minLength: 1, description: 'Of that port. Default: as `server.host`.' })),
    users: Type.Object(
      {
        enabled: Type.Boolean({ default: false, description: 'Tokens and cost by user, too.' }),
        top: Type.Integer({
          minimum: 1,
          maximum: 1000,
          default: 50,
          description: 'How many have numbers of their own.',
        }),
      },
      { ...options, default: {} },
    ),
  },
  { ...options, default: {} },
)
