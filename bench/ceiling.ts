/**
 * The ceiling: the least that any gateway on Fastify and undici must do. It checks a key, rewrites the model in the body,
 * and passes bytes on. No routing, no errors, no usage, no cancellation.
 */
import { timingSafeEqual } from 'node:crypto'
import Fastify, { type FastifyReply } from 'fastify'
import { type Dispatcher, Pool } from 'undici'
import { serveMeasured } from './measured.ts'

const upstream = new URL(process.env.BENCH_UPSTREAM ?? '')
const key = Buffer.from(`Bearer ${process.env.BENCH_KEY}`)
const pool = new Pool(upstream.origin, { pipelining: 1, allowH2: false })

class Relay implements Dispatcher.DispatchHandler {
  readonly #reply: FastifyReply

  constructor(reply: FastifyReply) {
    this.#reply = reply
  }

  onRequestStart(): void {}

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    this.#reply.raw.writeHead(status, { 'content-type': String(headers['content-type']) })
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#reply.raw.write(chunk)
  }

  onResponseEnd(): void {
    this.#reply.raw.end()
  }

  onResponseError(): void {
    this.#reply.raw.destroy()
  }
}

const app = Fastify()
app.post<{ Body: Record<string, unknown> }>('/v1/chat/completions', (request, reply) => {
  const given = Buffer.from(request.headers.authorization ?? '')
  if (given.length !== key.length || !timingSafeEqual(given, key)) {
    reply.code(401).send()
    return
  }
  reply.hijack()
  pool.dispatch(
    {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json', authorization: 'Bearer upstream' },
      body: JSON.stringify({ ...request.body, model: 'bench' }),
    },
    new Relay(reply),
  )
})
await serveMeasured(app)
