import bearerAuth from '@fastify/bearer-auth'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { AuthPlugin, AuthVerifyResult } from '../src/auth/auth-plugin.ts'
import { authenticate, refuse } from '../src/auth/authenticate.ts'
import { BearerKeyAuth } from '../src/auth/bearer-key-auth.ts'
import { GatewayError } from '../src/server/errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sends the request; null when nobody needs to say. */
    principal: AuthVerifyResult | null
  }
  interface FastifyContextConfig {
    /** True for a route that needs no key. */
    public?: boolean
  }
}

export interface AuthOptions {
  /** Default: none, and every request is anonymous. */
  auth?: AuthPlugin | undefined
  /** Paths that need no key. Default `/health` and `/ready`. */
  publicPaths?: readonly string[]
}

/** Establishes `request.principal`, or refuses the request with a 401. */
export const auth = fp<AuthOptions>(
  async (app, { auth: plugin, publicPaths = ['/health', '/ready'] }) => {
    app.decorateRequest('principal', null)
    if (!plugin) return
    const open = new Set(publicPaths.flatMap((path) => [path, `${path}/`]))
    const isPublic = ({ url, routeOptions }: FastifyRequest): boolean =>
      open.has(url.includes('?') ? url.slice(0, url.indexOf('?')) : url) || routeOptions.config.public === true

    if (!(plugin instanceof BearerKeyAuth)) {
      app.addHook('onRequest', async (request) => {
        if (isPublic(request)) return
        request.principal = await authenticate(() => plugin.verify(headersOf(request)), app.hooks, request.id)
      })
      return
    }

    await app.register(bearerAuth, {
      keys: [],
      addHook: false,
      specCompliance: 'rfc6749', // `bearer` in lower case is valid
      verifyErrorLogLevel: '',
      auth(key, request) {
        try {
          request.principal = plugin.verifyKey(key)
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

function headersOf({ headers }: FastifyRequest): Headers {
  const result = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    for (const item of Array.isArray(value) ? value : [value ?? '']) result.append(name, item)
  }
  return result
}
