import { type Static, Type } from 'typebox'
import { BreakerConfig, ProviderRetries, ProviderTimeouts } from './resilience-schema.ts'
import { options } from './schema-parts.ts'

/** Where models are, and how they are asked. */
export const ProviderConfig = Type.Object(
  {
    kind: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'What it is: `openai`, `groq`, …, `openai-compatible`. Default: its name.',
      }),
    ),
    baseURL: Type.Optional(
      Type.String({ pattern: '^https?://', description: 'Its API root. Default: the public one.' }),
    ),
    apiKey: Type.Optional(
      Type.String({ minLength: 1, description: "The gateway's key there. Default: the usual variable." }),
    ),
    apiKeyFile: Type.Optional(
      Type.String({ minLength: 1, description: 'Instead of `apiKey`: a file with it, such as a mounted Secret.' }),
    ),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String(), { description: 'Sent with every request to it.' }),
    ),
    responses: Type.Optional(
      Type.Union([Type.Literal('translated'), Type.Literal('native')], {
        default: 'translated',
        description:
          'How it is asked for responses: translated to chat completions, or native, at its own `/responses`.',
      }),
    ),
    timeouts: Type.Optional(ProviderTimeouts),
    retries: Type.Optional(ProviderRetries),
    breaker: Type.Optional(BreakerConfig),
  },
  options,
)

export type ProviderConfig = Static<typeof ProviderConfig>
