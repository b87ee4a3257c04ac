import type { GuardrailReport, ToolReport, Usage } from '../types.ts'

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
