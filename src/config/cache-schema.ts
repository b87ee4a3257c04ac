import { type Static, Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

/** Answers of a model that are given again to whoever asks exactly the same. */
export const CacheConfig = Type.Object(
  {
    ttl: Duration('An answer is given again for this long.'),
    scope: Type.Optional(
      Type.Union([Type.Literal('user'), Type.Literal('all')], {
        default: 'user',
        description: 'user (to whom it was given first) or all (who may use the model).',
      }),
    ),
    maxBytes: Type.Optional(
      Type.Integer({
        minimum: 1024,
        maximum: 16_777_216,
        default: 1_048_576,
        description: 'A longer answer is passed on and not kept.',
      }),
    ),
  },
  options,
)

export type CacheConfig = Static<typeof CacheConfig>
