import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  AgentLoop,
  type AgentRequest,
  ConversationHistory,
  type ConversationLoaderPlugin,
  createEngine,
  createLLM,
  createServer,
  defineTool,
  GatewayError,
  type LLMClient,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  storedConversations,
  weighted,
} from '../../src/index.ts'
import { callersTool, chat, eventually, glance, inConversation, messagesOf, system, toolResult, user } from '../core.ts'
import { complaint } from '../upstream/transcript.ts'
import { completion, type Json, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
const { baseURL } = upstream
const client = createLLM({ model: 'lab/*', baseURL })
t.teardown(() => Promise.all([upstream.close(), client.close?.()]))
t.beforeEach(() => upstream.reset())

const clock = defineTool({ name: 'clock', execute: () => 'noon' })
const ask = (model: string, content: string, more: Json = {}) => ({ model, messages: [user(content)], ...more })
const sent = (): string[] => glance(messagesOf(upstream.last()))
const idOf = ({ headers }: Response): string | null => headers.get('x-conversation-id')
const failure = async (response: Response): Promise<Json> => {
  const { error } = (await response.json()) as { error: Json }
  return { status: response.status, ...error }
}

/** A server that keeps conversations in memory, with a plain model and an agent. */
const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({
    conversationLoader: storedConversations(new MemoryPersistence()),
    entries: [
      { model: 'plain', client },
      { model: 'agent', client: new AgentLoop({ client, system: 'Be brief.' }) },
    ],
    ...options,
  })

t.test('a plain model is stateless until a conversation is named', async (t) => {
  const server = serving()
  for (const more of [{}, { user: 'alice' }, { metadata: {} }]) {
    const response = await chat(server, ask('plain', '1', more))
    t.equal(response.status, 200)
    t.equal(idOf(response), null)
    t.strictSame(sent(), ['user 1'])
  }
  t.equal(idOf(await chat(server, ask('plain', '1'), inConversation('c1'))), 'c1')
  const response = await chat(server, ask('plain', '2', { metadata: { conversation_id: 'c1' } }))
  t.equal(idOf(response), 'c1')
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
})

t.test('an agent has a conversation in any case: the named one, the user’s, or a new one', async (t) => {
  const server = serving()
  const fresh = idOf(await chat(server, ask('agent', '1'))) ?? ''
  t.match(fresh, /^conv_[\da-f]{32}$/)
  await chat(server, ask('agent', '2'), inConversation(fresh))
  t.strictSame(sent(), ['system Be brief.', 'user 1', 'assistant You said: 1', 'user 2'])
  t.equal(idOf(await chat(server, ask('agent', '1', { user: 'alice' }))), 'alice')
  const metadata = { conversation_id: 'mine' }
  t.equal(idOf(await chat(server, ask('agent', '1', { user: 'alice', metadata }))), 'mine')
  t.equal(idOf(await chat(server, ask('agent', '1', { user: 'alice', metadata }), inConversation('c1'))), 'c1')
  t.not(idOf(await chat(server, ask('agent', '1'))), idOf(await chat(server, ask('agent', '1'))))
})

t.test('a name that cannot be one is refused, whole or streamed, and nothing is asked', async (t) => {
  const server = serving()
  const cases: [param: string, body: Json, init?: RequestInit][] = [
    ['x-conversation-id', ask('plain', '1'), inConversation('x'.repeat(300))],
    ['metadata.conversation_id', ask('plain', '1', { metadata: { conversation_id: 7 } })],
    ['metadata.conversation_id', ask('agent', '1', { metadata: { conversation_id: '' }, stream: true })],
    ['user', ask('agent', '1', { user: 'a\nb' })],
  ]
  for (const [param, body, init] of cases) {
    const refused = await failure(await chat(server, body, init))
    t.match(refused, { status: 400, type: 'invalid_request_error', param })
  }
  t.equal(upstream.requests.length, 0)
})

t.test('where nothing is kept, what is called a conversation is between the client and the provider', async (t) => {
  const server = createServer({ entries: [{ model: 'plain', client }] })
  for (const conversation_id of [7, '', 'c1', { any: 'thing' }]) {
    const body = ask('plain', '1', { metadata: { conversation_id } })
    for (const init of [{}, inConversation('c1'), inConversation('x'.repeat(300))]) {
      const response = await chat(server, body, init)
      t.equal(response.status, 200)
      t.equal(idOf(response), null)
      t.match(upstream.last().body, body)
    }
  }
  await chat(server, ask('plain', '2'), inConversation('c1'))
  t.strictSame(sent(), ['user 2'])
})

t.test('an entry may be without conversations', async (t) => {
  const agent = new AgentLoop({ client })
  const server = serving({
    entries: ['plain', 'agent'].map((model) => ({ model, client: agent, conversation: false })),
  })
  for (const content of ['1', '2']) {
    const response = await chat(server, ask('agent', content), inConversation('c1'))
    t.equal(idOf(response), null)
    t.strictSame(sent(), [`user ${content}`])
  }
})

t.test('an agent that keeps nothing names no conversation that could be gone on with', async (t) => {
  const server = new OaiServer({ entries: [{ model: 'agent', client: new AgentLoop({ client }) }] })
  t.equal(idOf(await chat(server, ask('agent', '1'))), null)
})

t.test('limits: the oldest turns go, and calls stay with their results', async (t) => {
  const limits = { maxMessages: 3 }
  const server = serving({ entries: [{ model: 'plain', client, conversation: limits }] })
  upstream.next(
    completion(),
    completion({ toolCalls: ['a', 'b'].map((id) => ({ id, name: 'weather', arguments: '{}' })) }),
  )
  await chat(server, ask('plain', '1'), inConversation('c1'))
  await chat(server, ask('plain', '2'), inConversation('c1'))
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
  const messages = [toolResult('a', 'sunny'), toolResult('b', 'rain')]
  await chat(server, { model: 'plain', messages }, inConversation('c1'))
  t.strictSame(sent(), ['user 2', 'calls a b', 'a: sunny', 'b: rain'])
  const tokens = serving({ entries: [{ model: 'plain', client, conversation: { maxTokens: 1 } }] })
  for (const n of ['1', '2']) await chat(tokens, ask('plain', n), inConversation('c1'))
  t.strictSame(sent(), ['user 2'])
})

t.test('an agent that its entry wraps is an agent still', async (t) => {
  const agent = new AgentLoop({ client, system: 'Be brief.' })
  const server = serving({
    entries: [
      { model: 'closed', client: agent, allowExternalTools: false },
      { model: 'tooled', client: agent, internalTools: [clock] },
      { model: 'drawn', client: weighted([{ client: agent }, { client: agent }]) },
    ],
  })
  for (const model of ['closed', 'tooled', 'drawn']) {
    const id = idOf(await chat(server, ask(model, '1', { user: `of ${model}` })))
    t.equal(id, `of%20${model}`)
    await chat(server, ask(model, '2'), inConversation(id ?? ''))
    t.strictSame(sent(), ['system Be brief.', 'user 1', 'assistant You said: 1', 'user 2'])
  }
})

t.test('an agent with a history of its own is its own keeper, also where its entry wraps it', async (t) => {
  for (const entry of [{}, { allowExternalTools: false }]) {
    const saves: unknown[] = []
    const conversationLoader: ConversationLoaderPlugin = { load: () => null, save: (key) => saves.push(key) }
    const agent = new AgentLoop({ client, history: new ConversationHistory([system('s')]) })
    const server = serving({ conversationLoader, entries: [{ model: 'agent', client: agent, ...entry }] })
    for (const n of ['1', '2']) t.ok(idOf(await chat(server, ask('agent', n))))
    t.strictSame(sent(), ['system s', 'user 1', 'assistant You said: 1', 'user 2'])
    t.equal(agent.history?.messages.length, 5)
    t.strictSame(saves, [])
  }
})

t.test('what the gateway does not know is a 404, and no loader is asked what its key may not use', async (t) => {
  const asked: AgentRequest[] = []
  const server = serving({ agentLoader: { load: (request) => void asked.push(request) as never } })
  t.match(await failure(await chat(server, ask('nobody', '1'))), { status: 404, code: 'model_not_found' })
  t.equal(asked.length, 1)
  const principal = { userId: 'alice', metadata: { models: ['plain'] } }
  const request = new Request('http://localhost/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify(ask('agent', '1')),
  })
  t.match(await failure(await server.handle(request, { principal })), { status: 403, code: 'model_not_allowed' })
  t.equal(asked.length, 1)
})

t.test('createServer', async (t) => {
  t.test('with agents: conversations are kept in the persistence of the engine', async (t) => {
    const engine = createEngine({ persistence: new MemoryPersistence() })
    const agents = { bot: { model: 'lab/m', baseURL } }
    const [one, other] = [createServer({ engine, agents }), createServer({ engine, agents })]
    const id = idOf(await chat(one, ask('bot', '1'))) ?? ''
    await chat(other, ask('bot', '2'), inConversation(id))
    t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
    const { messages } = (await engine.persistence.get(`conversation:{anon:${id}}`)) as { messages: never[] }
    t.strictSame(glance(messages), [...sent(), 'assistant You said: 2'])
  })

  t.test('without agents and without a loader none are', async (t) => {
    const server = createServer({ entries: [{ model: 'agent', client: new AgentLoop({ client }) }] })
    for (const n of ['1', '2']) t.equal(idOf(await chat(server, ask('agent', n), inConversation('c1'))), null)
    t.strictSame(sent(), ['user 2'])
  })

  t.test('a loader of one’s own keeps them instead', async (t) => {
    const saved: [unknown, string[]][] = []
    const conversationLoader: ConversationLoaderPlugin = {
      load: async () => null,
      save: async (key, { messages }) => void saved.push([key, glance(messages)]),
    }
    const server = createServer({ agents: { bot: { model: 'lab/m', baseURL } }, conversationLoader })
    await chat(server, ask('bot', '1'), inConversation('c1'))
    const turn = ['user 1', 'assistant You said: 1']
    t.strictSame(saved, [[{ userId: null, conversationId: 'c1' }, turn]])
  })
})

t.test('tools of both kinds, and a caller that keeps the transcript itself', async (t) => {
  const server = serving({ entries: [{ model: 'agent', client: new AgentLoop({ client, tools: [clock] }) }] })
  upstream.next(completion({ toolCalls: ['clock', 'weather'].map((name) => ({ id: name, name, arguments: '{}' })) }))
  const tools = [callersTool('weather')]
  const answer = (await (await chat(server, ask('agent', '1', { tools }))).json()) as { choices: [{ message: never }] }
  const messages = [user('1'), answer.choices[0].message, toolResult('weather', 'sunny')]
  const response = await chat(server, { model: 'agent', messages, tools })
  t.strictSame(sent(), ['user 1', 'calls clock weather', 'clock: noon', 'weather: sunny'])
  t.equal(complaint(messagesOf(upstream.last()) as unknown as Json[]), undefined)
  await chat(server, ask('agent', '2'), inConversation(idOf(response) ?? ''))
  t.equal(sent().length, 6, 'and the conversation that it began holds them all')
})

t.test('a client that cannot stream: its streams are turns as well, one after the other', async (t) => {
  const whole: LLMClient = {
    provider: 'lab',
    model: '*',
    complete: (request, call) => client.complete(request, call),
    stream() {
      throw new GatewayError('unsupported', 'no streams')
    },
  }
  const server = serving({ entries: [{ model: 'whole', client: whole }] })
  const answers = Array.from({ length: 20 }, (_, n) =>
    chat(server, ask('whole', String(n), { stream: true }), inConversation('c1')),
  )
  for (const answer of await Promise.all(answers)) t.match(await answer.text(), /data: \[DONE\]\n\n$/)
  await chat(server, ask('whole', 'end'), inConversation('c1'))
  const pairs = Array.from({ length: 20 }, (_, n) => [`user ${n}`, `assistant You said: ${n}`])
  t.strictSame(sent(), [...pairs.flat(), 'user end'])
})

t.test('while the turn waits, a stream is kept alive; being refused then is an event', async (t) => {
  const server = serving({ keepAliveMs: 20, lockTimeoutMs: 90 })
  upstream.next(completion({ firstDelayMs: 400 }))
  const first = chat(server, ask('plain', '1'), inConversation('c1'))
  await upstream.request(0)
  const second = await chat(server, ask('plain', '2', { stream: true }), inConversation('c1'))
  t.equal(second.status, 200)
  t.equal(idOf(second), 'c1')
  const events = (await second.text()).trim().split('\n\n')
  t.ok(events.filter((event) => event === ': keep-alive').length >= 2)
  t.match(JSON.parse(events.at(-1)?.slice('data: '.length) ?? ''), {
    error: { code: 'conversation_locked', type: 'invalid_request_error', param: null },
  })
  t.equal((await first).status, 200)
})

t.test('a stream that is given up while its turn waits frees its place', async (t) => {
  const server = serving({ keepAliveMs: 10 })
  upstream.next(completion({ firstDelayMs: 100 }))
  const first = chat(server, ask('plain', '1'), inConversation('c1'))
  await upstream.request(0)
  const second = await chat(server, ask('plain', '2', { stream: true }), inConversation('c1'))
  const third = chat(server, ask('plain', '3'), inConversation('c1'))
  await second.body?.cancel()
  await Promise.all([first, third])
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 3'])
  await eventually(() => server.openRequests === 0)
})

t.test('a client that leaves while its agent is loaded asks nothing and keeps nothing', async (t) => {
  const controller = new AbortController()
  const agent = new AgentLoop({ client })
  const server = serving({ agentLoader: { load: () => sleep(30, agent) } })
  const response = chat(server, ask('agent', '1'), { ...inConversation('c1'), signal: controller.signal })
  await sleep(5)
  controller.abort()
  t.equal((await response).status, 499)
  await chat(server, ask('agent', '2'), inConversation('c1'))
  t.strictSame(sent(), ['user 2'])
  t.equal(upstream.requests.length, 1)
})
