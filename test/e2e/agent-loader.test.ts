import { setTimeout as sleep } from 'node:timers/promises'
import { APIError } from 'openai'
import t from 'tap'
import {
  type AgentLoaderPlugin,
  type AgentLoop,
  type AgentRequest,
  BearerKeyAuth,
  ConversationHistory,
  createAgent,
  defineTool,
  GatewayError,
} from '../../src/index.ts'
import { glance, inConversation, messagesOf } from '../core.ts'
import { startGateway } from '../gateway.ts'
import { completion, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const { baseURL } = upstream

/** What the loader does in the test that runs. */
let load: AgentLoaderPlugin['load'] = () => null
const asked: AgentRequest[] = []
t.beforeEach(() => {
  load = () => null
  asked.length = 0
})

const gateway = await startGateway(t, {
  upstream,
  auth: new BearerKeyAuth({ keys: { 'sk-of-alice-01': 'alice', 'sk-of-bob-0001': 'bob' } }),
  extension: {
    agentLoader: {
      load(request) {
        asked.push(request)
        return load(request)
      },
    },
  },
  config: { conversations: { loaderTimeout: '60ms' } },
})
const alice = gateway.client({ apiKey: 'sk-of-alice-01' })
const bob = gateway.client({ apiKey: 'sk-of-bob-0001' })
const ask = (content: string, model = 'openai/m') => ({ model, messages: [{ role: 'user' as const, content }] })
const inIt = (id: string) => ({ headers: { 'x-conversation-id': id } })
const sent = (): string[] => glance(messagesOf(upstream.last()))
const agentOf = ({ userId }: AgentRequest): AgentLoop =>
  createAgent({ model: 'lab/m', baseURL, system: `You work for ${userId}.` })

t.test('it is told who asks, for what, in which conversation; the agent that it gives answers', async (t) => {
  load = async (request) => agentOf(request)
  const { response } = await alice.chat.completions.create(ask('1', 'custom-agent'), inIt('c1')).withResponse()
  t.equal(response.headers.get('x-conversation-id'), 'c1')
  t.strictSame(asked, [{ userId: 'alice', model: 'custom-agent', conversationId: 'c1' }])
  t.strictSame(sent(), ['system You work for alice.', 'user 1'])
})

t.test('it may answer at once', async (t) => {
  load = agentOf
  const stream = alice.chat.completions.stream(ask('1', 'at-once'))
  t.equal(await stream.finalContent(), 'You said: 1')
})

t.test('its agents have conversations, each user their own', async (t) => {
  load = agentOf
  for (const n of ['1', '2']) await alice.chat.completions.create(ask(n, 'bot'), inIt('shared'))
  t.strictSame(sent(), ['system You work for alice.', 'user 1', 'assistant You said: 1', 'user 2'])
  await bob.chat.completions.create(ask('3', 'bot'), inIt('shared'))
  t.strictSame(sent(), ['system You work for bob.', 'user 3'])
})

t.test('a conversation that begins has the name that the loader was told', async (t) => {
  load = agentOf
  const { response } = await alice.chat.completions.create(ask('1', 'bot')).withResponse()
  t.equal(asked[0]?.conversationId, response.headers.get('x-conversation-id'))
  t.match(asked[0]?.conversationId, /^conv_/)
  await alice.chat.completions.create({ ...ask('1', 'bot'), user: 'u 1' })
  t.equal(asked[1]?.conversationId, 'u 1')
})

t.test('50 turns at once, each with an agent of its own, leave all 50', async (t) => {
  load = async (request) => {
    await sleep(Math.random() * 5)
    return agentOf(request)
  }
  await Promise.all(
    Array.from({ length: 50 }, (_, n) => alice.chat.completions.create(ask(`${n}`, 'bot'), inIt('many'))),
  )
  await alice.chat.completions.create(ask('end', 'bot'), inIt('many'))
  const [, ...messages] = sent()
  t.equal(messages.length, 101)
  const turns = messages.slice(0, -1).filter((_, index) => index % 2 === 0)
  t.equal(new Set(turns).size, 50)
  t.strictSame(
    messages.slice(0, -1),
    turns.flatMap((turn) => [turn, turn.replace('user ', 'assistant You said: ')]),
  )
})

t.test('null falls back to the entry, which is as stateless as it was', async (t) => {
  for (const none of [null, undefined as never]) {
    load = () => none
    for (const user of [undefined, 'alice', 'x'.repeat(300), 'a\nb']) {
      const body = { ...ask('1'), ...(user === undefined ? {} : { user }) }
      const { response } = await alice.chat.completions.create(body).withResponse()
      t.equal(response.headers.get('x-conversation-id'), null)
      t.match(upstream.last().body, { ...body, model: 'm' })
    }
  }
})

t.test('null and no entry: there is no such model', async (t) => {
  const error = await alice.chat.completions.create(ask('1', 'nobody')).catch((error: unknown) => error)
  t.match(error, { status: 404, code: 'model_not_found' })
  t.match(asked, [{ model: 'nobody' }])
})

t.test('an agent needs a user that can name a conversation', async (t) => {
  load = agentOf
  const error = await alice.chat.completions
    .create({ ...ask('1', 'bot'), user: 'a\nb' })
    .catch((error: unknown) => error)
  t.match(error, { status: 400, param: 'user' })
  t.equal(upstream.requests.length, 0)
})

const failures: Record<string, [AgentLoaderPlugin['load'], status: number, code: string, retryAfter: string | null]> = {
  throws: [
    () => {
      throw new TypeError('secret of the database')
    },
    502,
    'agent_loader_failed',
    null,
  ],
  fails: [() => Promise.reject(new Error('secret of the database')), 502, 'agent_loader_failed', null],
  'fails with something that is no error': [
    () => Promise.reject({ status: 400, message: 'secret' }),
    502,
    'agent_loader_failed',
    null,
  ],
  'gives no agent': [() => ({ complete: 'secret' }) as never, 502, 'agent_loader_failed', null],
  'takes too long': [() => new Promise(() => {}), 503, 'agent_loader_timeout', '1'],
  'has an error of the gateway’s for the client': [
    () => Promise.reject(new GatewayError('model_not_allowed', 'not in your plan', { param: 'model' })),
    403,
    'model_not_allowed',
    null,
  ],
}

for (const [name, [failing, status, code, retryAfter]] of Object.entries(failures)) {
  t.test(`a loader that ${name}: ${status} ${code}`, async (t) => {
    load = failing
    const errors: unknown[] = []
    const stop = gateway.hooks.on('onError', ({ error }) => errors.push(error))
    for (const stream of [false, true]) {
      const error = await alice.chat.completions.create({ ...ask('1', 'bot'), stream }).catch((error: unknown) => error)
      t.ok(error instanceof APIError)
      const { headers, ...failure } = error as APIError
      t.match(failure, { status, code })
      t.equal(headers?.get('retry-after'), retryAfter)
      t.notMatch(JSON.stringify(failure), 'secret')
    }
    t.equal(upstream.requests.length, 0)
    t.equal(errors.length, status >= 500 ? 2 : 0, 'the operator is told')
    stop()
  })
}

t.test('the turn after a failure of the loader does not wait', async (t) => {
  load = () => Promise.reject(new Error('down'))
  await t.rejects(alice.chat.completions.create(ask('1', 'bot'), inIt('after')))
  load = agentOf
  await alice.chat.completions.create(ask('2', 'bot'), inIt('after'))
  t.strictSame(sent(), ['system You work for alice.', 'user 2'])
})

t.test('an agent with a history of its own keeps it itself', async (t) => {
  const histories = new Map<string, AgentLoop>()
  load = ({ conversationId }) => {
    const history = new ConversationHistory()
    const agent = histories.get(conversationId) ?? createAgent({ model: 'lab/m', baseURL, history })
    histories.set(conversationId, agent)
    return agent
  }
  for (const n of ['1', '2']) {
    const { response } = await alice.chat.completions.create(ask(n, 'own'), inIt('own')).withResponse()
    t.equal(response.headers.get('x-conversation-id'), 'own')
  }
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
  load = agentOf
  await alice.chat.completions.create(ask('3', 'bot'), inIt('own'))
  t.strictSame(sent(), ['system You work for alice.', 'user 3'], 'the store has none of it')
})

t.test('tools of its agents know whose turn it is, and their steps are not seen', async (t) => {
  const contexts: unknown[] = []
  const whoami = defineTool({
    name: 'whoami',
    execute: (_args, { userId, conversationId }) => {
      contexts.push([userId, conversationId])
      return 'alice'
    },
  })
  load = () => createAgent({ model: 'lab/m', baseURL, tools: [whoami] })
  upstream.next(completion({ toolCalls: [{ id: 'c1', name: 'whoami', arguments: '{}' }] }))
  const { choices } = await alice.chat.completions.create(ask('1', 'bot'), inIt('tools'))
  t.match(choices, [{ message: { content: 'You said: 1' }, finish_reason: 'stop' }])
  t.strictSame(contexts, [['alice', 'tools']])
  await alice.chat.completions.create(ask('2', 'bot'), inIt('tools'))
  t.strictSame(sent(), ['user 1', 'calls c1', 'c1: alice', 'assistant You said: 1', 'user 2'])
})

t.test('a loader is not asked for a name that cannot be one', async (t) => {
  load = agentOf
  const init = inConversation('x'.repeat(300))
  const headers = { ...(init.headers as Record<string, string>), authorization: 'Bearer sk-of-alice-01' }
  const response = await gateway.post('/v1/chat/completions', ask('1', 'bot'), { headers })
  t.match(await response.json(), { error: { param: 'x-conversation-id' } })
  t.equal(asked.length, 0)
})
