import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { GatewayError } from '../src/server/errors.ts'
import { NodeRequest } from '../src/server/node-request.ts'
import { OaiServer } from '../src/server/oai-server.ts'
import { sendAnswer } from '../src/server/send-answer.ts'
import type { OaiServerOptions } from '../src/server/server-options.ts'
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

/**
 * The adapter: an `onRequest` hook that hands the raw request to the server, with what the plugins before it have established.
 * Registered last, since nothing runs after it.
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
    const forward = (request: FastifyRequest, reply: FastifyReply): void => {
      // Left while a plugin was at work: nothing would tell the core.
      if (reply.raw.closed) {
        reply.hijack()
        announceAnswer(request, reply, 499)
        return
      }
      if (!validHost.test(request.headers.host ?? '')) {
        void reply.send(new GatewayError('invalid_request', 'the request has an invalid Host header'))
        return
      }
      const headers = reply.getHeaders() as Record<string, string>
      // A client that keeps its connection is sent to look for another process.
      if (app.readiness.draining) headers.connection = 'close'
      else if (app.server.keepAliveTimeout > toldIdleMs) headers['keep-alive'] = `timeout=${toldIdleMs / 1000}`
      const { id: requestId, principal, place } = request
      const context = {
        requestId,
        startedAt: performance.now() - reply.elapsedTime,
        // Nobody established is not nobody needed: that is for the core to say, by the route that it finds.
        principal: principal ?? undefined,
        headers,
        keepFor: place?.keepFor,
      }
      reply.hijack()
      void server
        .answer(new NodeRequest(request.raw, reply.raw), context)
        .then((answer) => sendAnswer(answer, reply.raw))
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
