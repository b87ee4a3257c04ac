import { Type } from 'typebox'
import { options } from './schema-parts.ts'

const Price = (description: string) => Type.Optional(Type.Number({ minimum: 0, description }))

/** What is known of one model. */
export const CatalogEntry = Type.Object(
  {
    contextWindow: Type.Optional(Type.Integer({ minimum: 1, description: 'Tokens of prompt and answer together.' })),
    prices: Type.Optional(
      Type.Object(
        {
          input: Price('USD per million tokens of the prompt.'),
          output: Price('Of the answer, reasoning included.'),
          cachedInput: Price("Of what was read from the provider's cache. Default: as `input`."),
          cacheWrite: Price('Of what was written to it. Default: as `input`.'),
        },
        options,
      ),
    ),
  },
  options,
)
