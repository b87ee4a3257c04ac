/** What is known of requests does not pile up. */
import { trace } from '@opentelemetry/api'
import t from 'tap'
import { HookBus } from '../../src/index.ts'
import { RequestContexts } from '../../src/tracing/request-contexts.ts'
import { traceRequests } from '../../src/tracing/trace-requests.ts'

const end = {
  method: 'GET',
  route: '/v1/models',
  status: 200,
  outcome: 'ok' as const,
  userId: null,
  stream: false,
  durationMs: 1,
}

t.test('a request is known until all have heard that it is over', async (t) => {
  const hooks = new HookBus()
  const contexts = new RequestContexts()
  const idsOf = traceRequests(hooks, { tracer: trace.getTracer('test'), contexts })
  await contexts.with(contexts.active(), async () =>
    hooks.emit('onRequest', { requestId: 'a', method: 'GET', path: '/v1/models' }),
  )
  t.ok(idsOf('a'))
  let heard: unknown
  hooks.on('onResponse', ({ requestId }) => {
    heard = idsOf(requestId)
  })
  hooks.emit('onResponse', { requestId: 'a', ...end })
  t.ok(heard, 'also by those who hear it after the tracing')
  await Promise.resolve()
  t.equal(idsOf('a'), undefined)
})

t.test('one that never ends is given up for newer ones', async (t) => {
  const hooks = new HookBus()
  const contexts = new RequestContexts()
  const idsOf = traceRequests(hooks, { tracer: trace.getTracer('test'), contexts })
  for (let n = 0; n <= 20_000; n++) hooks.emit('onRequest', { requestId: `r${n}`, method: 'GET', path: '/v1/models' })
  t.equal(idsOf('r0'), undefined)
  t.ok(idsOf('r1'))
})
