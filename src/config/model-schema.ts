import { type Static, Type } from 'typebox'
import { CacheConfig } from './cache-schema.ts'
import { LimitsConfig } from './limits-schema.ts'
import { planFields, targetFields } from './plan-schema.ts'
import { ModelRetries, ModelTimeouts } from './resilience-schema.ts'
import { options } from './schema-parts.ts'

/** What a name that clients ask for stands for. */
export const ModelConfig = Type.Object(
  {
    targets: Type.Array(
      Type.Object(
        {
          model: Type.String({
            pattern: '^[^/]+/.+$',
            description: '`provider/name`, or `provider/*` for a wildcard.',
          }),
          weight: Type.Optional(Type.Number({ minimum: 0, default: 1, description: 'Share of the requests.' })),
          ...targetFields,
        },
        options,
      ),
      { minItems: 1, description: 'Where its requests go.' },
    ),
    cache: Type.Optional(CacheConfig),
    ...planFields,
    timeouts: Type.Optional(ModelTimeouts),
    retries: Type.Optional(ModelRetries),
    limits: Type.Optional(LimitsConfig),
    capabilities: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: 'Shown at `GET /v1/models`.' }),
    ),
  },
  options,
)

export type ModelConfig = Static<typeof ModelConfig>
