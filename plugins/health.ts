import fp from 'fastify-plugin'
import { Readiness } from '../src/server/readiness.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether this process wants traffic, as `GET /ready` tells it. Plugins add checks. */
    readiness: Readiness
  }
}

/** Readiness of the app: it ends when the app begins to close, if not before. */
export const health = fp(
  async (app) => {
    const readiness = new Readiness()
    app.decorate('readiness', readiness)
    app.addHook('preClose', async () => readiness.drain())
  },
  { name: 'signalbox-health' },
)
