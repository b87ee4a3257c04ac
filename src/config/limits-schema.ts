import { type Static, Type } from 'typebox'
import { options } from './schema-parts.ts'

const limits = {
  requestsPerMinute: Type.Optional(Type.Integer({ minimum: 1, description: 'Requests to models.' })),
  tokensPerMinute: Type.Optional(Type.Integer({ minimum: 1, description: 'Tokens of prompts and answers.' })),
  concurrentRequests: Type.Optional(Type.Integer({ minimum: 1, description: 'Requests at the same time.' })),
  usdPerDay: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: 'Cost in a day (UTC).' })),
  usdPerMonth: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: 'Cost in a calendar month (UTC).' })),
}

/** What a key, a model or the whole gateway may use. What is left out is not limited. */
export const LimitsConfig = Type.Object(limits, options)

export type Limits = Static<typeof LimitsConfig>

const Policy = (description: string) =>
  Type.Union([Type.Literal('local'), Type.Literal('closed')], { default: 'local', description })

/** Of all requests together, and how limits are kept at all. */
export const GatewayLimitsConfig = Type.Object(
  {
    ...limits,
    whenStoreIsDown: Type.Object(
      {
        requests: Policy('While Redis is away: `local`, each process keeps the limit by itself, or `closed`, a 503.'),
        tokens: Policy('Likewise.'),
        concurrency: Policy('Likewise.'),
        budgets: Policy('Likewise; `local` goes on from what Redis last said was spent.'),
      },
      { ...options, default: {} },
    ),
    localShare: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1,
      default: 1,
      description: 'How much of each limit a process then grants: 0.25 where there are four.',
    }),
    outputTokens: Type.Integer({
      minimum: 0,
      default: 1024,
      description: 'Reserved for an answer whose request has no `max_tokens`.',
    }),
    countUsage: Type.Boolean({
      default: false,
      description: 'Count what every key uses, also of those without limits.',
    }),
  },
  { ...options, default: {} },
)
