import OpenAI from 'openai'
import t from 'tap'
import { BearerKeyAuth, createDemo, createEngine, createServer, HookBus, type Persistence } from '../../src/index.ts'
import { assertSchema } from '../openapi.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import { startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
const anthropic = await startAnthropic()
t.teardown(() => Promise.all([upstream.close(), anthropic.close()]))
t.beforeEach(() => upstream.reset())

const { baseURL } = upstream

const ask = (model: string, key?: string): Request =>
  new Request('http://localhost/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello!' }] }),
  })

t.test('the first sample of the guide', async (t) => {
  const engine = createEngine({ catalog: 'defaults', apiKeys: { anthropic: 'sk-anthropic' } })
  const server = createServer({
    engine,
    agents: {
      'my-assistant': {
        model: 'anthropic/claude-haiku-4-5',
        baseURL: anthropic.baseURL,
        system: 'You are a helpful assistant.',
      },
    },
  })
  const client = new OpenAI({
    baseURL: 'http://localhost:3000/v1',
    apiKey: 'not-checked-yet',
    fetch: (url, init) => server.handle(new Request(url, init)),
  })
  const response = await client.chat.completions.create({
    model: 'my-assistant',
    messages: [{ role: 'user', content: 'Hello!' }],
  })
  assertSchema('CreateChatCompletionResponse', response)
  t.equal(response.choices[0]?.message.content, 'You said: Hello!')
  t.match(anthropic.last(), {
    headers: { 'x-api-key': 'sk-anthropic' },
    body: {
      model: 'claude-haiku-4-5',
      system: [{ type: 'text', text: 'You are a helpful assistant.' }],
      messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello!' }] }],
    },
  })
})

t.test('an agent without instructions sends what it is sent', async (t) => {
  const server = createServer({ agents: { plain: { model: 'lab/small', baseURL } } })
  t.equal((await server.handle(ask('plain'))).status, 200)
  t.match(upstream.last().body, { model: 'small', messages: [{ role: 'user', content: 'Hello!' }] })
})

t.test('entries and agents are models alike', async (t) => {
  const server = createServer({
    entries: [{ model: 'demo', client: createDemo() }],
    agents: { helper: { model: 'lab/small', baseURL } },
  })
  const response = await server.handle(new Request('http://localhost/v1/models'))
  const list = (await response.json()) as { data: { id: string }[] }
  assertSchema('ListModelsResponse', list)
  t.strictSame(
    list.data.map(({ id }) => id),
    ['demo', 'helper'],
  )
})

t.test('an agent needs an id of its own, and what its provider needs', async (t) => {
  const spec = { model: 'lab/small', baseURL }
  t.throws(() => createServer({ entries: [{ model: 'a', client: createDemo() }], agents: { a: spec } }), {
    message: 'model "a" is already registered',
  })
  t.throws(() => createServer({ agents: { a: { model: 'nowhere/m' } } }), {
    message: /provider "nowhere" is not known/,
  })
})

t.test('auth is checked as in any server, with an agent that brings its own key', async (t) => {
  const server = createServer({
    auth: new BearerKeyAuth({ keys: { 'sk-prod-abc123': 'user-alice', 'sk-dev-xyz789': 'user-bob' } }),
    agents: { chat: { model: 'anthropic/claude-haiku-4-5', apiKey: 'sk-own', baseURL: anthropic.baseURL } },
  })
  t.equal((await server.handle(ask('chat'))).status, 401)
  t.equal((await server.handle(ask('chat', 'sk-dev-xyz789'))).status, 200)
  t.equal(anthropic.last().headers['x-api-key'], 'sk-own')
})

t.test('hooks are those of the engine, unless others are given', async (t) => {
  const engine = createEngine()
  t.equal(createServer({ engine }).hooks, engine.hooks)
  const hooks = new HookBus()
  t.equal(createServer({ engine, hooks }).hooks, hooks)
})

t.test("responses are kept in the engine's persistence, unless another is given", async (t) => {
  const memory = () => {
    const values = new Map<string, unknown>()
    const persistence: Persistence = {
      get: async (key) => values.get(key),
      set: async (key, value) => void values.set(key, value),
      delete: async (key) => values.delete(key),
    }
    return { values, persistence }
  }
  const shared = memory()
  const engine = createEngine({ persistence: shared.persistence })
  await createServer({ engine }).responseStore.set('alice', 'resp_1', { id: 'resp_1' })
  t.equal(shared.values.size, 1)
  t.strictSame(await createServer({ engine }).responseStore.get('alice', 'resp_1'), { id: 'resp_1' })

  const own = memory()
  await createServer({ engine, responseStorePersistence: own.persistence }).responseStore.set('alice', 'r', {})
  t.strictSame([shared.values.size, own.values.size], [1, 1])
})

t.test('a server of nothing answers all the same', async (t) => {
  const server = createServer({})
  t.equal((await server.handle(new Request('http://localhost/health'))).status, 200)
  t.equal((await server.handle(ask('m'))).status, 404)
})
