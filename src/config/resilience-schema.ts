import { type Static, Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

export const ProviderTimeouts = Type.Object(
  {
    connect: Type.Optional(Duration('To open a connection.', '10s')),
    firstToken: Type.Optional(Duration('To the first piece of a streamed answer.', '120s')),
    idle: Type.Optional(Duration('Between two pieces of an answer.', '120s')),
    total: Type.Optional(Duration('The whole call.', '10m')),
  },
  options,
)

/** Connections are the provider's, and with them the time that one may take. */
export const ModelTimeouts = Type.Object(
  {
    firstToken: Type.Optional(Duration("Instead of its providers'.")),
    idle: Type.Optional(Duration('Likewise.')),
    total: Type.Optional(Duration('Likewise.')),
  },
  options,
)

export const ProviderRetries = Type.Object(
  {
    max: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 10,
        default: 2,
        description: 'Times that it is asked again, if no other target can be asked instead; 0 for never.',
      }),
    ),
    baseDelay: Type.Optional(
      Duration('The first pause is drawn between 0 and this, each later one up to twice as long.', '250ms'),
    ),
    maxDelay: Type.Optional(Duration('The longest pause that is drawn.', '8s')),
    deadline: Type.Optional(
      Duration('No retry begins later than this after the request, whatever `Retry-After` says.', '30s'),
    ),
    budget: Type.Optional(
      Type.Object(
        {
          ratio: Type.Optional(
            Type.Number({
              minimum: 0,
              maximum: 10,
              default: 0.2,
              description: 'Retries for each request of the last 10 s, at most.',
            }),
          ),
          perSecond: Type.Optional(
            Type.Number({ minimum: 0, default: 1, description: 'Retries that may be beside these.' }),
          ),
        },
        options,
      ),
    ),
  },
  options,
)

export const ModelRetries = Type.Object(
  {
    max: Type.Optional(Type.Integer({ minimum: 0, maximum: 10, description: "Instead of its providers'." })),
    baseDelay: Type.Optional(Duration('Likewise.')),
    maxDelay: Type.Optional(Duration('Likewise.')),
    deadline: Type.Optional(Duration('Likewise.')),
  },
  options,
)

export const BreakerConfig = Type.Object(
  {
    enabled: Type.Optional(
      Type.Boolean({ default: true, description: 'Ask a model no more for a while when too much has failed there.' }),
    ),
    threshold: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        exclusiveMaximum: 1,
        default: 0.5,
        description: 'The share of failures above which it opens.',
      }),
    ),
    window: Type.Optional(Duration('Requests are counted for this long.', '10s')),
    minimumRequests: Type.Optional(
      Type.Integer({ minimum: 1, default: 10, description: 'Fewer of them tell nothing.' }),
    ),
    openFor: Type.Optional(Duration('Then one request may try whether it is there again.', '10s')),
  },
  options,
)

export type RetriesConfig = Static<typeof ProviderRetries>
export type BreakerConfig = Static<typeof BreakerConfig>
