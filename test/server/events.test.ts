/** What the bus tells of a request, from its arrival to its end. */
import t from 'tap'
import {
  createAgent,
  createLLM,
  defineTool,
  HookBus,
  type HookEvents,
  type HookName,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  storedConversations,
} from '../../src/index.ts'
import { chat, eventually, inConversation } from '../core.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const all = [
  'onRequest',
  'onRoute',
  'onAttempt',
  'onFirstToken',
  'onAttemptEnd',
  'onStep',
  'onTool',
  'onConversation',
  'onStream',
  'onCompletion',
  'onError',
  'onResponse',
] as const satisfies HookName[]

/** A server, and everything that its bus tells. */
function told(options: OaiServerOptions = {}) {
  const server = new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
  const events: { name: HookName; payload: HookEvents[HookName] }[] = []
  for (const name of all) server.hooks.on(name, (payload) => void events.push({ name, payload }))
  return {
    server,
    names: () => events.map(({ name }) => name),
    of: <Name extends HookName>(name: Name) =>
      events.flatMap((event) => (event.name === name ? [event.payload as HookEvents[Name]] : [])),
  }
}

const body = { model: 'm', messages: [{ role: 'user', content: 'hello' }] }

t.test('a whole answer', async (t) => {
  const { server, names, of } = told()
  const answer = await chat(server, body)
  t.equal(answer.status, 200)
  t.strictSame(names(), ['onRequest', 'onRoute', 'onAttempt', 'onAttemptEnd', 'onCompletion', 'onResponse'])
  const requestId = answer.headers.get('x-request-id')
  t.match(of('onRoute'), [
    { requestId, route: '/v1/chat/completions', model: 'm', provider: 'lab', isAgent: false, isTurn: false },
  ])
  const target = { provider: 'lab', model: 'small' }
  t.match(of('onAttempt'), [{ requestId, model: 'm', attempt: 0, operation: 'chat', target, stream: false }])
  t.match(of('onAttemptEnd'), [
    {
      requestId,
      attempt: 0,
      target,
      outcome: 'ok',
      usage: { prompt_tokens: Number, completion_tokens: Number },
      responseId: /^chatcmpl/,
      responseModel: 'small',
      finishReasons: ['stop'],
      durationMs: Number,
    },
  ])
  t.notOk(of('onAttemptEnd')[0]?.firstTokenMs)
})

t.test('a stream', async (t) => {
  const { server, names, of } = told()
  await (await chat(server, { ...body, stream: true })).text()
  t.strictSame(names(), [
    'onRequest',
    'onRoute',
    'onAttempt',
    'onFirstToken',
    'onStream',
    'onAttemptEnd',
    'onCompletion',
    'onResponse',
  ])
  t.match(of('onAttemptEnd'), [{ outcome: 'ok', stream: true, firstTokenMs: Number, finishReasons: ['stop'] }])
  t.type(of('onAttemptEnd')[0]?.usage?.completion_tokens, 'number')
})

t.test('a provider that fails', async (t) => {
  for (const stream of [false, true]) {
    const { server, names, of } = told()
    upstream.next(up.failWith(500))
    await (await chat(server, { ...body, stream })).text()
    t.strictSame(names(), ['onRequest', 'onRoute', 'onAttempt', 'onAttemptEnd', 'onError', 'onResponse'])
    t.match(of('onAttemptEnd'), [{ outcome: 'error', errorCode: 'upstream_error' }])
  }
})

t.test('a stream that breaks off', async (t) => {
  const { server, of } = told()
  upstream.next(up.endWithoutDone(2))
  await (await chat(server, { ...body, stream: true })).text()
  t.match(of('onAttemptEnd'), [{ outcome: 'error', errorCode: 'upstream_truncated', firstTokenMs: Number }])
})

t.test('a client that leaves', async (t) => {
  const { server, of } = told()
  upstream.behave(up.completion({ tokens: ['a', 'b', 'c'], delayMs: 10_000 }))
  const answer = await chat(server, { ...body, stream: true })
  const reader = answer.body?.getReader()
  await reader?.read()
  await reader?.cancel()
  await eventually(() => of('onAttemptEnd').length === 1)
  t.match(of('onAttemptEnd'), [{ outcome: 'aborted', errorCode: 'client_closed' }])
  t.match(of('onResponse'), [{ outcome: 'client_closed' }])
})

t.test('an agent: its steps, its tools, its conversation', async (t) => {
  const tool = defineTool({
    name: 'now',
    description: 'The time.',
    parameters: { type: 'object', properties: {} },
    execute: () => 'noon',
  })
  const { server, names, of } = told({
    conversationLoader: storedConversations(new MemoryPersistence()),
    entries: [{ model: 'm', client: createAgent({ client: lab, tools: [tool] }) }],
  })
  upstream.next(up.completion({ toolCalls: [{ name: 'now', arguments: '{}' }] }))
  await chat(server, body, inConversation('c1'))
  t.strictSame(names(), [
    'onRequest',
    'onRoute',
    'onConversation',
    'onConversation',
    'onStep',
    'onAttempt',
    'onAttemptEnd',
    'onTool',
    'onStep',
    'onAttempt',
    'onAttemptEnd',
    'onConversation',
    'onCompletion',
    'onResponse',
  ])
  t.match(of('onRoute'), [{ isAgent: true, isTurn: true }])
  t.strictSame(
    of('onConversation').map(({ operation, outcome }) => [operation, outcome]),
    [
      ['lock', 'ok'],
      ['load', 'ok'],
      ['save', 'ok'],
    ],
  )
  t.strictSame(
    of('onStep').map(({ step }) => step),
    [0, 1],
  )
  t.strictSame(
    of('onAttempt').map(({ attempt }) => attempt),
    [0, 1],
  )
})

t.test('a conversation that cannot be locked, or loaded', async (t) => {
  const loader = { load: () => Promise.reject(new Error('away')), save: () => {} }
  const down = told({ conversationLoader: loader })
  await chat(down.server, body, inConversation('c1'))
  t.match(down.of('onConversation'), [{ operation: 'lock' }, { operation: 'load', outcome: 'failed' }])

  const held = told({ conversationLoader: storedConversations(new MemoryPersistence()), lockTimeoutMs: 1 })
  upstream.next(() => undefined)
  const abort = new AbortController()
  const first = chat(held.server, body, { ...inConversation('c1'), signal: abort.signal })
  await upstream.request(0)
  await chat(held.server, body, inConversation('c1'))
  t.match(held.of('onConversation').at(-1), { operation: 'lock', outcome: 'locked' })
  abort.abort()
  await first
})

t.test('embeddings', async (t) => {
  const { server, of } = told()
  const request = { method: 'POST', body: JSON.stringify({ model: 'm', input: 'hello' }) }
  await server.handle(new Request('http://localhost/v1/embeddings', request))
  t.match(of('onRoute'), [{ route: '/v1/embeddings', model: 'm' }])
  t.match(of('onAttemptEnd'), [{ operation: 'embeddings', outcome: 'ok', usage: { prompt_tokens: Number } }])
})

t.test('a provider that speaks the Responses API', async (t) => {
  const native = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway', responses: 'native' })
  t.teardown(() => native.close?.())
  for (const stream of [false, true]) {
    const { server, of } = told({ entries: [{ model: 'm', client: native }] })
    const request = { method: 'POST', body: JSON.stringify({ model: 'm', input: 'hello', stream, store: false }) }
    await (await server.handle(new Request('http://localhost/v1/responses', request))).text()
    t.match(of('onAttempt'), [{ operation: 'chat', target: { provider: 'lab', model: 'small' }, stream }])
    t.match(of('onAttemptEnd'), [
      {
        outcome: 'ok',
        usage: { prompt_tokens: Number, completion_tokens: Number },
        responseId: /^resp_/,
        finishReasons: ['stop'],
        ...(stream ? { firstTokenMs: Number } : {}),
      },
    ])
    t.equal(of('onFirstToken').length, stream ? 1 : 0)
  }
})

t.test('what a listener puts into the headers of an attempt is sent to the provider', async (t) => {
  const hooks = new HookBus()
  hooks.on('onRequest', ({ header }) => t.equal(header?.('traceparent'), '00-a-b-01'))
  hooks.on('onAttempt', ({ headers }) => {
    headers.traceparent = '00-a-c-01'
  })
  const { server } = told({ hooks })
  for (const stream of [false, true]) {
    await (await chat(server, { ...body, stream }, { headers: { traceparent: '00-a-b-01' } })).text()
    t.equal(upstream.last().headers.traceparent, '00-a-c-01')
  }
})

t.test('what was asked, where, and, for who keeps it, what was answered', async (t) => {
  for (const [stream, keeps] of [
    [false, true],
    [true, true],
    [true, false],
  ] as const) {
    const hooks = new HookBus()
    if (keeps) hooks.on('onAttempt', ({ keepAnswer }) => keepAnswer())
    const { server, of } = told({ hooks })
    await (await chat(server, { ...body, stream })).text()
    const [attempt] = of('onAttempt')
    t.match(attempt?.request(), body)
    t.strictSame(attempt?.server, { address: '127.0.0.1', port: upstream.port })
    t.notMatch(JSON.stringify(attempt), 'hello', 'it gets into no log by accident')
    const [end] = of('onAttemptEnd')
    t.notMatch(JSON.stringify(end), 'hello')
    const answer = end?.answer?.()
    if (!keeps) t.equal(answer, undefined)
    else if (stream) t.ok(answer && answer.length > 2, 'all chunks')
    else t.match(answer, [{ object: 'chat.completion' }])
  }
})

t.test('the conversation of a turn has its name', async (t) => {
  const { server, of } = told({ conversationLoader: storedConversations(new MemoryPersistence()) })
  await chat(server, body, inConversation('c1'))
  await chat(server, body)
  t.strictSame(
    of('onRoute').map(({ conversationId }) => conversationId),
    ['c1', undefined],
  )
})

t.test('nobody listens, and nothing is observed', async (t) => {
  const server = new OaiServer({ entries: [{ model: 'm', client: lab }] })
  t.equal((await chat(server, body)).status, 200)
  t.equal(server.hooks.listens('onAttempt'), false)
  const off = server.hooks.on('onAttempt', () => {})
  t.equal(server.hooks.listens('onAttempt'), true)
  off()
  t.equal(server.hooks.listens('onAttempt'), false)
})
