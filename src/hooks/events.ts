import type {
  AttemptEnd,
  AttemptStart,
  BreakerChange,
  CacheOutcome,
  ConversationReport,
  FallbackReason,
  GuardrailReport,
  LimitName,
  LimitScope,
  LimitUse,
  RetryReport,
  StoreReport,
  Target,
  ToolReport,
  Usage,
} from '../types.ts'

/** Tokens of one answer. `estimated` when the provider did not say, for example because the client went away first. */
export interface CompletionUsage extends Usage {
  estimated?: boolean
}

/**
 * How a request ended: answered, answered with an error, broken off after its head was sent, refused after that (by what would have
 * been a 4xx, had it come in time), or left by its client.
 */
export type Outcome = 'ok' | 'error' | 'stream_error' | 'stream_refused' | 'client_closed'

/** Which of a request's calls of providers. `model` is the registered one. */
interface Attempt {
  requestId: string
  model?: string
  attempt: number
}

/** How what went on in the background ended. */
export type BackgroundOutcome = 'ok' | 'error' | 'cancelled'

/** Every event of the gateway and its payload. Times are in milliseconds. */
export interface HookEvents {
  /** A request has arrived; nothing is known of it yet but its address. */
  onRequest: {
    requestId: string
    method: string
    path: string
    /** Of its arrival, as `performance.now()`; absent where it has only just arrived. */
    startedAt?: number
    /** A header of the request, such as `traceparent`; never to be logged as it is. Absent where the request cannot be read. */
    header?(name: string): string | null
  }
  /** Authentication refused a request. `reason` is the text of what `verify` threw; it never contains the key. */
  onAuthFail: { requestId: string; reason: string }
  /** A request was refused because this process has too much to do: there was no place in the queue, or none at work in time. */
  onOverload: { requestId: string; reason: 'queue_full' | 'queue_timeout' }
  /** A client has read nothing of its answer for too long (`waitedMs`), and its connection was closed. `unreadBytes`: what waited for it. */
  onWriteStall: { waitedMs: number; unreadBytes: number }
  /** It is settled who answers: the registered model (or wildcard), `_other` for an agent that the loader alone knows. */
  onRoute: {
    requestId: string
    route: string
    model: string
    provider: string
    isAgent: boolean
    /** The request is a turn of a conversation that is kept. */
    isTurn: boolean
    /** Of that conversation, as its client knows it. */
    conversationId?: string
  }
  /**
   * A provider is about to be asked. `attempt` counts those of a request, from 0. What a listener puts into `headers` is sent to the
   * provider; when one calls `keepAnswer`, `onAttemptEnd` brings the answer.
   */
  onAttempt: Attempt & AttemptStart & { headers: Record<string, string>; keepAnswer(): void }
  /** The first piece of a streamed answer has come from the provider. */
  onFirstToken: Attempt & { target: Target }
  /** The provider has answered, or failed, or nobody waits any more. */
  onAttemptEnd: Attempt & AttemptStart & AttemptEnd
  /** A target has failed a request, which goes on to another; both as `provider/model`. */
  onFallback: { requestId: string; model?: string; from: string; to: string; reason: FallbackReason }
  /** A provider that has failed is asked again, after `delayMs`. `attempt` counts the retries of one call, from 1. */
  onRetry: { requestId: string; model?: string } & RetryReport
  /** A retry was not made: there have been too many at this provider. The client is told the failure. */
  onRetryBudgetSpent: { requestId: string; model?: string } & Omit<RetryReport, 'delayMs'>
  /** The breaker of a target has opened, closed, or lets one request try. */
  onBreaker: BreakerChange
  /** A step of an agent's run begins, counted from 0: its model is asked, then its tools run. */
  onStep: { requestId: string; model?: string; step: number }
  /** The conversation of a turn was locked, loaded or saved, or could not be. */
  onConversation: { requestId: string; model?: string } & ConversationReport
  /** The store was asked for something, by whichever request. */
  onStore: StoreReport
  /** A model with a cache was asked: what came of that. Once per request, when its answer is whole or has failed. */
  onCache: { requestId: string; model?: string; outcome: CacheOutcome }
  /** The head of an event stream has been sent. It ends with `onResponse`. */
  onStream: { requestId: string; route: string }
  /** A model has answered, whole or in part. */
  onCompletion: {
    requestId: string
    userId: string | null
    /** Of the key that was presented, where it has an id; absent otherwise. */
    keyId?: string
    /** The registered model (or wildcard) that was used, not the free text of the request. */
    model: string
    provider: string
    stream: boolean
    usage: CompletionUsage | undefined
    /** What the provider bills for it, all steps of a run together. Never 0 when a price is not known. */
    costUsd: number | 'unknown'
    /** No provider was asked for this: its usage is that of the answer which it is a copy of, and its cost is 0. */
    cached?: boolean
    durationMs: number
    /** From the request's arrival to the first piece of the answer; absent when not streamed. */
    firstTokenMs?: number
  }
  /**
   * A request was served, but not quite as it was asked: a parameter that the provider does not know was ignored, a
   * conversation could not be saved. `error` is for logs, never for clients.
   */
  onWarning: { requestId: string; model?: string; provider?: string; warning: string; error?: unknown }
  /** A tool of the gateway's has run, or could not. `tool` is `_other` for a name that the model made up. */
  onTool: { requestId: string; model?: string } & ToolReport
  /** A guardrail has stopped a turn. */
  onGuardrail: { requestId: string; model?: string } & GuardrailReport
  /** A request was refused, since it would have passed a limit: a key's, a model's, or the gateway's. */
  onRateLimited: { requestId: string; userId: string | null; model?: string; limit: LimitName; scope: LimitScope }
  /** What is used of each limit that a request falls under, now that it was admitted, or refused. */
  onLimits: { requestId: string; model?: string; uses: readonly LimitUse[] }
  /** The gateway, or an upstream on its behalf, failed (status 500 and above). `error` is for logs, never for clients. */
  onError: { requestId: string; error: unknown }
  /** A request is over: its last byte was produced, or its client has left. Emitted exactly once per request. */
  onResponse: {
    requestId: string
    method: string
    /** The route's template, such as `/v1/models/{id}`; `_other` when none matched. */
    route: string
    /** The status sent; 499 when the client left before one was. */
    status: number
    outcome: Outcome
    errorCode?: string
    userId: string | null
    model?: string
    provider?: string
    /** `provider/model` of the target that served, where the model has several. */
    target?: string
    stream: boolean
    usage?: CompletionUsage
    /** As in `onCompletion`, where a model has answered. */
    costUsd?: number | 'unknown'
    /** What its cache had, where the model has one. */
    cache?: CacheOutcome
    durationMs: number
    /** Of that, how long the client took to send the body. */
    receivedMs?: number
  }
  /** What was made when its request was over already, in the background or after its client had left, has ended. */
  onBackgroundEnd: {
    requestId: string
    route: string
    userId: string | null
    outcome: BackgroundOutcome
    errorCode?: string
    model?: string
    provider?: string
    target?: string
    usage?: CompletionUsage
    costUsd?: number | 'unknown'
    /** From the request's arrival. */
    durationMs: number
  }
  /** The admin API was called, or a call of it refused: for the audit. */
  onAdmin: {
    requestId: string
    /** The name of the admin key; null for a call without a good one. */
    admin: string | null
    /** What it was to do: `keys.create`, `targets.drain`, …; `unknown` where there is no such call. */
    action: string
    /** The id of the key, or the target, that it was about. */
    subject?: string
    /** The fields that it changed. */
    changes?: readonly string[]
    /** `refused`: without a good admin key. `invalid`: any other fault of the caller's. */
    outcome: 'ok' | 'refused' | 'invalid' | 'failed'
    status: number
  }
  /**
   * The configuration was read again: a new one is in force, or it is as it was, or it was no configuration (`failed`, with all
   * its problems) and the last good one stays. `revision` is of the one in force. Paths and problems hold no values of keys.
   */
  onConfigReload: {
    revision: string
    outcome: 'applied' | 'unchanged' | 'failed'
    changed: readonly string[]
    /** What differs, but only a restart can change. */
    needsRestart: readonly string[]
    problems: readonly string[]
  }
  /** A listener threw or rejected. The request it was told about is not affected. */
  onListenerError: { event: string; error: unknown }
}
