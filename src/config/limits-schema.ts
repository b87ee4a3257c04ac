import { type Static, Type } from 'typebox'
import { options } from './schema-parts.ts'

/** What a key, a model or the whole gateway may use. What is left out is not limited. */
export const LimitsConfig = Type.Object(
  {
    requestsPerMinute: Type.Optional(Type.Integer({ minimum: 1, description: 'Requests to models.' })),
    tokensPerMinute: Type.Optional(Type.Integer({ minimum: 1, description: 'Tokens of prompts and answers.' })),
    concurrentRequests: Type.Optional(Type.Integer({ minimum: 1, description: 'Requests at the same time.' })),
    usdPerDay: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: 'Cost in a day (UTC).' })),
    usdPerMonth: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: 'Cost in a calendar month (UTC).' })),
  },
  options,
)

export type Limits = Static<typeof LimitsConfig>
