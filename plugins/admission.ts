import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Place } from '../src/server/admission.ts'
import { GatewayError } from '../src/server/errors.ts'
import { isWork, refuse } from './overload.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Its place among the requests at work; null when it is not counted. */
    place: Place | null
  }
}

/** Gives each request that is work a place, or lets it wait for one, unread. Register it last before `oaiServer`: who may not ask takes none. */
export const admission = fp(
  async (app) => {
    const { admission } = app
    app.decorateRequest('place', null)
    app.addHook('onRequest', (request, reply, done) => {
      if (!isWork(request)) return done()
      if (admission.enter()) {
        take(request, reply)
        return done()
      }
      void wait(request, reply, done)
    })

    const take = (request: FastifyRequest, reply: FastifyReply): void => {
      const place = new Place(admission)
      request.place = place
      if (reply.raw.closed) place.end()
      else reply.raw.on('close', place.end)
    }

    async function wait(
      request: FastifyRequest,
      reply: FastifyReply,
      done: (error?: GatewayError) => void,
    ): Promise<void> {
      const waiting = admission.wait()
      if (!waiting) {
        refuse(request, reply, 'queue_full')
        return
      }
      reply.raw.once('close', waiting.leave)
      const outcome = await waiting.outcome
      reply.raw.off('close', waiting.leave)
      if (outcome === 'admitted') take(request, reply)
      if (outcome === 'queue_timeout') refuse(request, reply, outcome)
      else if (outcome === 'shutting_down') {
        done(new GatewayError('shutting_down', 'the gateway is shutting down', { retryAfter: 1 }))
      }
      // Of one that has left, the core's adapter takes note.
      else done()
    }
  },
  { name: 'signalbox-admission', dependencies: ['signalbox-overload', 'signalbox-auth'] },
)
