/** The tables of the guide: every option, every default, every endpoint. */
import OpenAI from 'openai'
import t from 'tap'
import {
  type AuthPlugin,
  BearerKeyAuth,
  ConversationHistory,
  type ConversationLoaderPlugin,
  createAgent,
  createEngine,
  createLLM,
  createServer,
  defineTool,
  GatewayError,
  HookBus,
  type LLMClient,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  type Persistence,
  ResponseStore,
  type ServerEntry,
} from '../../src/index.ts'
import { holdPort } from '../process.ts'
import { completion, type Json, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const model = 'openai/gpt-4o-mini'
const access = { apiKey: 'sk-of-the-gateway', baseURL: upstream.baseURL }
const llm = createLLM({ model, ...access })
const messages = [{ role: 'user' as const, content: 'Hello!' }]
const bare = { model: 'chat', client: llm }

const serverOf = (entry: Partial<ServerEntry> = {}, options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ ...bare, ...entry }], ...options })

const clientOf = (server: OaiServer, apiKey = 'sk-anything'): OpenAI =>
  new OpenAI({
    baseURL: 'http://localhost/v1',
    apiKey,
    maxRetries: 0,
    fetch: (url, init) => server.handle(new Request(url, init)),
  })

const answerOf = async (server: OaiServer, apiKey?: string): Promise<string | null | undefined> => {
  const answer = await clientOf(server, apiKey).chat.completions.create({ model: 'chat', messages })
  return answer.choices[0]?.message.content
}

/** Who asked, as hooks hear it; undefined when nobody did. */
async function userOf(server: OaiServer, apiKey: string): Promise<string | null | undefined> {
  let user: string | null | undefined
  const off = server.hooks.on('onCompletion', ({ userId }) => {
    user = userId
  })
  await answerOf(server, apiKey).catch(() => undefined)
  off()
  return user
}

/** A persistence that can be looked into. */
function transparent() {
  const values = new Map<string, unknown>()
  const persistence: Persistence = {
    get: async (key) => values.get(key),
    set: async (key, value) => void values.set(key, structuredClone(value)),
    delete: async (key) => values.delete(key),
  }
  return { values, persistence }
}

const clock = defineTool({ name: 'clock', execute: () => 'It is noon.' })
const weather = {
  type: 'function' as const,
  function: { name: 'weather', parameters: { type: 'object', properties: {} } },
}
const toolNames = (): string[] =>
  ((upstream.last().body as { tools?: { function: { name: string } }[] }).tools ?? []).map((tool) => tool.function.name)

t.test('the server', async (t) => {
  t.test('entries: none, unless some are given or registered', async (t) => {
    const server = new OaiServer()
    t.same((await clientOf(server).models.list()).data, [])
    server.register(bare)
    t.match((await clientOf(server).models.list()).data, [{ id: 'chat' }])
    t.match((await clientOf(serverOf()).models.list()).data, [{ id: 'chat' }])
  })

  t.test('port 4000 and hostname 127.0.0.1, unless others are given', async (t) => {
    await holdPort(t, 4000)
    const server = new OaiServer()
    t.same(await server.start(), { hostname: '127.0.0.1', port: 4000, url: 'http://127.0.0.1:4000' })
    await server.stop()
    const other = new OaiServer({ port: 0, hostname: 'localhost' })
    t.match(await other.start(), { hostname: 'localhost', url: /^http:\/\/localhost:\d+$/ })
    await other.stop()
  })

  t.test('hooks: a bus of its own, unless one is given; agents use it too', async (t) => {
    t.not(new OaiServer().hooks, new OaiServer().hooks)
    const hooks = new HookBus()
    const server = serverOf({ client: createAgent({ client: llm, tools: [clock] }) }, { hooks })
    t.equal(server.hooks, hooks)
    const heard: string[] = []
    hooks.on('onTool', ({ tool, outcome }) => heard.push(`${tool} ${outcome}`))
    upstream.next(completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }))
    await answerOf(server)
    t.same(heard, ['clock ok'])
  })

  t.test('auth: none, and everybody is nobody', async (t) => {
    t.equal(await userOf(serverOf(), 'sk-anything'), null)
  })

  t.test('agentLoader: none; null from one falls back to the entry', async (t) => {
    t.equal(await answerOf(serverOf()), 'You said: Hello!')
    const asked: object[] = []
    const agent = createAgent({ client: llm, system: 'You are loaded.' })
    const agentLoader = {
      async load(request: { userId: string | null; model: string; conversationId: string }) {
        asked.push(request)
        return asked.length === 1 ? null : agent
      },
    }
    const server = serverOf({}, { agentLoader })
    await answerOf(server)
    t.match(upstream.last().body, { messages: [messages[0]] })
    await answerOf(server)
    t.match(upstream.last().body, { messages: [{ role: 'system', content: 'You are loaded.' }, messages[0]] })
    t.match(asked, [{ userId: null, model: 'chat', conversationId: /^conv_/ }, {}])
  })

  t.test('an agent that is loaded with a history keeps it itself', async (t) => {
    const agent = createAgent({ client: llm, history: new ConversationHistory() })
    const kept: string[] = []
    const conversationLoader: ConversationLoaderPlugin = {
      load: () => null,
      save: ({ conversationId }) => kept.push(conversationId),
    }
    const server = serverOf({}, { agentLoader: { load: () => agent }, conversationLoader })
    await answerOf(server)
    await answerOf(server)
    t.equal((upstream.last().body as { messages: Json[] }).messages.length, 3)
    t.equal(agent.history?.messages.length, 4)
    t.same(kept, [])
  })

  t.test('conversationLoader: none, and a named conversation is not kept', async (t) => {
    const client = clientOf(serverOf())
    const options = { headers: { 'x-conversation-id': 'c1' } }
    for (let turn = 0; turn < 2; turn++) await client.chat.completions.create({ model: 'chat', messages }, options)
    t.strictSame((upstream.last().body as Json).messages, messages)
  })

  t.test('responseStore: made by itself; one can be shared', async (t) => {
    t.type(new OaiServer().responseStore, ResponseStore)
    const responseStore = new ResponseStore()
    const [a, b] = [new OaiServer({ responseStore }), createServer({ responseStore })]
    await a.responseStore.set('alice', 'resp_1', { id: 'resp_1' })
    t.same(await b.responseStore.get('alice', 'resp_1'), { id: 'resp_1' })
  })

  t.test("responseStorePersistence: the engine's, unless another is given", async (t) => {
    const [engines, own] = [transparent(), transparent()]
    const engine = createEngine({ persistence: engines.persistence })
    await createServer({ engine }).responseStore.set('alice', 'resp_1', { id: 'resp_1' })
    t.same([...engines.values.keys()], ['response:{user:alice:resp_1}'])
    const other = createServer({ engine, responseStorePersistence: own.persistence })
    await other.responseStore.set('alice', 'resp_2', { id: 'resp_2' })
    t.same([...own.values.keys()], ['response:{user:alice:resp_2}'])
    t.equal(engines.values.size, 1)
  })

  t.test('conversations are kept in the persistence of the engine, by user and name', async (t) => {
    const { values, persistence } = transparent()
    const engine = createEngine({ persistence, apiKeys: { openai: 'sk' } })
    const auth = new BearerKeyAuth({ keys: { 'sk-prod-abc123': 'user-alice' } })
    const agents = { chat: { model, baseURL: upstream.baseURL } }
    for (const server of [createServer({ engine, agents }), createServer({ engine, agents, auth })]) {
      const options = { headers: { 'x-conversation-id': 'c1' } }
      await clientOf(server, 'sk-prod-abc123').chat.completions.create({ model: 'chat', messages }, options)
    }
    t.same([...values.keys()], ['conversation:{anon:c1}', 'conversation:{user:user-alice:c1}'])
  })

  t.test('streamChunkChars: 40, for a client that cannot stream', async (t) => {
    const whole: LLMClient = {
      provider: 'whole',
      model: 'only',
      complete: (request, call) => llm.complete(request, call),
      // biome-ignore lint/correctness/useYield: it has nothing to stream.
      async *stream() {
        throw new GatewayError('unsupported', 'this client does not stream')
      },
    }
    const text = '0123456789'.repeat(10)
    for (const [options, sizes] of [
      [{}, [40, 40, 20]],
      [{ streamChunkChars: 64 }, [64, 36]],
    ] as const) {
      upstream.next(completion({ text }))
      const server = serverOf({ client: whole }, options)
      const pieces: string[] = []
      const stream = await clientOf(server).chat.completions.create({ model: 'chat', messages, stream: true })
      for await (const { choices } of stream) if (choices[0]?.delta.content) pieces.push(choices[0].delta.content)
      t.same(
        pieces.map(({ length }) => length),
        sizes,
      )
      t.equal(pieces.join(''), text)
    }
  })
})

t.test('an entry', async (t) => {
  t.test('internalTools: none; with some, the model has them and the caller does not see them', async (t) => {
    await answerOf(serverOf())
    t.same(toolNames(), [])
    for (const stream of [false, true]) {
      upstream.next(completion({ toolCalls: [{ id: 'call_1', name: 'clock', arguments: '{}' }] }))
      const response = await serverOf({ internalTools: [clock] }).handle(
        new Request('http://localhost/v1/chat/completions', {
          method: 'POST',
          body: JSON.stringify({ model: 'chat', messages, stream }),
        }),
      )
      const text = await response.text()
      t.notMatch(text, /clock|tool_call|noon/)
      t.same(toolNames(), ['clock'])
      t.match((upstream.last().body as Json).messages, [
        messages[0],
        { role: 'assistant', tool_calls: [{ id: 'call_1' }] },
        { role: 'tool', tool_call_id: 'call_1', content: 'It is noon.' },
      ])
    }
  })

  t.test('allowExternalTools: true, and false drops the tools of callers', async (t) => {
    const ask = { model: 'chat', messages, tools: [weather], tool_choice: 'auto' as const }
    await clientOf(serverOf()).chat.completions.create(ask)
    t.same(toolNames(), ['weather'])
    const server = serverOf({ allowExternalTools: false })
    const { response } = await clientOf(server).chat.completions.create(ask).withResponse()
    t.same(Object.keys(upstream.last().body as Json), ['model', 'messages'])
    t.match(response.headers.get('x-signalbox-warning'), /takes no tools/)
    await clientOf(serverOf({ internalTools: [clock], allowExternalTools: false })).chat.completions.create(ask)
    t.same(toolNames(), ['clock'])
  })

  t.test('capabilities: none; given, they are shown at GET /v1/models', async (t) => {
    t.same((await clientOf(serverOf()).models.list()).data, [
      { id: 'chat', object: 'model', created: 0, owned_by: 'openai' },
    ])
    const capabilities = { vision: true, context_window: 128_000 }
    t.match((await clientOf(serverOf({ capabilities })).models.list()).data, [{ id: 'chat', capabilities }])
  })
})

t.test('authentication', async (t) => {
  t.test('a map of keys names their users', async (t) => {
    const server = serverOf({}, { auth: new BearerKeyAuth({ keys: { 'sk-prod-abc123': 'user-alice' } }) })
    t.equal(await userOf(server, 'sk-prod-abc123'), 'user-alice')
  })

  t.test('a list of keys: their users are named after how they begin', async (t) => {
    const keys = ['sk-abc-0123456789', 'sk-abc-9876543210']
    const server = serverOf({}, { auth: new BearerKeyAuth({ keys }) })
    const users = await Promise.all(keys.map((key) => userOf(server, key)))
    for (const user of users) t.match(user, /^key:sk-abc/)
    t.not(users[0], users[1], 'two keys that begin alike are two users')
    for (const [index, key] of keys.entries())
      t.notOk(users[index]?.includes(key.slice(8)), 'and none gives its key away')
  })

  t.test('an unknown key is a 401, and a hook', async (t) => {
    const server = serverOf({}, { auth: new BearerKeyAuth({ keys: ['sk-abc-0123456789'] }) })
    const failures: string[] = []
    server.hooks.on('onAuthFail', ({ reason }) => failures.push(reason))
    await t.rejects(answerOf(server, 'sk-of-nobody'), { status: 401, code: 'invalid_api_key' })
    t.same(failures, ['incorrect API key'])
    t.equal(upstream.requests.length, 0)
  })

  t.test('a plugin of one’s own may take its time; whatever it throws is a 401', async (t) => {
    const metadata = { tenant: 'acme' }
    const plugins: AuthPlugin[] = [
      { verify: (headers) => ({ userId: headers.get('authorization') ?? '', metadata }) },
      { verify: async (headers) => ({ userId: headers.get('authorization') ?? '' }) },
    ]
    for (const auth of plugins) t.equal(await userOf(serverOf({}, { auth }), 'sk-jwt'), 'Bearer sk-jwt')
    const refusals: AuthPlugin[] = [
      {
        verify() {
          throw new RangeError('expired')
        },
      },
      { verify: () => Promise.reject(new Error('expired')) },
    ]
    for (const auth of refusals) {
      const server = serverOf({}, { auth })
      const reasons: string[] = []
      server.hooks.on('onAuthFail', ({ reason }) => reasons.push(reason))
      await t.rejects(answerOf(server, 'sk-jwt'), { code: 'invalid_api_key', status: 401 })
      t.same(reasons, ['expired'])
    }
  })
})

t.test('models', async (t) => {
  t.test('one that is not registered is a 404 that names it', async (t) => {
    const ask = { model: 'chat ', messages }
    await t.rejects(clientOf(serverOf()).chat.completions.create(ask), {
      status: 404,
      message: '404 model "chat " not found',
    })
  })

  t.test('registering one twice throws; unregistering it first swaps it', async (t) => {
    const server = serverOf()
    t.throws(() => server.register(bare), { message: /"chat" is already registered/ })
    t.equal(await answerOf(server), 'You said: Hello!', 'it is still the first')
    t.equal(server.unregister('chat'), true)
    await t.rejects(answerOf(server), { code: 'model_not_found', status: 404 })
    server.register({ model: 'chat', client: createLLM({ model: 'openai/other', ...access }) })
    await answerOf(server)
    t.match(upstream.last().body, { model: 'other' })
  })
})

t.test('the store of responses', async (t) => {
  t.test('in memory only, and at most 10 000', async (t) => {
    const store = new ResponseStore()
    for (let at = 0; at <= 10_000; at++) await store.set('alice', `resp_${at}`, { at })
    t.equal(await store.get('alice', 'resp_0'), undefined)
    t.same(await store.get('alice', 'resp_1'), { at: 1 })
    t.equal(await new ResponseStore().get('alice', 'resp_1'), undefined)
  })

  t.test('with a persistence, under the prefix "response:"; both can be otherwise', async (t) => {
    const { values, persistence } = transparent()
    await new ResponseStore({ persistence }).set(null, 'resp_1', {})
    await new ResponseStore({ persistence, keyPrefix: 'r/' }).set('alice', 'resp_1', {})
    t.same([...values.keys()], ['response:{anon:resp_1}', 'r/{user:alice:resp_1}'])
    const small = new ResponseStore({ memoryCapacity: 1 })
    for (const id of ['a', 'b']) await small.set(null, id, { id })
    t.same([await small.get(null, 'a'), await small.get(null, 'b')], [undefined, { id: 'b' }])
  })

  t.test('is there for the life of what it keeps', async (t) => {
    const persistence = new MemoryPersistence()
    const before = new OaiServer({ responseStorePersistence: persistence })
    await before.responseStore.set('alice', 'resp_1', { id: 'resp_1' })
    const after = new OaiServer({ responseStorePersistence: persistence })
    t.same(await after.responseStore.get('alice', 'resp_1'), { id: 'resp_1' })
    t.equal(await after.responseStore.get('bob', 'resp_1'), undefined)
    t.equal(await after.responseStore.delete('alice', 'resp_1'), true)
  })
})
