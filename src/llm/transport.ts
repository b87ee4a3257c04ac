import type { CallOptions, Timeouts } from '../types.ts'
import { type AnswerListener, Call } from './call.ts'
import { connectionOptions, Pool } from './undici.ts'

export const defaultTimeouts: Timeouts = { connect: 10_000, firstToken: 120_000, idle: 120_000, total: 600_000 }

export interface TransportOptions {
  /** The provider's API root, as the OpenAI SDK takes it: `https://api.openai.com/v1`. */
  baseURL: string
  /** Sent with every request: the gateway's own credentials. */
  headers: Readonly<Record<string, string>>
  timeouts?: Partial<Timeouts>
}

/** HTTP to one provider: a pool of keep-alive connections. */
export class Transport {
  readonly #pool: InstanceType<typeof Pool>
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #timeouts: Timeouts
  #closing: Promise<void> | undefined

  constructor({ baseURL, headers, timeouts }: TransportOptions) {
    const url = new URL(baseURL)
    this.#timeouts = { ...defaultTimeouts, ...timeouts }
    this.#path = url.pathname.replace(/\/+$/, '')
    this.#headers = { 'content-type': 'application/json', ...headers }
    this.#pool = new Pool(url.origin, connectionOptions(this.#timeouts.connect))
  }

  /** Sends one POST. `streaming` asks for events; whoever reads them tells the call of each `piece`. */
  post(path: string, body: string, streaming: boolean, listener: AnswerListener, call: CallOptions = {}): Call {
    const timeouts = call.timeouts ? { ...this.#timeouts, ...call.timeouts } : this.#timeouts
    const handler = new Call(listener, { timeouts, signal: call.signal, streaming })
    if (handler.over) return handler
    const headers: Record<string, string> = { ...this.#headers, ...call.traceHeaders }
    headers.accept = streaming ? 'text/event-stream' : 'application/json'
    if (call.requestId) headers['x-request-id'] = call.requestId
    this.#pool.dispatch({ method: 'POST', path: this.#path + path, headers, body }, handler)
    return handler
  }

  /** Lets running calls finish, then closes the connections. */
  close(): Promise<void> {
    this.#closing ??= this.#pool.close()
    return this.#closing
  }
}
