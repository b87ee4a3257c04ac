import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Admission, type AdmissionLimits } from '../src/server/admission.ts'
import { errorAnswer, GatewayError } from '../src/server/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** How much this process takes on, and what it has taken on. */
    admission: Admission
  }
}

export type OverloadOptions = AdmissionLimits

/** Seconds. What is refused at one moment comes back at several. */
const longestRetry = 5

const answers = Array.from({ length: longestRetry }, (_, n) =>
  errorAnswer(new GatewayError('overloaded', 'the gateway has too much to do: try again later', { retryAfter: n + 1 })),
)

/**
 * Refuses what a full process cannot even let wait, at once and before anything is spent on it. Register it before `auth`, and
 * `admission` after it.
 */
export const overload = fp<OverloadOptions>(
  async (app, limits) => {
    const admission = new Admission(limits)
    app.decorate('admission', admission)
    app.addHook('onRequest', (request, reply, done) => {
      if (admission.isFull && isWork(request)) refuse(request, reply, 'queue_full')
      else done()
    })
  },
  { name: 'signalbox-overload', dependencies: ['signalbox-hooks', 'signalbox-errors'] },
)

/**
 * Whether a request is to be counted: it is for the core, and has a body. Probes, scrapes, reading what is stored and
 * ending what runs are cheap, and what an operator needs when all is full.
 */
export const isWork = ({ method, url, routeOptions }: FastifyRequest): boolean =>
  method === 'POST' &&
  (routeOptions.url === undefined || routeOptions.url === '/*') &&
  !/^\/v1\/responses\/[^/?]+\/cancel\/*(?:\?|$)/.test(url)

/** An answer that costs next to nothing: nobody is told of a failure, for there is none. */
export function refuse(request: FastifyRequest, reply: FastifyReply, reason: 'queue_full' | 'queue_timeout'): void {
  request.errorCode = 'overloaded'
  request.server.hooks.emit('onOverload', { requestId: request.id, reason })
  const { status, headers, text } = answers[Math.floor(Math.random() * longestRetry)] as (typeof answers)[number]
  void reply.code(status).headers(headers).send(text)
}
