import { type Static, Type } from 'typebox'
import { AdminConfig } from './admin-schema.ts'
import { AuthConfig } from './auth-schema.ts'
import { CacheConfig } from './cache-schema.ts'
import { GatewayLimitsConfig, LimitsConfig } from './limits-schema.ts'
import { OverloadConfig } from './overload-schema.ts'
import { planFields, targetFields } from './plan-schema.ts'
import { BreakerConfig, ModelRetries, ModelTimeouts, ProviderRetries, ProviderTimeouts } from './resilience-schema.ts'
import { Duration, options } from './schema-parts.ts'

const ServerConfig = Type.Object(
  {
    host: Type.String({
      minLength: 1,
      default: '127.0.0.1',
      description: 'Address to listen on; `HOST` wins over it.',
    }),
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 4000,
      description: 'Port to listen on, 0 for a free one; `PORT` wins over it.',
    }),
    bodyLimit: Type.Integer({ minimum: 1024, default: 10_485_760, description: 'Largest request body, in bytes.' }),
    headerLimit: Type.Integer({ minimum: 1024, default: 16_384, description: 'Largest request head, in bytes.' }),
    jsonDepth: Type.Integer({ minimum: 8, maximum: 1000, default: 128, description: 'Deepest nesting of a body.' }),
    timeouts: Type.Object(
      {
        headers: Duration('To receive a request head.', '15s'),
        request: Duration('To receive a whole request.', '60s'),
        keepAlive: Duration(
          'An idle connection is closed after this; clients are told to use none that was idle for 5s.',
          '72s',
        ),
        write: Duration('A client that reads nothing of its answer for this long is dropped.', '5m'),
      },
      { ...options, default: {} },
    ),
    keepAlive: Duration('A silent stream gets a comment this often.', '15s'),
    drainDelay: Duration('From SIGTERM (readiness off) to the end of listening.', '5s'),
    overload: OverloadConfig,
    drainTimeout: Duration('Open requests may take this long to finish when the gateway stops.', '60s'),
    cors: Type.Object(
      {
        origins: Type.Array(Type.String({ minLength: 1 }), {
          default: ['*'],
          description: 'Origins that browsers may call from; `*` for all.',
        }),
        credentials: Type.Boolean({ default: false, description: 'Let browsers send cookies.' }),
      },
      { ...options, default: {} },
    ),
    logLevel: Type.Union(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
      { default: 'info', description: 'fatal, error, warn, info, debug, trace or silent.' },
    ),
  },
  { ...options, default: {} },
)

const ProviderConfig = Type.Object(
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

const ModelConfig = Type.Object(
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

const AgentConfig = Type.Object(
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

const Price = (description: string) => Type.Optional(Type.Number({ minimum: 0, description }))

const CatalogEntry = Type.Object(
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

const ConversationsConfig = Type.Object(
  {
    ttl: Duration('A conversation is kept this long after its last turn.', '30d'),
    lockTimeout: Type.Optional(
      Duration(
        'A turn waits this long for the one before it; then it is a 409. Default: two thirds of `server.keepAlive`, at most 10s.',
      ),
    ),
    loaderTimeout: Duration('Loading an agent or a conversation, or saving one, may take this long.', '5s'),
  },
  { ...options, default: {} },
)

const ResponsesConfig = Type.Object(
  { ttl: Duration('A stored response, or chat completion, is kept this long.', '30d') },
  { ...options, default: {} },
)

const RedisTLS = Type.Object(
  {
    ca: Type.Optional(Type.String({ minLength: 1, description: 'Certificates in PEM, instead of the public ones.' })),
    cert: Type.Optional(Type.String({ minLength: 1, description: "The gateway's own certificate, in PEM." })),
    key: Type.Optional(Type.String({ minLength: 1, description: 'Its key, in PEM.' })),
    servername: Type.Optional(Type.String({ minLength: 1, description: "Default: the URL's host." })),
    rejectUnauthorized: Type.Optional(Type.Boolean({ default: true, description: 'False takes any certificate.' })),
  },
  options,
)

const StoreConfig = Type.Object(
  {
    kind: Type.Union([Type.Literal('memory'), Type.Literal('file'), Type.Literal('redis')], {
      default: 'memory',
      description: 'memory (lost with the process), file (for one process) or redis (for all replicas).',
    }),
    directory: Type.Optional(
      Type.String({ minLength: 1, description: 'Of a store of files: where they are, seen from this one.' }),
    ),
    url: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Of Redis: `redis://`, `redis+sentinel://` or `redis+cluster://`; `rediss` for TLS.',
      }),
    ),
    username: Type.Optional(Type.String({ minLength: 1, description: "Of Redis: instead of the URL's." })),
    password: Type.Optional(Type.String({ minLength: 1, description: "Of Redis: instead of the URL's." })),
    sentinelUsername: Type.Optional(
      Type.String({ minLength: 1, description: 'Of the sentinels, which have users of their own.' }),
    ),
    sentinelPassword: Type.Optional(Type.String({ minLength: 1, description: 'Likewise.' })),
    tls: Type.Optional(RedisTLS),
    keyPrefix: Type.String({ minLength: 1, default: 'signalbox:', description: 'Of Redis: before every key.' }),
    connectTimeout: Duration('Of Redis: to open a connection.', '2s'),
    commandTimeout: Duration('Of Redis: until a command is given up.', '1s'),
    leaseTime: Duration('Of Redis: how long the conversation of a turn whose process died stays locked.', '15s'),
    required: Type.Boolean({ default: false, description: 'Of Redis: `/ready` is 503 while it cannot be reached.' }),
  },
  { ...options, default: {} },
)

const MetricsConfig = Type.Object(
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

const TracingConfig = Type.Object(
  {
    enabled: Type.Optional(
      Type.Boolean({
        description:
          'Trace every request. Default: when `OTEL_EXPORTER_OTLP_ENDPOINT`, its `_TRACES_` form or `OTEL_TRACES_EXPORTER` is set.',
      }),
    ),
    propagate: Type.Boolean({ default: true, description: 'Send `traceparent` and `tracestate` to providers.' }),
    content: Type.Boolean({
      default: false,
      description: 'Put what was said to models, and what they said, into traces.',
    }),
    flushTimeout: Duration('The end of the gateway waits this long for a collector.', '3s'),
  },
  { ...options, default: {} },
)

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
export type ProviderConfig = Static<typeof ProviderConfig>
export type ModelConfig = Static<typeof ModelConfig>
export type AgentConfig = Static<typeof AgentConfig>

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `15s` in milliseconds. */
export function milliseconds(duration: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(duration) ?? []
  return Number(amount) * units[unit as keyof typeof units]
}
