import type { IncomingMessage } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { errorAnswer, GatewayError } from '../src/server/errors.ts'
import { type HandleContext, OaiServer, type OaiServerOptions } from '../src/server/oai-server.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The OpenAI front, behind every path that no other route takes. */
    oaiServer: OaiServer
  }
}

export type OaiServerPluginOptions = Pick<
  OaiServerOptions,
  'limits' | 'keepAliveMs' | 'streamChunkChars' | 'responseStore'
>

/**
 * The adapter: an `onRequest` hook that hands the raw request to `OaiServer.handle` as a web-standard `Request`, with what
 * the plugins before it have established. Registered last, since nothing runs after it.
 */
export const oaiServer = fp<OaiServerPluginOptions>(
  async (app, options) => {
    const server = new OaiServer({
      ...options,
      hooks: app.hooks,
      router: app.modelRouter,
      readiness: app.readiness,
      cors: false, // the cors plugin's
    })
    app.decorate('oaiServer', server)
    const contexts = new WeakMap<IncomingMessage, HandleContext>()
    const listener = getRequestListener(
      (request, { incoming }) => server.handle(request, contexts.get(incoming as IncomingMessage)),
      { hostname: 'localhost', errorHandler: refuseUnreadable },
    )

    const forward = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      contexts.set(request.raw, { requestId: request.id, principal: request.principal })
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) reply.raw.setHeader(name, value)
      }
      reply.hijack()
      await listener(request.raw, reply.raw)
    }

    // OPTIONS is the cors plugin's; without it, it gets to the core as any method that no route takes.
    const routed = app.supportedMethods.filter((method) => method !== 'OPTIONS')
    await app.register(async (scope) => {
      // The core reads and limits the body itself.
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
      scope.addHook('onRequest', forward)
      scope.route({ method: routed, url: '/*', handler: forward })
      scope.setNotFoundHandler(forward)
    })

    // What a plugin answered before the front was reached is a request like any other.
    app.addHook('onResponse', (request, reply, done) => {
      if (!contexts.has(request.raw)) {
        const { statusCode: status } = reply
        app.hooks.emit('onResponse', {
          requestId: request.id,
          method: request.method,
          route: request.routeOptions.url === '/*' ? '_other' : (request.routeOptions.url ?? '_other'),
          status,
          outcome: status < 400 ? 'ok' : 'error',
          userId: request.principal?.userId ?? null,
          stream: false,
          durationMs: reply.elapsedTime,
        })
      }
      done()
    })
  },
  {
    name: 'signalbox-oai-server',
    dependencies: ['signalbox-hooks', 'signalbox-auth', 'signalbox-model-router', 'signalbox-health'],
  },
)

/** The listener could not make a `Request` of it: a broken Host header, a URL that is none. */
function refuseUnreadable(cause: unknown): Response {
  const { status, headers, text } = errorAnswer(
    new GatewayError('invalid_request', 'the request has an invalid URL or Host header', { cause }),
  )
  return new Response(text, { status, headers: { ...headers, 'x-request-id': `req_${crypto.randomUUID()}` } })
}
