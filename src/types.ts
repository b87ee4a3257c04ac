import type {
  ChatCompletionCreateParamsBase,
  ChatCompletionMessageParam,
  ChatCompletion as OpenAIChatCompletion,
  ChatCompletionChunk as OpenAIChatCompletionChunk,
} from 'openai/resources/chat/completions'
import type { CompletionUsage } from 'openai/resources/completions'
import type { CreateEmbeddingResponse, EmbeddingCreateParams } from 'openai/resources/embeddings'

/** Fields that OpenAI, or the provider behind a model, knows and this version of the gateway does not. They pass. */
interface UnknownFields {
  readonly [field: string]: unknown
}

/** A chat-completions request in OpenAI's format: the lingua franca between the front, the router and every client. */
export type ChatRequest = Omit<ChatCompletionCreateParamsBase, 'stream'> & { stream?: boolean | null } & UnknownFields
/** One message of a conversation. `reasoning_content` is DeepSeek's, and by now that of many; other fields pass as well. */
export type ChatMessage = ChatCompletionMessageParam & { reasoning_content?: string | null }
export type ChatCompletion = OpenAIChatCompletion
export type FinishReason = OpenAIChatCompletion.Choice['finish_reason']
export type ChatCompletionChunk = OpenAIChatCompletionChunk
export type ChunkChoice = OpenAIChatCompletionChunk.Choice
export type ChunkDelta = OpenAIChatCompletionChunk.Choice.Delta
export type Usage = CompletionUsage
export type EmbeddingRequest = EmbeddingCreateParams & UnknownFields
export type EmbeddingResponse = CreateEmbeddingResponse

/** A body of the Responses API, for a provider that speaks it. */
export type ProviderRequest = { readonly model: string } & UnknownFields
/** A Response as such a provider answers it, taken at its word: the gateway reads little of it. */
export type ProviderResponse = { readonly output: readonly unknown[] } & UnknownFields
/** One event of its stream. */
export type ProviderEvent = { readonly type: string } & UnknownFields

/** How long each phase of an upstream call may take, in milliseconds. */
export interface Timeouts {
  /** Opening the connection, TLS included. Default 10 s. */
  connect: number
  /** From sending a streaming request to the first piece of its answer, however early its head comes. Default 120 s. */
  firstToken: number
  /** Between two pieces of an answer. Default 120 s. */
  idle: number
  /** The whole call. Default 10 min, as the OpenAI SDKs. */
  total: number
}

/** A model at a provider. */
export type Target = Pick<LLMClient, 'provider' | 'model'>

/** Why a request goes on to another target of its model. `unavailable`: the target turned out to take none at the moment. */
export type FallbackReason =
  | 'server_error'
  | 'connection'
  | 'timeout'
  | 'first_token_timeout'
  | 'rate_limit'
  | 'context_length'
  | 'auth'
  | 'unavailable'

/** A target has failed a request, which goes on to another. */
export interface FallbackReport {
  from: Target
  to: Target
  reason: FallbackReason
}

/** What came of one tool that ran in the gateway. */
export interface ToolReport {
  tool: string
  outcome: 'ok' | 'failed' | 'timeout' | 'invalid_arguments' | 'unknown_tool' | 'too_large' | 'aborted'
  durationMs: number
}

/** What a provider is asked. */
export type AskedRequest = ChatRequest | EmbeddingRequest | ProviderRequest

/** A provider is about to be asked. */
export interface AttemptStart {
  operation: 'chat' | 'embeddings'
  /** Who is asked. */
  target: Target
  /** Where that is, when it is known. */
  server?: ServerAddress
  stream: boolean
  /** What is asked: a function, so that it gets into no log by accident. */
  request(): AskedRequest
}

/** Where a provider listens. */
export interface ServerAddress {
  address: string
  port: number
}

/** What came of it. */
export interface AttemptEnd {
  /** `aborted` when nobody waited any more: the client left, or the gateway stopped. */
  outcome: 'ok' | 'error' | 'aborted'
  /** The code of the error, as clients see it: `upstream_timeout`, … */
  errorCode?: string
  durationMs: number
  /** From the start to the first piece of a streamed answer. */
  firstTokenMs?: number
  usage?: Usage
  /** The id that the provider gave its answer, and the model that it says has answered. */
  responseId?: string
  responseModel?: string
  finishReasons?: readonly string[]
  /** What was answered, whole or in chunks, as far as it came; for an observer that keeps it. */
  answer?(): readonly (ChatCompletion | ChatCompletionChunk)[]
}

/** Who observes an attempt. */
export interface AttemptObserver {
  /** Sent to the provider with the request. */
  readonly headers?: Readonly<Record<string, string>>
  /** The end is to bring what was answered. */
  readonly keepsAnswer?: boolean
  onFirstToken(): void
  /** Exactly once. */
  onEnd(end: AttemptEnd): void
}

/** A provider is to be asked again. */
export interface RetryReport {
  target: Target
  /** Of the retries of one call, from 1. */
  attempt: number
  /** The code of the error that it failed with. */
  reason: string
  /** Milliseconds until it is asked. */
  delayMs: number
}

/** `open`: nothing is sent to the target; `half_open`: one request finds out whether it is there again. */
export type BreakerState = 'closed' | 'half_open' | 'open'

/** The breaker of a target has changed its state. */
export interface BreakerChange {
  target: Target
  state: BreakerState
}

/** What was done with a conversation. */
export interface ConversationReport {
  operation: 'lock' | 'load' | 'save'
  /** `locked`: another turn held it for too long. */
  outcome: 'ok' | 'locked' | 'failed' | 'aborted'
  durationMs: number
}

/** What is limited: in a minute, at a time, or in USD within a day or month of UTC. */
export type LimitName = 'requests' | 'tokens' | 'concurrency' | 'usd_day' | 'usd_month'

/** Whose limit it is. */
export type LimitScope = 'key' | 'model' | 'gateway'

/** How much of a limit is used, by all replicas together. USD in USD. */
export interface LimitUse {
  limit: LimitName
  scope: LimitScope
  /** Whose it is: a key's id, the name of a model or an agent; empty for the gateway's. */
  id: string
  used: number
  /** What was held back for others that were under way: they may come to more than their estimates. */
  held: number
  cap: number
  /** Milliseconds until nothing of it is used, if nothing more is; 0 where that is not known. */
  resetMs: number
}

/** What a store was asked for, and what came of it. */
export interface StoreReport {
  /** What is kept: values, leases, events, or what is used of limits. */
  part: 'values' | 'leases' | 'events' | 'index' | 'limits'
  operation: string
  /** `refused`: a lease was not to be had, or was lost. */
  outcome: 'ok' | 'refused' | 'failed'
  durationMs: number
}

/**
 * What a cache had for a request: `hit`, an answer that was kept; `shared`, the answer to somebody who asked the same a moment before;
 * `miss`, nothing; `error`, nothing, since the store did not answer; `bypass`, it was not to be used.
 */
export type CacheOutcome = 'hit' | 'shared' | 'miss' | 'error' | 'bypass'

/** How a request fared with a cache. */
export interface CacheReport {
  outcome: CacheOutcome
  /** A provider bills for it. Of those who share an answer, one is billed. */
  isBilled: boolean
}

/** A guardrail that stopped a turn. `reason` is what the client is told. */
export interface GuardrailReport {
  guardrail: string
  stage: 'input' | 'output' | 'tool_input'
  reason: string
}

/** What travels beside a request to an {@link LLMClient}. */
export interface CallOptions {
  /** Aborts the upstream call at once. */
  signal?: AbortSignal
  /** Sent upstream as `x-request-id`. */
  requestId?: string
  /** Who asks; `null` for nobody. For tools and guardrails, never for a provider. */
  userId?: string | null
  /** The conversation that the request is a turn of. */
  conversationId?: string
  /** Of a response that goes on from others: the first of them. Nothing is kept under it but what is sticky. */
  threadId?: string
  /** W3C trace-context headers for the upstream. */
  traceHeaders?: Readonly<Record<string, string>>
  /** Instead of the client's own; how long a connection may take is its client's alone. */
  timeouts?: Partial<Omit<Timeouts, 'connect'>>
  /** The same for all calls of one run: who chooses among several targets stays with the one it chose. */
  run?: object
  /** Hears what is sent, as a provider is about to be asked. */
  onAsk?(request: ChatRequest): void
  /** Hears which target a client of several has chosen, before it is called; the last one served. */
  onTarget?(target: Target): void
  /** Whether, after this failure, another target would be asked at once: then the one that has failed is not asked again. */
  hasFallback?(error: unknown): boolean
  /** Hears each time that one of several targets has failed and another is about to be asked instead. */
  onFallback?(fallback: FallbackReport): void
  /**
   * Hears of each part of the request that cannot be honoured, in a sentence for people, which is shown to the client. `cause` is
   * for logs.
   */
  onWarning?(warning: string, cause?: unknown): void
  /** Hears of each time that a provider is asked; undefined when nobody listens. */
  onAttempt?(attempt: AttemptStart): AttemptObserver | undefined
  /** Hears that a provider that has failed is asked again, before the pause. */
  onRetry?(retry: RetryReport): void
  /** Hears of a retry that was not made, since there have been too many. */
  onRetryBudgetSpent?(retry: Omit<RetryReport, 'delayMs'>): void
  /** Hears that a step of an agent's run begins: its number, from 0. */
  onStep?(step: number): void
  /** Hears what was done with the conversation of a turn. */
  onConversation?(report: ConversationReport): void
  /** Hears the usage of each call of a run that makes several; undefined when the provider did not tell. */
  onUsage?(usage: Usage | undefined, target: Target): void
  /** Hears of each tool that ran in the gateway. */
  onTool?(report: ToolReport): void
  /** Hears of each guardrail that stopped a turn. */
  onGuardrail?(report: GuardrailReport): void
  /** What the client says of caches: its header `cache-control`. */
  cacheControl?(): string | null
  /** Hears how the request fares with a cache, if there is one: before the answer's first piece. The last word counts. */
  onCache?(report: CacheReport): void
  /** Hears all messages that a run added to the conversation, its answer last, just before the answer is whole. */
  onTurn?(messages: readonly ChatMessage[]): void
}

/** What makes a client an agent, for those who serve it. */
export interface AgentTraits {
  /** Callers may bring tools of their own. */
  readonly allowExternalTools: boolean
  /** The tools that the gateway runs, by name: steps with them its callers do not see. */
  readonly toolNames: readonly string[]
  /** It was made with a history, and keeps its conversation itself. */
  readonly keepsHistory: boolean
}

/** The Responses API, where a provider speaks it. Both fail with a `GatewayError`. */
export interface ResponsesAPI {
  create(request: ProviderRequest, call?: CallOptions): Promise<ProviderResponse>
  /** Ends normally only after an event that ends the response: `response.completed`, `.incomplete` or `.failed`. */
  stream(request: ProviderRequest, call?: CallOptions): AsyncIterable<ProviderEvent>
}

/**
 * Anything that answers chat completions: a provider, or a client that wraps clients.
 *
 * Every method fails with a `GatewayError`; `stream` may fail before or after its first chunk, and ends normally only when
 * the answer is whole.
 */
export interface LLMClient {
  /** The provider's name, for logs and metrics: `openai`, `groq`, `demo`, … */
  readonly provider: string
  /** The model's name at the provider, put into every request; `*` takes the request's own. */
  readonly model: string
  /** Of an agent, and of every client that wraps one. */
  readonly agent?: AgentTraits | undefined
  complete(request: ChatRequest, call?: CallOptions): Promise<ChatCompletion>
  /** A client without real streaming fails with the code `unsupported`; the front then chunks what `complete` answers. */
  stream(request: ChatRequest, call?: CallOptions): AsyncIterable<ChatCompletionChunk>
  embed?(request: EmbeddingRequest, call?: CallOptions): Promise<EmbeddingResponse>
  /** Where it is there, the Responses API is not translated to chat completions. */
  readonly responses?: ResponsesAPI | undefined
  /** Milliseconds until this client will take requests again; undefined while it takes them. Of one behind a breaker, or taken out by an operator. */
  unavailableMs?(): number | undefined
  /** Releases connections. */
  close?(): Promise<void>
}
