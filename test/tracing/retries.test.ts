/** What a trace tells of a provider that was asked again. */
import t from 'tap'
import { startTraced } from '../traced.ts'
import * as up from '../upstream.ts'

t.test('each attempt is a span, and each retry an event of the request', async (t) => {
  const upstream = await up.startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startTraced(t, { upstream, provider: { retries: { baseDelay: '5ms' } } })
  upstream.next(up.failWith(500), up.dropBeforeResponse())
  const messages = [{ role: 'user', content: 'hello' }]
  await (await gateway.post('/v1/chat/completions', { model: 'openai/m', messages })).text()
  const attempts = await gateway.collector.named('chat m', 3)
  t.strictSame(
    attempts.map(({ attributes }) => attributes['error.type']),
    ['upstream_error', 'upstream_connection_lost', undefined],
  )
  const server = await gateway.collector.only('POST /v1/chat/completions')
  t.match(server.events, [
    {
      name: 'signalbox.retry',
      attributes: { 'signalbox.target': 'openai/m', 'signalbox.retry.attempt': 1, 'error.type': 'upstream_error' },
    },
    {
      name: 'signalbox.retry',
      attributes: { 'signalbox.retry.attempt': 2, 'error.type': 'upstream_connection_lost' },
    },
  ])
})
