import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { createDemo, defineTool, ModelRouter } from 'signalbox'
import { type ModelRouterOptions, modelRouter } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { completion, startUpstream } from '../upstream.ts'

async function appWith(t: Test, options: ModelRouterOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(modelRouter, options)
  return app
}

const ask = { model: 'm', messages: [{ role: 'user' as const, content: 'hello there' }] }

t.test('a router that is given is used, and stays open for its owner', async (t) => {
  let closed = 0
  const client = {
    ...createDemo({ pace: 0 }),
    async close() {
      closed += 1
    },
  }
  const router = new ModelRouter()
  router.register({ model: 'mine', client })
  const app = await appWith(t, { router })
  t.equal(app.modelRouter, router)
  await app.close()
  t.equal(closed, 0)
  const { entry } = router.resolve('mine')
  t.match(await entry.client.complete(ask), { choices: [{ message: { content: /hello there/ } }] })
})

t.test('the models of a configuration are built, and their connections close with the app', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const app = await appWith(t, {
    providers: { local: { baseURL: upstream.baseURL } },
    models: {
      fast: { targets: [{ model: 'local/gpt-mini' }] },
      'team/*': { targets: [{ model: 'local/*' }], capabilities: { tools: true } },
    },
  })
  t.same(
    app.modelRouter.list().map(({ model, capabilities }) => ({ model, capabilities })),
    [
      { model: 'fast', capabilities: undefined },
      { model: 'team/*', capabilities: { tools: true } },
    ],
  )
  const fast = app.modelRouter.resolve('fast')
  await fast.entry.client.complete(ask)
  t.match(upstream.last().body, { model: 'gpt-mini' })
  t.equal(upstream.openConnections(), 1)

  upstream.behave(completion({ firstDelayMs: 50 }))
  const running = fast.entry.client.complete(ask)
  await upstream.request(1)
  const closed = app.close()
  t.match(await running, { choices: [{ message: { content: 'You said: hello there' } }] }, 'a running call finishes')
  await closed
  for (let turn = 0; upstream.openConnections() > 0 && turn < 1000; turn += 1) await sleep(1)
  t.equal(upstream.openConnections(), 0)
})

t.test('without models, each provider is a wildcard; without providers, there is the demo', async (t) => {
  const providers = { a: { baseURL: 'http://127.0.0.1:1/v1' }, b: { baseURL: 'http://127.0.0.1:2/v1' } }
  const models = (app: FastifyInstance) => app.modelRouter.list().map(({ model }) => model)
  t.same(models(await appWith(t, { providers })), ['a/*', 'b/*'])
  t.same(models(await appWith(t, { providers: {} })), ['demo/echo'])
})

t.test('agents are built as well, from parts that are given beside the configuration', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const options = {
    providers: {},
    agents: { helper: { model: 'demo/echo', tools: ['clock'] } },
    contextWindow: () => 8192,
  }
  const app = await appWith(t, { ...options, tools: [clock] })
  const { client, entry } = app.modelRouter.resolve('helper')
  t.match(await client.complete({ model: 'helper', messages: [{ role: 'user', content: 'clock' }] }), {
    choices: [{ message: { content: /The tool answered: noon/ } }],
  })
  t.equal(entry.contextWindow?.('helper'), undefined, 'the demo has no window')
  await t.rejects(appWith(t, options), { message: /agents\.helper\.tools: the extension has no "clock"/ })
})

t.test('a configuration that cannot work is refused at once, in words', async (t) => {
  await t.rejects(appWith(t, { providers: { nobody: {} } }), { message: /provider "nobody" is not known/ })
  await t.rejects(appWith(t, { providers: { mine: { kind: 'vllm' } } }), { message: /"mine" needs an address/ })
  const models = { a: { targets: [{ model: 'other/m' }] } }
  await t.rejects(appWith(t, { providers: { mine: { baseURL: 'http://127.0.0.1:1' } }, models }), {
    message: /provider of "other\/m" is not configured/,
  })
})
