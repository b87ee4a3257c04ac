import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { provider } from './upstream/answers.ts'
import { type Behaviour, openExchange, type RecordedRequest } from './upstream/exchange.ts'

export {
  type CompletionOptions,
  completion,
  completionBody,
  completionChunks,
  embeddings,
  models,
  provider,
} from './upstream/answers.ts'
export type { Behaviour, Exchange, Json, RecordedRequest } from './upstream/exchange.ts'
export * from './upstream/faults.ts'
export * from './upstream/responses.ts'

/** A local OpenAI-compatible provider over a real socket: the only fake in the test suite. */
export interface Upstream {
  /** `http://127.0.0.1:PORT/v1` */
  baseURL: string
  port: number
  requests: RecordedRequest[]
  /** The last recorded request; throws if there is none. */
  last(): RecordedRequest
  /** Resolves with the nth (0-based) request once it has arrived. */
  request(n: number): Promise<RecordedRequest>
  /** Sets the behaviour for all following requests; without argument, back to the faithful provider. */
  behave(behaviour?: Behaviour): void
  /** Behaviours used once each, in order, before the standing one. */
  next(...behaviours: Behaviour[]): void
  /** Sockets currently open. */
  openConnections(): number
  /** Forgets requests and behaviours. */
  reset(): void
  /** Destroys all sockets, and resolves when the server is closed. */
  close(): Promise<void>
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** Starts an upstream on an ephemeral port of 127.0.0.1. */
export async function startUpstream(): Promise<Upstream> {
  const requests: RecordedRequest[] = []
  const arrivals = new EventEmitter().setMaxListeners(0)
  const sockets = new Set<Socket>()
  const queue: Behaviour[] = []
  let standing = provider

  const serve = async (incoming: IncomingMessage, raw: ServerResponse) => {
    const exchange = openExchange(raw)
    const rawBody = await text(incoming).catch(() => undefined)
    // The peer went away before it had sent everything: there is no request.
    if (rawBody === undefined) return
    const request: RecordedRequest = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      headers: incoming.headers,
      rawBody,
      body: parse(rawBody),
      receivedAt: performance.now(),
      closed: exchange.closed,
    }
    requests.push(request)
    arrivals.emit('request')
    try {
      await (queue.shift() ?? standing)(request, exchange)
    } catch (error) {
      // Anything else is a bug in the test: as an unhandled rejection it fails the test, and the client does not hang.
      if (error === exchange.signal.reason) return
      exchange.drop()
      throw error
    }
  }

  const server = createServer({ noDelay: true, keepAliveTimeout: 60_000, requestTimeout: 0 }, serve)
  server.setTimeout(0)
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  return {
    baseURL: `http://127.0.0.1:${port}/v1`,
    port,
    requests,
    last() {
      const request = requests.at(-1)
      if (!request) throw new Error('the upstream has received no request')
      return request
    },
    async request(n) {
      for (;;) {
        const request = requests[n]
        if (request) return request
        await once(arrivals, 'request')
      }
    },
    behave(behaviour = provider) {
      standing = behaviour
    },
    next(...behaviours) {
      queue.push(...behaviours)
    },
    openConnections: () => sockets.size,
    reset() {
      requests.length = 0
      queue.length = 0
      standing = provider
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
