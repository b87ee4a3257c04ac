import t from 'tap'
import { startTraced } from '../traced.ts'
import * as up from '../upstream.ts'

t.test('a fallback is an event of the request, and each target asked has a span', async (t) => {
  const [one, two] = await Promise.all([up.startUpstream(), up.startUpstream()])
  t.teardown(() => Promise.all([one.close(), two.close()]))
  one.behave(up.failWith(503))
  const kind = 'openai-compatible'
  const providers = { one: { kind, baseURL: one.baseURL }, two: { kind, baseURL: two.baseURL } }
  const models = { m: { targets: [{ model: 'one/a' }, { model: 'two/b', priority: 1 }] } }
  const { client, collector } = await startTraced(t, { config: { providers, models } })
  await client().chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'hi' }] })
  const told = {
    'signalbox.fallback.from': 'one/a',
    'signalbox.fallback.to': 'two/b',
    'signalbox.fallback.reason': 'server_error',
  }
  const request = await collector.only('POST /v1/chat/completions')
  t.match(request, { attributes: { 'signalbox.target': 'two/b' }, status: 'UNSET' })
  t.strictSame(request.events, [{ name: 'signalbox.fallback', attributes: told }])
  t.match(await collector.only('chat a'), { parentSpanId: request.spanId, status: 'ERROR' })
  t.match(await collector.only('chat b'), { parentSpanId: request.spanId, status: 'UNSET' })
})
