import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ConversationHistory } from '../../src/index.ts'
import { glance, messagesOf } from '../core.ts'
import { startGateway } from '../gateway.ts'
import { gated, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const sent = (): string[] => glance(messagesOf(upstream.last()))

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

t.test('a conversation is forgotten when its time is over', async (t) => {
  const gateway = await startGateway(t, { upstream, config: { conversations: { ttl: '1s' } } })
  const ask = (content: string) =>
    gateway
      .client({ defaultHeaders: { 'x-conversation-id': 'c1' } })
      .chat.completions.create({ model: 'openai/m', messages: [{ role: 'user', content }] })
  await ask('1')
  await ask('2')
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
  const { conversations } = gateway.client()
  const { id } = await conversations.create()
  await sleep(1200)
  await ask('3')
  t.strictSame(sent(), ['user 3'])
  t.match(await t.rejects(conversations.retrieve(id)), { status: 404 })
})

t.test('an agent may see only the end of it, or be asked without any', async (t) => {
  const agents = {
    short: { model: 'openai/m', conversation: { maxMessages: 3 } },
    tight: { model: 'openai/m', conversation: { maxTokens: 1 } },
    forgetful: { model: 'openai/m', conversation: { enabled: false } },
  }
  const gateway = await startGateway(t, { upstream, config: { agents } })
  for (const [model, expected, id] of [
    ['short', ['user 2', 'assistant You said: 2', 'user 3'], 'c1'],
    ['tight', ['user 3'], 'c1'],
    ['forgetful', ['user 3'], null],
  ] as const) {
    for (const content of ['1', '2', '3']) {
      const body = { model, messages: [{ role: 'user', content }] }
      const response = await gateway.post('/v1/chat/completions', body, { headers: { 'x-conversation-id': 'c1' } })
      t.equal(response.headers.get('x-conversation-id'), id, model)
      await response.text()
    }
    t.strictSame(sent(), expected, model)
    await gateway.app.conversationLoader?.save({ userId: null, conversationId: 'c1' }, new ConversationHistory())
  }
})
