import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** A JSON object whose fields have yet to be looked at. */
export type Json = Record<string, unknown>

/** What the upstream received, and how it ended. */
export interface RecordedRequest {
  method: string
  /** The request target as sent, query included. */
  path: string
  headers: IncomingHttpHeaders
  rawBody: string
  /** The parsed body; undefined when it is not JSON. */
  body: unknown
  /** `performance.now()` when the body was complete. */
  receivedAt: number
  /** Resolves when the response is over; `aborted` when the peer went away before we had finished. */
  closed: Promise<{ aborted: boolean; at: number }>
}

/** Decides what the upstream answers. It may simply return without answering: the request then hangs. */
export type Behaviour = (request: RecordedRequest, exchange: Exchange) => void | Promise<void>

/**
 * Low-level control over one response. Every promise rejects with `signal.reason` once the response is closed, so that
 * a behaviour unwinds by itself when the peer goes away; one that nobody awaits is never an unhandled rejection.
 */
export interface Exchange {
  raw: ServerResponse
  /** Sends a whole JSON response; the head is skipped when it was sent before. */
  json(status: number, body: unknown, headers?: OutgoingHttpHeaders): Promise<void>
  /** Sends the head of an event stream at once, unless a head was sent before. */
  startStream(headers?: OutgoingHttpHeaders): void
  /** One `data: {json}` event. */
  event(data: unknown): Promise<void>
  /** Bytes as they are; resolves when the kernel has taken them. */
  write(bytes: string | Buffer): Promise<void>
  /** `data: [DONE]` and the end of the stream. */
  done(): Promise<void>
  /** Resets the connection. */
  drop(): void
  /** Resolves when the peer goes away before we have finished. */
  aborted: Promise<void>
  /** Aborts when the response is closed, whoever closed it. */
  signal: AbortSignal
  closed: RecordedRequest['closed']
  sleep(ms: number): Promise<void>
}

let responses = 0

/** The headers a hosted provider adds to everything, including those that must never reach a gateway's client. */
export function providerHeaders(): OutgoingHttpHeaders {
  responses += 1
  return {
    'x-request-id': `req_upstream_${responses}`,
    'openai-organization': 'org-upstream',
    'openai-processing-ms': '12',
    'openai-version': '2020-10-01',
    'set-cookie': '__cf_bm=upstream-cookie; path=/; HttpOnly; Secure',
    'x-ratelimit-limit-requests': '10000',
    'x-ratelimit-remaining-requests': '9999',
    'x-ratelimit-reset-requests': '6ms',
    'x-ratelimit-limit-tokens': '200000',
    'x-ratelimit-remaining-tokens': '199950',
    'x-ratelimit-reset-tokens': '15ms',
  }
}

/** Wraps a response that has not been answered yet. */
export function openExchange(raw: ServerResponse): Exchange {
  const gone = new Error('the response is closed')
  const controller = new AbortController()
  const { signal } = controller
  const closed = Promise.withResolvers<{ aborted: boolean; at: number }>()
  const aborted = Promise.withResolvers<void>()
  let dropped = false

  raw.once('close', () => {
    const end = { aborted: !raw.writableFinished && !dropped, at: performance.now() }
    controller.abort(gone)
    closed.resolve(end)
    if (end.aborted) aborted.resolve()
  })

  const unlessGone = (start: (settle: (error?: Error | null) => void) => void): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const leave = () => reject(gone)
    promise.catch(() => undefined)
    if (signal.aborted) leave()
    else {
      signal.addEventListener('abort', leave, { once: true })
      start((error) => {
        // A write fails before 'close' is emitted: to a behaviour it is the same event.
        if (error) controller.abort(gone)
        signal.removeEventListener('abort', leave)
        resolve()
      })
    }
    return promise
  }

  const end = (bytes: string) => unlessGone((settle) => raw.end(bytes, () => settle()))
  const write = (bytes: string | Buffer) => unlessGone((settle) => raw.write(bytes, settle))

  return {
    raw,
    signal,
    aborted: aborted.promise,
    closed: closed.promise,
    json(status, body, headers) {
      const bytes = JSON.stringify(body)
      if (!raw.headersSent) {
        const entity = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(bytes) }
        raw.writeHead(status, { ...providerHeaders(), ...entity, ...headers })
      }
      return end(bytes)
    },
    startStream(headers) {
      if (raw.headersSent) return
      const sse = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }
      raw.writeHead(200, { ...providerHeaders(), ...sse, ...headers })
      raw.flushHeaders()
    },
    event: (data) => write(`data: ${JSON.stringify(data)}\n\n`),
    write,
    done: () => end('data: [DONE]\n\n'),
    drop() {
      dropped = true
      raw.socket?.resetAndDestroy()
    },
    sleep: (ms) => unlessGone((settle) => setTimeout(settle, ms).unref()),
  }
}
