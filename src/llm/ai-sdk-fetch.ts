import { GatewayError } from '../server/errors.ts'
import type { CallOptions, Timeouts } from '../types.ts'
import { malformed } from './answer.ts'
import { AsyncQueue } from './async-queue.ts'
import { Call } from './call.ts'
import { defaultTimeouts } from './transport.ts'
import { Agent, connectionOptions } from './undici.ts'

/** Bytes. What is longer would fill the gateway's memory. */
const longestAnswer = 128 * 1024 * 1024

/** The requests that the AI SDK makes for one call. */
export interface SDKConnection {
  /** Answers 2xx only: anything else is rejected with the `GatewayError` of the failure table. */
  readonly fetch: typeof fetch
  /** A piece of a streamed answer has been understood. */
  piece(): void
  /** All that matters has arrived. What the provider leaves open is closed after a second. */
  endSoon(): void
  /** Nobody reads on: closes what is open. */
  cancel(): void
}

/**
 * HTTP for the AI SDK, over the gateway's own calls: the same pools of connections, timeouts, errors and abort as for any
 * other provider.
 */
export class SDKTransport {
  readonly #agent: InstanceType<typeof Agent>
  readonly #timeouts: Timeouts
  #closing: Promise<void> | undefined

  constructor(timeouts: Partial<Timeouts> = {}) {
    this.#timeouts = { ...defaultTimeouts, ...timeouts }
    this.#agent = new Agent(connectionOptions(this.#timeouts.connect))
  }

  open(call: CallOptions, streaming: boolean): SDKConnection {
    const timeouts = { ...this.#timeouts, ...call.timeouts }
    const calls: Call[] = []
    let hasBegun = false
    const send = (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
      // All that is asked of a provider is a POST. A GET would fetch an address that the request names.
      if (init.method !== 'POST') return Promise.reject(new GatewayError('invalid_request', 'no address is fetched'))
      const url = new URL(input instanceof Request ? input.url : input)
      const headers = {
        ...Object.fromEntries(new Headers(init.headers)),
        ...call.traceHeaders,
        ...(call.requestId ? { 'x-request-id': call.requestId } : {}),
      }
      return new Promise((resolve, reject) => {
        let size = 0
        let answered = false
        const queue = new AsyncQueue<Uint8Array>({
          pause: () => upstream.pause(),
          resume: () => upstream.resume(),
          cancel: () => upstream.cancel(),
        })
        const answer = (): void => {
          if (!answered) resolve(new Response(bodyOf(queue)))
          answered = true
        }
        const listener = {
          onData(chunk: Buffer): void {
            answer()
            // What is understood of it comes only as fast as it is read.
            if (hasBegun) upstream.piece()
            size += chunk.length
            queue.push(chunk, chunk.length)
            if (size > longestAnswer) upstream.fail(malformed('the upstream provider sent an answer without an end'))
          },
          onEnd(): void {
            answer()
            queue.end()
          },
          onError: (error: Error): void => (answered ? queue.end(error) : reject(error)),
        }
        const upstream = new Call(listener, { timeouts, signal: call.signal, streaming })
        if (upstream.over) return
        calls.push(upstream)
        this.#agent.dispatch(
          {
            origin: url.origin,
            path: url.pathname + url.search,
            method: 'POST',
            headers,
            body: typeof init.body === 'string' ? init.body : null,
          },
          upstream,
        )
      })
    }
    return {
      fetch: send,
      piece() {
        if (hasBegun) return
        hasBegun = true
        for (const upstream of calls) upstream.piece()
      },
      endSoon() {
        for (const upstream of calls) upstream.endSoon()
      },
      cancel() {
        for (const upstream of calls) upstream.cancel()
      },
    }
  }

  /** Lets running calls finish, then closes the connections. */
  close(): Promise<void> {
    this.#closing ??= this.#agent.close()
    return this.#closing
  }
}

/** Nothing is read ahead of the reader, so that a slow one slows the provider. */
const bodyOf = (queue: AsyncQueue<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await queue.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: () => void queue.return(),
    },
    { highWaterMark: 0 },
  )
