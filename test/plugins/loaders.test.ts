import Fastify, { type FastifyInstance } from 'fastify'
import { ConversationHistory, createAgent, createDemo, MemoryPersistence, ModelRouter } from 'signalbox'
import { agentLoader, auth, conversationLoader, errors, health, hooks, modelRouter, oaiServer } from 'signalbox/plugins'
import t, { type Test } from 'tap'

/** An app of one's own, with the plugins that the front needs and those that `more` registers. */
async function appWith(t: Test, more: (app: FastifyInstance) => Promise<void>) {
  const app = Fastify()
  t.teardown(() => app.close())
  const router = new ModelRouter()
  router.register({ model: 'echo', client: createDemo({ pace: 0 }) })
  for (const plugin of [hooks, errors, health, auth]) await app.register(plugin)
  await app.register(modelRouter, { router })
  await more(app)
  await app.register(oaiServer)
  const ask = (model: string, content: string) =>
    app.inject({
      method: 'POST',
      url: '/v1/chat/completions',
      headers: { 'x-conversation-id': 'c1' },
      payload: { model, messages: [{ role: 'user', content }] },
    })
  return { app, ask }
}

t.test('without them, every model is its entry and nothing is kept', async (t) => {
  const { ask } = await appWith(t, async () => {})
  const { statusCode, headers } = await ask('echo', 'one')
  t.equal(statusCode, 200)
  t.equal(headers['x-conversation-id'], undefined)
  t.equal((await ask('other', 'one')).statusCode, 404)
})

t.test('conversation-loader keeps conversations in a persistence', async (t) => {
  const persistence = new MemoryPersistence()
  const { app, ask } = await appWith(t, async (app) => {
    await app.register(conversationLoader, { persistence })
  })
  await ask('echo', 'one')
  const { headers } = await ask('echo', 'two')
  t.equal(headers['x-conversation-id'], 'c1')
  const history = await app.conversationLoader?.load({ userId: null, conversationId: 'c1' })
  t.match(history?.messages, [
    { role: 'user', content: 'one' },
    { role: 'assistant', content: /one/ },
    { role: 'user', content: 'two' },
    { role: 'assistant', content: /two/ },
  ])
})

t.test('conversation-loader takes a loader of one’s own', async (t) => {
  const saved: string[] = []
  const loader = {
    load: () => new ConversationHistory([{ role: 'user', content: 'before' }]),
    save: (_key: unknown, history: ConversationHistory) => saved.push(JSON.stringify(history.export())),
  }
  const { app, ask } = await appWith(t, async (app) => {
    await app.register(conversationLoader, { loader })
  })
  t.equal(app.conversationLoader, loader)
  await ask('echo', 'one')
  t.match(saved, [/before.*one.*assistant/])
})

t.test('either is refused where it would have no effect', async (t) => {
  const { app } = await appWith(t, async () => {})
  const order = { message: /before oai-server/ }
  await t.rejects(async () => app.register(conversationLoader, { persistence: new MemoryPersistence() }), order)
  const other = await appWith(t, async () => {})
  await t.rejects(async () => other.app.register(agentLoader, { loader: { load: () => null } }), order)
  const bare = Fastify()
  t.teardown(() => bare.close())
  await t.rejects(async () => bare.register(conversationLoader, {} as never), { message: /a loader or a persistence/ })
})

t.test('both at once: the conversation of a loaded agent is kept', async (t) => {
  const heard: unknown[] = []
  const client = createDemo({ pace: 0 })
  const loader = {
    load: (request: object) => {
      heard.push(request)
      return createAgent({ client })
    },
  }
  const persistence = new MemoryPersistence()
  const { app, ask } = await appWith(t, async (app) => {
    await app.register(conversationLoader, { persistence, keyPrefix: 'talk:', ttlSeconds: 60 })
    await app.register(agentLoader, { loader })
  })
  await ask('mine', 'one')
  await ask('mine', 'two')
  t.strictSame(heard[1], { userId: null, model: 'mine', conversationId: 'c1' })
  t.match(await persistence.get('talk:{anon:c1}'), { messages: { length: 4 } })
  const history = await app.conversationLoader?.load({ userId: null, conversationId: 'c1' })
  t.equal(history?.messages.length, 4)
})

t.test('agent-loader resolves agents per request', async (t) => {
  const loader = {
    load: ({ model }: { model: string }) =>
      model === 'mine' ? createAgent({ client: createDemo({ pace: 0 }), system: 'Be brief.' }) : null,
  }
  const { app, ask } = await appWith(t, async (app) => {
    await app.register(agentLoader, { loader })
  })
  t.equal(app.agentLoader, loader)
  t.equal((await ask('mine', 'one')).statusCode, 200)
  t.equal((await ask('echo', 'one')).statusCode, 200)
  t.equal((await ask('other', 'one')).statusCode, 404)
})
