import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { trackConnections } from '../src/server/connections.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Takes the app out of service: readiness off; serve on for `delayMs`, until the cluster has noticed; stop listening;
     * give open requests the rest of the drain timeout; break off what is left, telling its clients.
     */
    drain(delayMs?: number): Promise<void>
  }
}

export interface DrainOptions {
  /** How long open requests may take once the app has stopped listening, in milliseconds. Default 60 000. */
  timeoutMs?: number
}

/**
 * Milliseconds. By then, clients do not use an idle connection any more: those that heed `Keep-Alive` were told so with every
 * answer, and others have ends of their own (5 s in Python's). A request that meets the end of its connection would be lost: what
 * lies between them and the gateway, nginx and Envoy as well, does not send a POST twice.
 */
const longestIdleMs = 7000

export const drain = fp<DrainOptions>(
  async (app, { timeoutMs = 60_000 }) => {
    const connections = trackConnections(app.server)
    // Of what does not come from the core, which says so itself: whoever keeps its connection is to look for another process.
    app.addHook('onSend', (_request, reply, _payload, done) => {
      if (app.readiness.draining) reply.header('connection', 'close')
      done()
    })

    app.decorate('drain', async (delayMs = 0) => {
      const { openRequests } = app.oaiServer
      app.log.info({ openRequests }, 'Shutting down: readiness is off, open requests may finish')
      app.readiness.drain()
      connections.watch()
      if (delayMs > 0) await sleep(delayMs)
      const stopSweeping = connections.sweep(delayMs < 1000 ? 1000 : Math.min(longestIdleMs, delayMs + 2000))
      const warning = setTimeout(() => {
        const { openRequests } = app.oaiServer
        app.log.warn({ openRequests }, 'The drain timeout is over: breaking off what is open')
        if (app.hasDecorator('admission')) app.admission.close()
      }, timeoutMs)
      const callOff = app.oaiServer.breakOffAfter(timeoutMs, () => app.server.closeAllConnections())
      try {
        await app.close()
      } finally {
        stopSweeping()
        clearTimeout(warning)
        callOff()
      }
      app.log.info('Signalbox has stopped')
    })
  },
  { name: 'signalbox-drain', dependencies: ['signalbox-health', 'signalbox-oai-server'] },
)
