import t from 'tap'
import { startGateway } from '../gateway.ts'
import { gated, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

t.test('a stream whose turn does not come is a 409 with its status, before it is kept alive', async (t) => {
  const gateway = await startGateway(t, { upstream, config: { server: { keepAlive: '300ms' } } })
  const ask = (stream: boolean) =>
    gateway.post(
      '/v1/chat/completions',
      { model: 'openai/m', messages: [{ role: 'user', content: 'hi' }], stream },
      { headers: { 'x-conversation-id': 'c1' } },
    )
  const gate = gated(['first'])
  upstream.next(gate.behaviour)
  const first = ask(true)
  await upstream.request(0)
  const startedAt = performance.now()
  const refused = await ask(true)
  t.equal(refused.status, 409)
  t.equal(refused.headers.get('retry-after'), '1')
  t.match(await refused.json(), { error: { code: 'conversation_locked' } })
  t.ok(performance.now() - startedAt >= 195, 'after two thirds of the time')
  gate.release(10)
  t.match(await (await first).text(), /\[DONE\]/)
})
