import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { errorAnswer, GatewayError } from '../src/server/errors.ts'
import { nodeListener } from '../src/server/node-listener.ts'
import { type HandleContext, OaiServer, type OaiServerOptions } from '../src/server/oai-server.ts'
import { announceAnswer } from './errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The OpenAI front, behind every path that no other route takes. */
    oaiServer: OaiServer
  }
}

export type OaiServerPluginOptions = Pick<
  OaiServerOptions,
  | 'limits'
  | 'keepAliveMs'
  | 'streamChunkChars'
  | 'responseStore'
  | 'responseStorePersistence'
  | 'conversationTtlSeconds'
  | 'completionIndex'
  | 'eventLog'
  | 'prices'
  | 'leases'
  | 'lockTimeoutMs'
  | 'loaderTimeoutMs'
  | 'hiddenStepsPersistence'
>

/** RFC 9110, 7.2: a host and perhaps a port, and nothing else. Empty when the target names none. */
const validHost = /^(?:[\w.~!$&'()*+,;=%-]*|\[[\da-f:.]+\])(?::\d*)?$/i

/**
 * Clients are told to use no connection that was idle for so long, in milliseconds, though it is kept for those that are not asked
 * (balancers) as long as was configured. So a process that drains can soon close what is idle, and meets no request on it.
 */
const toldIdleMs = 5000

const context = Symbol('signalbox.context')

/** A request on its way to the core, with what the plugins know of it. */
interface ForwardedMessage extends IncomingMessage {
  [context]?: HandleContext
}

/**
 * The adapter: an `onRequest` hook that hands the raw request to `OaiServer.handle` as a web-standard `Request`, with what
 * the plugins before it have established. Registered last, since nothing runs after it.
 */
export const oaiServer = fp<OaiServerPluginOptions>(
  async (app, options) => {
    const server = new OaiServer({
      ...options,
      ...(app.authPlugin ? { auth: app.authPlugin } : {}),
      ...(app.agentLoader ? { agentLoader: app.agentLoader } : {}),
      ...(app.conversationLoader ? { conversationLoader: app.conversationLoader } : {}),
      ...(app.hasDecorator('limiter') ? { limiter: app.limiter } : {}),
      hooks: app.hooks,
      router: app.modelRouter,
      readiness: app.readiness,
      cors: false, // the cors plugin's
    })
    app.decorate('oaiServer', server)
    app.addHook('onClose', () => server.backgroundSettled())
    const listener = nodeListener(
      (request, incoming: ForwardedMessage) => server.handle(request, incoming[context]),
      'localhost',
      (cause) => refuseUnreadable(cause),
    )

    // The listener makes the Request before it returns; a URL that it cannot read is refused here.
    let arriving: { request: FastifyRequest; reply: FastifyReply } | undefined
    const refuseUnreadable = (cause: unknown): Response => {
      const error = new GatewayError('invalid_request', 'the request has an invalid URL', { cause })
      const { status, headers, text } = errorAnswer(error)
      if (!arriving) return new Response(text, { status, headers })
      const { request, reply } = arriving
      announceAnswer(request, reply, status)
      const ours = { ...(reply.getHeaders() as Record<string, string>), 'x-request-id': request.id }
      return new Response(text, { status, headers: { ...ours, ...headers } })
    }

    const forward = (request: FastifyRequest, reply: FastifyReply): void => {
      const raw: ForwardedMessage = request.raw
      // Left while a plugin was at work: nothing would tell the core.
      if (reply.raw.closed) {
        reply.hijack()
        announceAnswer(request, reply, 499)
        return
      }
      if (!validHost.test(raw.headers.host ?? '')) {
        void reply.send(new GatewayError('invalid_request', 'the request has an invalid Host header'))
        return
      }
      // The path is the request's alone: a Host can be made to carry one into the URL that is put together from both.
      raw.headers.host = 'localhost'
      const headers = reply.getHeaders() as Record<string, string>
      // A client that keeps its connection is sent to look for another process.
      if (app.readiness.draining) headers.connection = 'close'
      else if (app.server.keepAliveTimeout > toldIdleMs) headers['keep-alive'] = `timeout=${toldIdleMs / 1000}`
      raw[context] = {
        requestId: request.id,
        startedAt: performance.now() - reply.elapsedTime,
        // Nobody established is not nobody needed: that is for the core to say, by the route that it finds.
        ...(request.principal ? { principal: request.principal } : {}),
        headers,
        ...(request.place ? { keepFor: request.place.keepFor } : {}),
      }
      reply.hijack()
      arriving = { request, reply }
      void listener(raw, reply.raw)
      arriving = undefined
    }

    // OPTIONS is the cors plugin's; without it, it gets to the core as any method that no route takes.
    const routed = app.supportedMethods.filter((method) => method !== 'OPTIONS')
    await app.register(async (scope) => {
      // The core reads and limits the body itself.
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
      scope.addHook('onRequest', (request, reply, _done) => forward(request, reply))
      scope.route({ method: routed, url: '/*', handler: forward })
      scope.setNotFoundHandler(forward)
    })
  },
  {
    name: 'signalbox-oai-server',
    dependencies: [
      'signalbox-hooks',
      'signalbox-errors',
      'signalbox-auth',
      'signalbox-model-router',
      'signalbox-health',
    ],
  },
)
