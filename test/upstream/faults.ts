import type { OutgoingHttpHeaders } from 'node:http'
import { completion, completionChunks, wantsStream } from './answers.ts'
import { type Behaviour, type Exchange, type Json, providerHeaders } from './exchange.ts'

/** The text in the default error messages: nothing of it may ever reach a client of the gateway. */
export const UPSTREAM_SECRET = 'upstream-secret-detail org-upstream'

const secretError = (type: string): Json => ({ message: `Failed: ${UPSTREAM_SECRET}`, type, param: null, code: null })

/** Answers with the status and, by default, an error in OpenAI's envelope. */
export function failWith(status: number, body?: unknown, headers?: OutgoingHttpHeaders): Behaviour {
  const error = secretError(status >= 500 ? 'server_error' : 'invalid_request_error')
  return (_request, exchange) => exchange.json(status, body ?? { error }, headers)
}

/** Answers with a page, as a proxy in front of a provider does. */
export function notJson(status: number, html = `<html><body><h1>${UPSTREAM_SECRET}</h1></body></html>`): Behaviour {
  return (_request, { raw }) => {
    raw.writeHead(status, { ...providerHeaders(), 'content-type': 'text/html' }).end(html)
  }
}

/** Accepts the request and never answers. */
export function hang(): Behaviour {
  return () => undefined
}

/** Sends the head of a 200 at once, then nothing for `ms`, then the completion. */
export function stallFirstByte(ms: number): Behaviour {
  return async (request, exchange) => {
    if (wantsStream(request)) exchange.startStream()
    else {
      exchange.raw.writeHead(200, { ...providerHeaders(), 'content-type': 'application/json' })
      exchange.raw.flushHeaders()
    }
    await exchange.sleep(ms)
    await completion()(request, exchange)
  }
}

/** Resets the connection instead of answering. */
export function dropBeforeResponse(): Behaviour {
  return (_request, exchange) => exchange.drop()
}

function streamThen(chunks: number, then: (exchange: Exchange, rest: Json[]) => void | Promise<void>): Behaviour {
  return async (request, exchange) => {
    const all = [...completionChunks(request)]
    exchange.startStream()
    for (const chunk of all.slice(0, chunks)) await exchange.event(chunk)
    await then(exchange, all.slice(chunks))
  }
}

/** Streams the first chunks, then resets the connection. */
export function dropAfter(chunks: number): Behaviour {
  return streamThen(chunks, async (exchange) => {
    // A reset right behind the data would let the peer throw away what it has not read yet.
    await exchange.sleep(30)
    exchange.drop()
  })
}

/** Streams the first chunks (`Infinity`: all of them), then ends cleanly but without `[DONE]`. */
export function endWithoutDone(chunks: number): Behaviour {
  return streamThen(chunks, ({ raw }) => void raw.end())
}

/** Streams the first chunks, then an event whose JSON does not parse, then goes on as if nothing had happened. */
export function malformedAfter(chunks: number): Behaviour {
  return streamThen(chunks, async (exchange, rest) => {
    await exchange.write('data: {"id":"chatcmpl-broken","choices":[\n\n')
    for (const chunk of rest) await exchange.event(chunk)
    await exchange.done()
  })
}

/** Streams the first chunks, then an `error` event, then ends. */
export function errorEventAfter(chunks: number, error: unknown = secretError('server_error')): Behaviour {
  return streamThen(chunks, async (exchange) => {
    await exchange.event({ error })
    exchange.raw.end()
  })
}

/** An event stream of the bytes given: each part is one write, and with the pause its own TCP segment. */
export function rawStream(parts: (string | Buffer)[], delayMs = 5): Behaviour {
  return async (_request, exchange) => {
    exchange.startStream()
    for (const part of parts) {
      await exchange.write(part)
      await exchange.sleep(delayMs)
    }
    exchange.raw.end()
  }
}

/** A stream under the test's control. */
export interface Gate {
  behaviour: Behaviour
  /** Lets `n` more chunks pass, 1 by default. */
  release(n?: number): void
  /** Chunks sent so far. */
  readonly sent: number
}

/**
 * A completion that sends its head at once, and each chunk (the role, one per token, the finish reason, the usage) only
 * when released; `[DONE]` follows the last one.
 */
export function gated(tokens: string[]): Gate {
  let permits = 0
  let sent = 0
  let released = Promise.withResolvers<void>()
  return {
    get sent() {
      return sent
    },
    release(n = 1) {
      permits += n
      released.resolve()
      released = Promise.withResolvers()
    },
    behaviour: async (request, exchange) => {
      exchange.startStream()
      for (const chunk of completionChunks(request, { tokens })) {
        while (permits === 0) {
          await Promise.race([released.promise, exchange.aborted])
          exchange.signal.throwIfAborted()
        }
        permits -= 1
        sent += 1
        await exchange.event(chunk)
      }
      await exchange.done()
    },
  }
}

/** A stream as fast as the peer reads. */
export interface Flood {
  behaviour: Behaviour
  /** Bytes of events that the kernel has taken so far. */
  readonly written: number
}

/** A completion of `bytes` bytes of content in chunks of `chunkBytes`, sent as fast as the peer reads and no faster. */
export function pacedFlood(bytes: number, chunkBytes: number): Flood {
  const tokens = new Array<string>(Math.ceil(bytes / chunkBytes)).fill('x'.repeat(chunkBytes))
  let written = 0
  return {
    get written() {
      return written
    },
    behaviour: async (request, exchange) => {
      exchange.startStream()
      for (const chunk of completionChunks(request, { tokens })) {
        const event = `data: ${JSON.stringify(chunk)}\n\n`
        await exchange.write(event)
        written += event.length
      }
      await exchange.done()
    },
  }
}
