import bearerAuth from '@fastify/bearer-auth'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { AuthPlugin, AuthVerifyResult } from '../src/auth/auth-plugin.ts'
import { authenticate, refuse } from '../src/auth/authenticate.ts'
import { BearerKeyAuth } from '../src/auth/bearer-key-auth.ts'
import { GatewayError } from '../src/server/errors.ts'
import { webHeaders } from '../src/server/web-headers.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sends the request; null when nobody needs to say. */
    principal: AuthVerifyResult | null
  }
  interface FastifyInstance {
    /** Who decides on keys; undefined when nobody does. The core asks again for what was let through without a key. */
    authPlugin: AuthPlugin | undefined
  }
  interface FastifyContextConfig {
    /** True for a route that needs no key. */
    public?: boolean
  }
}

export interface AuthOptions {
  /** Default: none, and every request is anonymous. */
  auth?: AuthPlugin | undefined
}

/** Of the core's; what the core itself does not hold to be open needs a key all the same. */
const publicPaths = new Set(['/health', '/health/', '/ready', '/ready/'])

/** Establishes `request.principal`, or refuses the request with a 401. */
export const auth = fp<AuthOptions>(
  async (app, { auth: plugin }) => {
    app.decorateRequest('principal', null)
    app.decorate('authPlugin', plugin)
    if (!plugin) return
    const isPublic = ({ url, routeOptions }: FastifyRequest): boolean =>
      publicPaths.has(url.includes('?') ? url.slice(0, url.indexOf('?')) : url) || routeOptions.config.public === true

    // A subclass may look at more than the key.
    if (plugin.constructor !== BearerKeyAuth) {
      app.addHook('onRequest', async (request) => {
        if (isPublic(request)) return
        request.principal = await authenticate(() => plugin.verify(webHeaders(request.headers)), app.hooks, request.id)
      })
      return
    }

    const keys = plugin as BearerKeyAuth
    await app.register(bearerAuth, {
      keys: [],
      addHook: false,
      specCompliance: 'rfc6749', // `bearer` in lower case is valid
      verifyErrorLogLevel: '',
      auth(key, request) {
        try {
          request.principal = keys.verifyKey(key)
          return true
        } catch (error) {
          throw refuse(error, app.hooks, request.id)
        }
      },
    })
    app.addHook('onRequest', (request, reply, done) => {
      if (isPublic(request)) return done()
      app.verifyBearerAuth?.(request, reply, (error) => {
        if (!error || error instanceof GatewayError) done(error)
        else done(refuse(error, app.hooks, request.id))
      })
    })
  },
  { name: 'signalbox-auth', dependencies: ['signalbox-hooks'] },
)
