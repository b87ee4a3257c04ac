import type {
  AttemptEnd,
  AttemptStart,
  ConversationReport,
  GuardrailReport,
  StoreReport,
  Target,
  ToolReport,
  Usage,
} from '../types.ts'

/** Tokens of one answer. `estimated` when the provider did not say, for example because the client went away first. */
export interface CompletionUsage extends Usage {
  estimated?: boolean
}

/** How a request ended: answered, answered with an error, broken off after its head was sent, or left by its client. */
export type Outcome = 'ok' | 'error' | 'stream_error' | 'client_closed'

/** Which of a request's calls of providers. `model` is the registered one. */
interface Attempt {
  requestId: string
  model?: string
  attempt: number
}

/** Every event of the gateway and its payload. Times are in milliseconds. */
export interface HookEvents {
  /** A request has arrived; nothing is known of it yet but its address. */
  onRequest: {
    requestId: string
    method: string
    path: string
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
  /** A step of an agent's run begins, counted from 0: its model is asked, then its tools run. */
  onStep: { requestId: string; model?: string; step: number }
  /** The conversation of a turn was locked, loaded or saved, or could not be. */
  onConversation: { requestId: string; model?: string } & ConversationReport
  /** The store was asked for something, by whichever request. */
  onStore: StoreReport
  /** The head of an event stream has been sent. It ends with `onResponse`. */
  onStream: { requestId: string; route: string }
  /** A model has answered, whole or in part. */
  onCompletion: {
    requestId: string
    userId: string | null
    /** The registered model (or wildcard) that was used, not the free text of the request. */
    model: string
    provider: string
    stream: boolean
    usage: CompletionUsage | undefined
    /** What the provider bills for it, all steps of a run together. Never 0 when a price is not known. */
    costUsd: number | 'unknown'
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
    durationMs: number
  }
  /** A listener threw or rejected. The request it was told about is not affected. */
  onListenerError: { event: string; error: unknown }
}
