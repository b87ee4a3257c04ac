import { type Static, Type } from 'typebox'
import { LimitsConfig } from './limits-schema.ts'
import { options } from './schema-parts.ts'

/** A model with instructions, tools, guardrails and conversations. */
export const AgentConfig = Type.Object(
  {
    model: Type.String({ minLength: 1, description: 'What it asks: one of `models`, or `provider/name`.' }),
    system: Type.Optional(
      Type.String({ minLength: 1, description: 'Its instructions, before all that callers send.' }),
    ),
    systemFile: Type.Optional(
      Type.String({ minLength: 1, description: 'Instead of `system`: a file with them, seen from this one.' }),
    ),
    tools: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        uniqueItems: true,
        description: 'Tools of the extension that the gateway runs for it.',
      }),
    ),
    allowExternalTools: Type.Optional(
      Type.Boolean({ default: true, description: 'False to ignore the tools that callers send.' }),
    ),
    maxSteps: Type.Optional(
      Type.Integer({ minimum: 1, default: 10, description: 'How often its model is asked for one answer.' }),
    ),
    guardrails: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        uniqueItems: true,
        description: 'Guardrails of the extension, in their order.',
      }),
    ),
    conversation: Type.Optional(
      Type.Object(
        {
          enabled: Type.Optional(Type.Boolean({ default: true, description: 'False when each request stands alone.' })),
          maxMessages: Type.Optional(Type.Integer({ minimum: 1, description: 'Older messages are dropped.' })),
          maxTokens: Type.Optional(
            Type.Integer({ minimum: 1, description: 'As estimated; older messages are dropped.' }),
          ),
        },
        options,
      ),
    ),
    limits: Type.Optional(LimitsConfig),
    capabilities: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: 'Shown at `GET /v1/models`.' }),
    ),
  },
  options,
)

export type AgentConfig = Static<typeof AgentConfig>
