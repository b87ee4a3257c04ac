/** The trace of the caller goes on to the provider, and what it says of sampling holds. */
import { context, propagation, trace } from '@opentelemetry/api'
import t, { type Test } from 'tap'
import { defineTool } from '../../src/index.ts'
import { startTraced, type TracedGateway } from '../traced.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const ask = { model: 'openai/m', messages: [{ role: 'user', content: 'hello' }] }
const traceId = '0af7651916cd43dd8448eb211c80319c'
const callerSpan = 'b7ad6b7169203331'
const sampled = `00-${traceId}-${callerSpan}-01`
const unsampled = `00-${traceId}-${callerSpan}-00`

const post = ({ post }: TracedGateway, headers: Record<string, string>, stream = false): Promise<string> =>
  post('/v1/chat/completions', { ...ask, stream }, { headers }).then((answer) => answer.text())

/** Sets a variable for the gateways of one test. */
function withVariable(t: Test, name: string, value: string): void {
  process.env[name] = value
  t.teardown(() => {
    delete process.env[name]
  })
}

t.test('the spans belong to the caller’s trace, and the provider’s to ours', async (t) => {
  const gateway = await startTraced(t, { upstream })
  const { collector } = gateway
  for (const stream of [false, true]) {
    collector.spans.length = 0
    await post(gateway, { traceparent: sampled, tracestate: 'vendor=a', baggage: 'customer=ann' }, stream)
    const server = await collector.only(/^POST/)
    const attempt = await collector.only('chat m')
    t.strictSame([server.traceId, server.parentSpanId, server.traceState], [traceId, callerSpan, 'vendor=a'])
    t.strictSame([attempt.traceId, attempt.parentSpanId], [traceId, server.spanId])
    const { traceparent, tracestate, baggage } = upstream.last().headers
    t.equal(traceparent, `00-${traceId}-${attempt.spanId}-01`)
    t.equal(tracestate, 'vendor=a')
    t.equal(baggage, undefined, 'what callers tell each other stays here')
  }
  t.equal((await gateway.post('/v1/models', {}, { headers: { traceparent: sampled } })).status, 405)
  await gateway.post('/v1/models/%', {}, { headers: { traceparent: sampled } })
  for (const { traceId: id } of await collector.named(/^POST/, 3))
    t.equal(id, traceId, 'also what is refused at the door')
})

t.test('each attempt of an agent is a span of its own for the provider', async (t) => {
  const tool = defineTool({
    name: 'clock',
    description: '',
    parameters: { type: 'object', properties: {} },
    execute: () => 'noon',
  })
  const config = { agents: { helper: { model: 'openai/m', tools: ['clock'] } } }
  const { collector, post } = await startTraced(t, { upstream, config, extension: { tools: [tool] } })
  upstream.next(up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }))
  await post('/v1/chat/completions', { ...ask, model: 'helper' })
  const attempts = await collector.named('chat m', 2)
  t.strictSame(
    upstream.requests.map(({ headers }) => headers.traceparent),
    attempts.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`),
  )
})

t.test('a caller that does not sample is not sampled, and the provider is told so', async (t) => {
  const gateway = await startTraced(t, { upstream })
  await post(gateway, { traceparent: unsampled, 'x-conversation-id': 'c1' })
  t.match(upstream.last().headers.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`))
  t.match(gateway.requestLines()[0], { trace_id: traceId, trace_flags: '00' }, 'log lines can be found all the same')
  await post(gateway, {})
  await gateway.collector.only(/^POST/)
  t.notOk(gateway.collector.spans.some((span) => span.traceId === traceId))
})

t.test('a header that is none begins a trace', async (t) => {
  const gateway = await startTraced(t, { upstream })
  await post(gateway, { traceparent: '00-nothing-like-it-01', tracestate: 'vendor=a' })
  const server = await gateway.collector.only(/^POST/)
  t.equal(server.parentSpanId, '')
})

t.test('OTEL_TRACES_SAMPLER', async (t) => {
  t.test('always_off', async (t) => {
    withVariable(t, 'OTEL_TRACES_SAMPLER', 'always_off')
    const gateway = await startTraced(t, { upstream })
    await post(gateway, { traceparent: sampled })
    await gateway.close()
    t.same(gateway.collector.spans, [], 'also after the last flush')
    t.match(upstream.last().headers.traceparent, /-00$/)
  })

  t.test('a ratio', async (t) => {
    withVariable(t, 'OTEL_TRACES_SAMPLER', 'parentbased_traceidratio')
    withVariable(t, 'OTEL_TRACES_SAMPLER_ARG', '0')
    const gateway = await startTraced(t, { upstream })
    await post(gateway, {})
    await post(gateway, { traceparent: sampled })
    const server = await gateway.collector.only(/^POST/)
    t.equal(server.traceId, traceId, 'the caller’s word counts')
  })
})

t.test('tracing.propagate: false keeps it from providers', async (t) => {
  const gateway = await startTraced(t, { upstream, config: { tracing: { propagate: false } } })
  await post(gateway, { traceparent: sampled })
  await gateway.collector.only('chat m')
  t.notOk('traceparent' in upstream.last().headers)
})

t.test('OTEL_PROPAGATORS chooses the headers', async (t) => {
  withVariable(t, 'OTEL_PROPAGATORS', 'b3')
  const gateway = await startTraced(t, { upstream })
  await post(gateway, { b3: `${traceId}-${callerSpan}-1` })
  const attempt = await gateway.collector.only('chat m')
  t.equal(attempt.traceId, traceId)
  t.equal(upstream.last().headers.b3, `${traceId}-${attempt.spanId}-1`)
})

t.test('what a tool traces by itself is a part of the trace', async (t) => {
  const tool = defineTool({
    name: 'clock',
    description: '',
    parameters: { type: 'object', properties: {} },
    async execute() {
      const span = trace.getTracer('of the tool').startSpan('look at the clock')
      await context.with(trace.setSpan(context.active(), span), async () => {})
      span.end()
      return 'noon'
    },
  })
  const config = { agents: { helper: { model: 'openai/m', tools: ['clock'] } } }
  const { collector, post } = await startTraced(t, { upstream, config, extension: { tools: [tool] } })
  upstream.next(up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }))
  await post('/v1/chat/completions', { ...ask, model: 'helper' })
  const server = await collector.only(/^POST/)
  t.equal((await collector.only('look at the clock')).parentSpanId, server.spanId)
})

t.test('when the app is closed, OpenTelemetry is as it was before', async (t) => {
  const gateway = await startTraced(t, { upstream })
  await gateway.close()
  t.notOk(trace.getTracer('another').startSpan('a').isRecording())
  t.same(propagation.fields(), [])
})
