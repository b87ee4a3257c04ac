import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { HookBus } from '../src/hooks/hook-bus.ts'
import { errorAnswer, GatewayError, toGatewayError } from '../src/server/errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The code of the error that it was answered with before it reached the core. */
    errorCode: string | null
  }
}

/** Everything that fails before, or outside, the OpenAI front answers in its envelope too. */
export const errors = fp(
  async (app) => {
    app.decorateRequest('errorCode', null)
    app.setErrorHandler((error, request, reply) => sendError(error, request, reply))
    // What is answered here never reaches the core, which announces its own answers.
    app.addHook('onSend', (request, reply, _payload, done) => {
      reply.header('x-request-id', request.id)
      announceAnswer(request, reply, reply.statusCode)
      done()
    })
  },
  { name: 'signalbox-errors', dependencies: ['signalbox-hooks'] },
)

/** Sends any error in OpenAI's envelope. */
function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const failure = toGatewayError(fromFramework(error), request.id)
  request.errorCode = failure.code ?? failure.type
  if (failure.status >= 500) request.server.hooks.emit('onError', { requestId: request.id, error })
  const { status, headers, text } = errorAnswer(failure)
  void reply.code(status).headers(headers).send(text)
}

/** Fastify's `frameworkErrors`: a URL that cannot be read. It meets no hook and no plugin, so all is done here. */
export function answerUnreadable(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id)
  if (request.method === 'OPTIONS') void reply.code(204).send()
  else sendError(error, request, reply)
  announceAnswer(request, reply, reply.statusCode)
}

/** A request that was answered before the core saw it is a request like any other. */
export function announceAnswer(request: FastifyRequest, reply: FastifyReply, status: number): void {
  const { id: requestId, method, url, errorCode, principal } = request
  const { url: route = '_other' } = request.routeOptions
  const { hooks } = request.server
  const startedAt = performance.now() - reply.elapsedTime
  const header = (name: string): string | null => {
    const value = request.headers[name]
    return (Array.isArray(value) ? value.join() : value) ?? null
  }
  hooks.emit('onRequest', { requestId, method, path: url.split('?', 1)[0] ?? '', startedAt, header })
  hooks.emit('onResponse', {
    requestId,
    method,
    route: route.includes('*') ? '_other' : route,
    status,
    outcome: status < 400 ? 'ok' : status === 499 ? 'client_closed' : 'error',
    ...(errorCode ? { errorCode } : {}),
    userId: principal?.userId ?? null,
    stream: false,
    durationMs: reply.elapsedTime,
  })
}

/** Fastify's own 4xx say nothing that a client may not know; anything else stays a bug. */
function fromFramework(error: unknown): unknown {
  if (!isFastifyError(error) || error.statusCode === undefined || error.statusCode >= 500) return error
  return new GatewayError('invalid_request', error.message, { status: error.statusCode, cause: error })
}

const isFastifyError = (error: unknown): error is FastifyError =>
  error instanceof Error && 'code' in error && String(error.code).startsWith('FST_')

const protocolErrors: Readonly<Record<string, GatewayError>> = {
  HPE_HEADER_OVERFLOW: new GatewayError('header_too_large', 'the request headers are too large'),
  ERR_HTTP_REQUEST_TIMEOUT: new GatewayError('request_timeout', 'the request did not arrive in time'),
}
const malformed = new GatewayError('invalid_request', 'the request is not valid HTTP')

function announceMalformed(hooks: HookBus, requestId: string, status: number, failure: GatewayError): void {
  hooks.emit('onRequest', { requestId, method: '_other', path: '_other' })
  hooks.emit('onResponse', {
    requestId,
    method: '_other',
    route: '_other',
    status,
    outcome: 'error',
    errorCode: failure.code ?? failure.type,
    userId: null,
    stream: false,
    durationMs: 0,
  })
}

/** Fastify's `clientErrorHandler`: what arrived is not a request, so the answer goes to the bare socket. */
export function answerMalformedRequest(this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  // A connection that is kept alive has written before; only an answer that has begun is in the way of ours.
  const { _httpMessage: begun } = socket as Socket & { _httpMessage?: ServerResponse }
  if (error.code === 'ECONNRESET' || !socket.writable || begun?.headersSent) {
    socket.destroy()
    return
  }
  const failure = protocolErrors[error.code ?? ''] ?? malformed
  const { status, headers, text } = errorAnswer(failure)
  const requestId = `req_${crypto.randomUUID()}`
  // A request that broke off is told as such; of anything else nothing can be trusted to be a method or a path.
  if (!begun) announceMalformed(this.hooks, requestId, status, failure)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `x-request-id: ${requestId}`,
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  // Half a connection would stay: after this, nothing of Node's looks at it again.
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`)
  const cut = setTimeout(() => socket.destroy(), 1000).unref()
  socket.once('close', () => clearTimeout(cut))
}
