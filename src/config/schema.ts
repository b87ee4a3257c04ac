import { type Static, Type } from 'typebox'
import { AdminConfig } from './admin-schema.ts'
import { AgentConfig } from './agent-schema.ts'
import { AuthConfig } from './auth-schema.ts'
import { CatalogEntry } from './catalog-schema.ts'
import { ConversationsConfig, ResponsesConfig } from './kept-schema.ts'
import { GatewayLimitsConfig } from './limits-schema.ts'
import { MetricsConfig } from './metrics-schema.ts'
import { ModelConfig } from './model-schema.ts'
import { ProviderConfig } from './provider-schema.ts'
import { options } from './schema-parts.ts'
import { ServerConfig } from './server-schema.ts'
import { StoreConfig } from './store-schema.ts'
import { TracingConfig } from './tracing-schema.ts'

/** `signalbox.yaml`: the one source of the configuration's types, defaults, validation and documentation. */
export const ConfigSchema = Type.Object(
  {
    server: ServerConfig,
    auth: Type.Optional(AuthConfig),
    providers: Type.Record(Type.String(), ProviderConfig, {
      default: {},
      description: 'Where models are. Default: every provider whose key is in the environment.',
    }),
    models: Type.Optional(
      Type.Record(Type.String(), ModelConfig, {
        description: 'What clients may ask for. Default: `provider/*` for each provider.',
      }),
    ),
    agents: Type.Record(Type.String(), AgentConfig, {
      default: {},
      description: 'Models with instructions, tools, guardrails and conversations.',
    }),
    extensions: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'A module with `tools`, `guardrails`, `agentLoader`, `conversationLoader` or `auth`.',
      }),
    ),
    conversations: ConversationsConfig,
    responses: ResponsesConfig,
    limits: GatewayLimitsConfig,
    store: StoreConfig,
    metrics: MetricsConfig,
    tracing: TracingConfig,
    admin: AdminConfig,
    catalog: Type.Record(Type.String(), CatalogEntry, {
      default: {},
      description: 'By `provider/name`: what is not publicly known of a model, or is otherwise for you.',
    }),
  },
  options,
)

export type Config = Static<typeof ConfigSchema>
