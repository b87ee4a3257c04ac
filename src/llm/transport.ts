import type { IncomingHttpHeaders } from 'node:http'
// Not 'undici': Bun answers that name with a stand-in of its own, which has no dispatch.
import { type Dispatcher, Pool } from 'undici/index.js'
import { GatewayError } from '../server/errors.ts'
import type { CallOptions, Timeouts } from '../types.ts'
import { abortedCall, transportError, upstreamError } from './upstream-errors.ts'

const defaultTimeouts: Timeouts = { connect: 10_000, firstToken: 120_000, idle: 120_000, total: 600_000 }

export interface TransportOptions {
  /** The provider's API root, as the OpenAI SDK takes it: `https://api.openai.com/v1`. */
  baseURL: string
  /** Sent with every request: the gateway's own credentials. */
  headers: Readonly<Record<string, string>>
  timeouts?: Partial<Timeouts>
}

/** What a call hears of its answer, in order; after `onEnd` or `onError` nothing more. */
export interface AnswerListener {
  /** A piece of the body of a 2xx; any other answer arrives as an error, by the failure table. */
  onData(chunk: Buffer): void
  onEnd(): void
  onError(error: GatewayError): void
}

/** HTTP to one provider: a pool of keep-alive connections. */
export class Transport {
  readonly #pool: Pool
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #timeouts: Timeouts
  #closing: Promise<void> | undefined

  constructor({ baseURL, headers, timeouts }: TransportOptions) {
    const url = new URL(baseURL)
    this.#timeouts = { ...defaultTimeouts, ...timeouts }
    this.#path = url.pathname.replace(/\/+$/, '')
    this.#headers = { 'content-type': 'application/json', ...headers }
    // HTTP/1.1: one request per connection, so a stalled stream holds up nobody else's.
    this.#pool = new Pool(url.origin, { connect: { timeout: this.#timeouts.connect }, allowH2: false, pipelining: 1 })
  }

  /** Sends one POST. `streaming` asks for events and bounds the wait for the response's head by `firstToken`. */
  post(path: string, body: string, streaming: boolean, listener: AnswerListener, call: CallOptions = {}): Call {
    const timeouts = call.timeouts ? { ...this.#timeouts, ...call.timeouts } : this.#timeouts
    const handler = new Call(listener, timeouts.total, call.signal)
    if (handler.over) return handler
    const headers: Record<string, string> = { ...this.#headers, ...call.traceHeaders }
    headers.accept = streaming ? 'text/event-stream' : 'application/json'
    if (call.requestId) headers['x-request-id'] = call.requestId
    this.#pool.dispatch(
      {
        method: 'POST',
        path: this.#path + path,
        headers,
        body,
        headersTimeout: streaming ? timeouts.firstToken : timeouts.total,
        bodyTimeout: timeouts.idle,
      },
      handler,
    )
    return handler
  }

  /** Lets running calls finish, then closes the connections. */
  close(): Promise<void> {
    this.#closing ??= this.#pool.close()
    return this.#closing
  }
}

/** Pieces of a refusal's body that are kept: more than any explanation needs. */
const longestRefusal = 64

/** One request on the wire: passes on what arrives, and can be paused and aborted at any time, connected or not. */
export class Call implements Dispatcher.DispatchHandler {
  readonly #listener: AnswerListener
  readonly #signal: AbortSignal | undefined
  #deadline: NodeJS.Timeout
  readonly #onAbort = (): void => this.fail(abortedCall(this.#signal?.reason))
  #controller: Dispatcher.DispatchController | undefined
  #refusal: { status: number; headers: IncomingHttpHeaders; body: Buffer[] } | undefined
  #over = false
  #ending = false

  constructor(listener: AnswerListener, total: number, signal: AbortSignal | undefined) {
    this.#listener = listener
    this.#signal = signal
    this.#deadline = setTimeout(() => {
      this.fail(new GatewayError('upstream_timeout', `the upstream provider did not finish within ${total} ms`))
    }, total)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (signal?.aborted) this.#onAbort()
  }

  /** The call has ended, failed or been aborted. */
  get over(): boolean {
    return this.#over
  }

  pause(): void {
    this.#controller?.pause()
  }

  resume(): void {
    this.#controller?.resume()
  }

  /** All that matters has arrived. What a provider leaves open is closed after a second; the connection is then lost. */
  endSoon(): void {
    if (this.#over || this.#ending) return
    this.#ending = true
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => this.cancel(), 1000)
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
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status >= 300) this.#refusal = { status, headers, body: [] }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return
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
    clearTimeout(this.#deadline)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }
}
