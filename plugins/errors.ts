import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { errorAnswer, GatewayError, toGatewayError } from '../src/server/errors.ts'

/** Everything that fails before, or outside, the OpenAI front answers in its envelope too. */
export const errors = fp(
  async (app) => {
    app.setErrorHandler((error, request, reply) => sendError(error, request, reply))
    app.addHook('onSend', (request, reply, _payload, done) => {
      reply.header('x-request-id', request.id)
      done()
    })
  },
  { name: 'signalbox-errors', dependencies: ['signalbox-hooks'] },
)

/** Sends any error in OpenAI's envelope. Also Fastify's `frameworkErrors` option: unreadable URLs and the like. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const failure = toGatewayError(fromFramework(error), request.id)
  if (failure.status >= 500) request.server.hooks.emit('onError', { requestId: request.id, error })
  const { status, headers, text } = errorAnswer(failure)
  void reply.code(status).headers(headers).send(text)
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

/** Fastify's `clientErrorHandler`: what arrived is not a request, so the answer goes to the bare socket. */
export function answerMalformedRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy()
    return
  }
  const { status, headers, text } = errorAnswer(protocolErrors[error.code ?? ''] ?? malformed)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `x-request-id: req_${crypto.randomUUID()}`,
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`)
}
