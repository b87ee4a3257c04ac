import t from 'tap'
import { createEngine, HookBus, MemoryPersistence, type Persistence } from '../../src/index.ts'
import { startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const messages = [{ role: 'user' as const, content: 'hi' }]

t.test('what is not given is made', async (t) => {
  const engine = createEngine()
  t.ok(engine.hooks instanceof HookBus)
  t.ok(engine.persistence instanceof MemoryPersistence)
  t.not(createEngine({ catalog: 'defaults' }).hooks, engine.hooks)
})

t.test('hooks and persistence are those that are given', async (t) => {
  const hooks = new HookBus()
  const persistence: Persistence = { get: async () => undefined, set: async () => {}, delete: async () => false }
  const engine = createEngine({ hooks, persistence })
  t.equal(engine.hooks, hooks)
  t.equal(engine.persistence, persistence)
})

t.test('its clients carry its keys, by provider', async (t) => {
  const engine = createEngine({ apiKeys: { openai: 'sk-openai', lab: 'sk-lab', groq: undefined } })
  for (const [model, sent] of [
    ['openai/gpt', 'Bearer sk-openai'],
    ['lab/org/small', 'Bearer sk-lab'],
    ['elsewhere/m', undefined],
  ] as const) {
    const client = engine.createLLM({ model, baseURL: upstream.baseURL })
    t.teardown(() => client.close?.())
    await client.complete({ model: 'x', messages })
    t.equal(upstream.last().headers.authorization, sent, model)
  }
})

t.test('a key that is given with the model wins', async (t) => {
  const engine = createEngine({ apiKeys: { openai: 'sk-engine' } })
  const client = engine.createLLM({ model: 'openai/gpt', baseURL: upstream.baseURL, apiKey: 'sk-own' })
  t.teardown(() => client.close?.())
  await client.complete({ model: 'x', messages })
  t.equal(upstream.last().headers.authorization, 'Bearer sk-own')
})

t.test('without a key of its own it takes the one of the environment', async (t) => {
  const before = process.env.OPENAI_API_KEY
  t.teardown(() => {
    if (before === undefined) delete process.env.OPENAI_API_KEY
    else process.env.OPENAI_API_KEY = before
  })
  process.env.OPENAI_API_KEY = 'sk-environment'
  const client = createEngine({ apiKeys: { openai: undefined } }).createLLM({
    model: 'openai/gpt',
    baseURL: upstream.baseURL,
  })
  t.teardown(() => client.close?.())
  await client.complete({ model: 'x', messages })
  t.equal(upstream.last().headers.authorization, 'Bearer sk-environment')
})
