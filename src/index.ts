/** The public SDK of Signalbox. */
export { AgentLoop, type AgentLoopOptions } from './agent/agent-loop.ts'
export { ConversationHistory, type ConversationSnapshot, type TruncateLimits } from './agent/conversation-history.ts'
export { type CreateAgentOptions, createAgent } from './agent/create-agent.ts'
export { defineGuardrail, type Guardrail, type GuardrailContext, type Verdict } from './agent/guardrail.ts'
export type { AgentLoaderPlugin, AgentRequest, ConversationKey, ConversationLoaderPlugin } from './agent/loaders.ts'
export { type StoredConversationsOptions, storedConversations } from './agent/stored-conversations.ts'
export { type AgentTool, defineTool, type JSONSchema, type ToolContext } from './agent/tool.ts'
export type { AuthPlugin, AuthVerifyResult, KeyLimits } from './auth/auth-plugin.ts'
export { type BearerKey, BearerKeyAuth, type BearerKeyAuthOptions } from './auth/bearer-key-auth.ts'
export {
  type Catalog,
  type CatalogEntry,
  type CatalogOverrides,
  createCatalog,
  type ModelPrices,
} from './engine/catalog.ts'
export { createEngine, type Engine, type EngineOptions } from './engine/create-engine.ts'
export type { Extension } from './extension.ts'
export type { CompletionUsage, HookEvents, Outcome } from './hooks/events.ts'
export { HookBus, type HookListener, type HookName } from './hooks/hook-bus.ts'
export type {
  Actual,
  AppliedLimit,
  KeyUsage,
  Limiter,
  LimiterOptions,
  Refusal,
  Reservation,
  Used,
} from './limits/limiter.ts'
export { MemoryLimiter, type MemoryLimiterOptions } from './limits/memory-limiter.ts'
export { RedisLimiter, type RedisLimiterOptions } from './limits/redis-limiter.ts'
export { type CreateLLMOptions, createLLM } from './llm/create-llm.ts'
export { createDemo, type DemoOptions } from './llm/demo.ts'
export { observed } from './llm/observed.ts'
export { type CachedOptions, cached } from './router/cached.ts'
export { ModelRouter, type Route, type ServerEntry } from './router/model-router.ts'
export { type PlanOptions, type PlanTarget, plan } from './router/plan.ts'
export { type WeightedTarget, weighted } from './router/weighted.ts'
export type { Answer } from './server/answer.ts'
export type { Prices } from './server/bill.ts'
export { type AgentSpec, type CreateServerOptions, createServer } from './server/create-server.ts'
export { type ErrorKind, GatewayError, type GatewayErrorOptions } from './server/errors.ts'
export type { IncomingRequest } from './server/incoming-request.ts'
export { OaiServer } from './server/oai-server.ts'
export { Readiness, type ReadinessCheck, type ReadinessReport } from './server/readiness.ts'
export type { HandleContext, OaiServerOptions } from './server/server-options.ts'
export { type EventLog, EventsGoneError, type ReadOptions } from './store/event-log.ts'
export { FilePersistence, type FilePersistenceOptions } from './store/file-persistence.ts'
export { type AcquireOptions, type Lease, LeaseLost, type Leases } from './store/lease.ts'
export { MemoryEventLog, type MemoryEventLogOptions } from './store/memory-event-log.ts'
export { MemoryLeases } from './store/memory-leases.ts'
export { MemoryPersistence, type MemoryPersistenceOptions } from './store/memory-persistence.ts'
export { PersistedIndex, type PersistedIndexOptions } from './store/persisted-index.ts'
export type { Persistence, SetOptions } from './store/persistence.ts'
export type { RedisConnectOptions, RedisTLS } from './store/redis-client.ts'
export { connectRedis, type RedisConnection } from './store/redis-connection.ts'
export { RedisEventLog, type RedisEventLogOptions } from './store/redis-event-log.ts'
export { RedisIndex } from './store/redis-index.ts'
export { RedisLeases, type RedisLeasesOptions } from './store/redis-leases.ts'
export { RedisPersistence } from './store/redis-persistence.ts'
export { ResponseStore, type ResponseStoreOptions } from './store/response-store.ts'
export type { IndexPageOptions, Place, SortedIndex } from './store/sorted-index.ts'
export { StoreUnavailable } from './store/store-unavailable.ts'
export type {
  AttemptEnd,
  AttemptObserver,
  AttemptStart,
  CacheOutcome,
  CacheReport,
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatMessage,
  ChatRequest,
  ConversationReport,
  EmbeddingRequest,
  EmbeddingResponse,
  FallbackReason,
  FallbackReport,
  GuardrailReport,
  LimitName,
  LimitScope,
  LimitUse,
  LLMClient,
  ProviderEvent,
  ProviderRequest,
  ProviderResponse,
  ResponsesAPI,
  ServerAddress,
  StoreReport,
  Target,
  Timeouts,
  ToolReport,
  Usage,
} from './types.ts'
