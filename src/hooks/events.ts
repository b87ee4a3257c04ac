import type { Usage } from '../types.ts'

/** Tokens of one answer. `estimated` when the provider did not say, for example because the client went away first. */
export interface CompletionUsage extends Usage {
  estimated?: boolean
}

/** How a request ended: answered, answered with an error, broken off after its head was sent, or left by its client. */
export type Outcome = 'ok' | 'error' | 'stream_error' | 'client_closed'

/** Every event of the gateway and its payload. Times are in milliseconds. */
export interface HookEvents {
  /** A request has arrived; nothing is known of it yet but its address. */
  onRequest: { requestId: string; method: string; path: string }
  /** Authentication refused a request. `reason` is the text of what `verify` threw; it never contains the key. */
  onAuthFail: { requestId: string; reason: string }
  /** A model has answered, whole or in part. */
  onCompletion: {
    requestId: string
    userId: string | null
    /** The registered model (or wildcard) that was used, not the free text of the request. */
    model: string
    provider: string
    stream: boolean
    usage: CompletionUsage | undefined
    durationMs: number
    /** From the request's arrival to the first piece of the answer; absent when not streamed. */
    firstTokenMs?: number
  }
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
    durationMs: number
  }
  /** A listener threw or rejected. The request it was told about is not affected. */
  onListenerError: { event: string; error: unknown }
}
