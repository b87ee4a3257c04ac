import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { GatewayError } from '../server/errors.ts'
import type { Timeouts } from '../types.ts'
import { type Overdue, Patience } from './patience.ts'
import { abortedCall, silent, transportError, upstreamError } from './upstream-errors.ts'

/** What a call hears of its answer, in order; after `onEnd` or `onError` nothing more. */
export interface AnswerListener {
  /** A piece of the body of a 2xx; any other answer arrives as an error, by the failure table. */
  onData(chunk: Buffer): void
  onEnd(): void
  onError(error: GatewayError): void
}

/** Pieces of a refusal's body that are kept: more than any explanation needs. */
const longestRefusal = 64

export interface CallLimits {
  timeouts: Timeouts
  signal: AbortSignal | undefined
  /** Its answer comes in pieces, and whoever reads it tells of each: `firstToken` and `idle` are counted between them. */
  streaming: boolean
}

/** One request on the wire: passes on what arrives, and can be paused and aborted at any time, connected or not. */
export class Call implements Dispatcher.DispatchHandler {
  readonly #listener: AnswerListener
  readonly #limits: CallLimits
  readonly #patience: Patience
  readonly #onAbort = (): void => this.fail(abortedCall(this.#limits.signal?.reason))
  #controller: Dispatcher.DispatchController | undefined
  #refusal: { status: number; headers: IncomingHttpHeaders; body: Buffer[] } | undefined
  #over = false
  #ending: NodeJS.Timeout | undefined
  /** The first piece of a streamed answer has come, or the head of a whole one. */
  #hasBegun = false

  constructor(listener: AnswerListener, limits: CallLimits) {
    const { signal, timeouts, streaming } = limits
    const { total, firstToken, idle } = timeouts
    this.#listener = listener
    this.#limits = limits
    const shortest = streaming ? Math.min(firstToken, idle) : idle
    this.#patience = new Patience(total, shortest, (what) => this.fail(this.#overdue(what)))
    signal?.addEventListener('abort', this.#onAbort)
    if (signal?.aborted) this.#onAbort()
  }

  /** The call has ended, failed or been aborted. */
  get over(): boolean {
    return this.#over
  }

  pause(): void {
    // Whoever reads slowly is no silence of the provider's.
    this.#patience.pause()
    this.#controller?.pause()
  }

  resume(): void {
    this.#patience.resume()
    this.#controller?.resume()
  }

  /** A piece of a streamed answer has come. */
  piece(): void {
    if (this.#hasBegun) this.#patience.heard()
    else this.#begin()
  }

  /** All that matters has arrived. What a provider leaves open is closed after a second; the connection is then lost. */
  endSoon(): void {
    if (this.#over || this.#ending) return
    this.#patience.end()
    this.#ending = setTimeout(() => this.cancel(), 1000)
  }

  /** Closes the connection; the listener hears nothing more. */
  cancel(): void {
    if (this.#over) return
    this.#finish()
    this.#controller?.abort(new Error('the call was cancelled'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over) controller.abort(new Error('the call was cancelled'))
    else if (this.#limits.streaming) this.#patience.listen(this.#limits.timeouts.firstToken)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status >= 300) this.#refusal = { status, headers, body: [] }
    if (!this.#limits.streaming) this.#begin()
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return
    if (!this.#limits.streaming) this.#patience.heard()
    if (!this.#refusal) this.#listener.onData(chunk)
    else if (this.#refusal.body.length < longestRefusal) this.#refusal.body.push(chunk)
  }

  onResponseEnd(): void {
    if (this.#over) return
    this.#finish()
    if (!this.#refusal) {
      this.#deliver()
      return
    }
    const { status, headers, body } = this.#refusal
    this.#listener.onError(upstreamError(status, headers, Buffer.concat(body).toString('utf8')))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return
    this.#finish()
    this.#listener.onError(transportError(error))
  }

  /** An answer that cannot be taken in must not be silence: undici would tell nobody of what is thrown here. */
  #deliver(): void {
    try {
      this.#listener.onEnd()
    } catch (cause) {
      this.#listener.onError(new GatewayError('internal_error', 'the gateway could not read the answer', { cause }))
    }
  }

  /** Gives the call up: the listener hears the error, and the connection is closed. */
  fail(error: GatewayError): void {
    if (this.#over) return
    this.cancel()
    this.#listener.onError(error)
  }

  #finish(): void {
    this.#over = true
    this.#patience.end()
    clearTimeout(this.#ending)
    this.#limits.signal?.removeEventListener('abort', this.#onAbort)
  }

  #begin(): void {
    this.#hasBegun = true
    this.#patience.listen(this.#limits.timeouts.idle)
  }

  #overdue(what: Overdue): GatewayError {
    if (what === 'silence') return silent(this.#hasBegun ? 'upstream_idle_timeout' : 'upstream_first_token_timeout')
    const { total } = this.#limits.timeouts
    return new GatewayError('upstream_timeout', `the upstream provider did not finish within ${total} ms`)
  }
}
