import t from 'tap'
import {
  BearerKeyAuth,
  createAgent,
  createLLM,
  defineTool,
  FilePersistence,
  type HookEvents,
  type LLMClient,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  PersistedIndex,
} from '../../src/index.ts'
import { eventually } from '../core.ts'
import * as up from '../upstream.ts'
import { ask, chunksIn, completionIn, deletedIn, listIn, messagesIn, sseIn, textOf } from './completing.ts'
import { errorIn } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const hello = { role: 'user', content: 'hello there' }
const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const create = (server: OaiServer, body: up.Json = {}, init: RequestInit = {}) =>
  ask(server, 'POST', '', { model: 'm', messages: [hello], store: true, ...body }, init)
const stream = async (server: OaiServer, body: up.Json = {}) =>
  chunksIn(sseIn(await (await create(server, { stream: true, ...body })).text()))

t.test('a completion is stored as it was answered, under an id of our own', async (t) => {
  const server = serving()
  upstream.next(up.completion({ extra: { id: 'chatcmpl-123', x_provider: { a: [1] } } }))
  const answer = await completionIn(create(server, { metadata: { shop: 'a' }, n: 2, logprobs: true }))
  t.match(answer.id, /^chatcmpl-[0-9a-f]{48}$/)
  t.match(answer, { x_provider: { a: [1] }, choices: [{ message: { content: 'You said: hello there' } }, {}] })
  t.notOk('metadata' in answer, 'the answer is the provider’s but for its id')
  t.strictSame(await completionIn(ask(server, 'GET', `/${answer.id}`)), { ...answer, metadata: { shop: 'a' } })
  t.match(upstream.last().body, { store: true, metadata: { shop: 'a' } }, 'the provider is asked as ever')
})

t.test('what is not to be stored is left alone', async (t) => {
  const server = serving()
  for (const store of [undefined, false, null]) {
    upstream.next(up.completion({ extra: { id: 'chatcmpl-123' } }))
    const answer = await completionIn(create(server, { store }))
    t.equal(answer.id, 'chatcmpl-123')
    t.match(await errorIn(ask(server, 'GET', '/chatcmpl-123')), { status: 404, code: 'not_found' })
  }
  t.strictSame((await listIn(ask(server, 'GET', ''))).data, [])
})

t.test('a stream is stored as what it comes to', async (t) => {
  const server = serving()
  const cases: Record<string, [up.Json, up.Json?]> = {
    text: [{ tokens: ['one', ' two', ' three'] }],
    'several choices with probabilities': [{ n: 3 }, { n: 3, logprobs: true }],
    'tool calls': [
      {
        toolCalls: [
          { id: 'a', name: 'f', arguments: '{"x":1}' },
          { id: 'b', name: 'g', arguments: '{}' },
        ],
      },
    ],
    'a refusal': [{ refusal: 'I would rather not.' }],
    thoughts: [{ reasoning: 'hm hm', text: 'yes' }],
    'fields that nobody knows': [{ extra: { x_provider: { a: [1] } } }],
    'no usage': [{ usage: false }],
  }
  for (const [name, [options, body = {}]] of Object.entries(cases)) {
    upstream.next(up.completion(options))
    const [first] = await stream(server, body)
    upstream.next(up.completion(options))
    const whole = await completionIn(create(server, { ...body, metadata: { is: 'whole' } }))
    const stored = await completionIn(ask(server, 'GET', `/${first?.id}`))
    // What providers say in whole answers only.
    for (const { message } of whole.choices) delete message.annotations
    const { created: _created, ...expected } = { ...whole, id: first?.id, metadata: {} }
    t.match(stored, expected, name)
    t.equal(stored.choices.length, whole.choices.length)
    t.strictSame(stored.usage, whole.usage)
    if (name.includes('call')) t.strictSame(stored.choices[0]?.message, whole.choices[0]?.message)
  }
})

t.test('every chunk has the id of our own, and else what it had', async (t) => {
  const server = serving()
  for (const include_usage of [true, false]) {
    upstream.next(up.completion({ tokens: ['a', 'b'], extra: { id: 'chatcmpl-123', created: 1, x: 1 } }))
    const chunks = await stream(server, { stream_options: { include_usage } })
    upstream.next(up.completion({ tokens: ['a', 'b'], extra: { id: 'chatcmpl-123', created: 1, x: 1 } }))
    const plain = await stream(server, { stream_options: { include_usage }, store: false })
    const [first] = chunks
    t.match(first?.id, /^chatcmpl-[0-9a-f]{48}$/)
    t.strictSame(
      chunks,
      plain.map((chunk) => ({ ...chunk, id: first?.id })),
    )
    t.match((await completionIn(ask(server, 'GET', `/${first?.id}`))).usage, { prompt_tokens: Number })
  }
})

t.test('the end of a stream is not told before it is stored', async (t) => {
  const memory = new MemoryPersistence()
  const gate = Promise.withResolvers<void>()
  const slow = {
    get: (key: string) => memory.get(key),
    delete: (key: string) => memory.delete(key),
    async set(key: string, value: unknown) {
      if (key.includes('chatcmpl-') && !key.includes('life')) await gate.promise
      await memory.set(key, value)
    },
  }
  const server = serving({ responseStorePersistence: slow })
  const reader = ((await create(server, { stream: true })).body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  const reading = (async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) text += Buffer.from(next.value)
  })()
  await eventually(() => text.includes('"finish_reason":"stop"'))
  t.notMatch(text, '[DONE]')
  gate.resolve()
  await reading
  t.match(text, '[DONE]')
})

t.test('a stream that fails, or is left, is not stored', async (t) => {
  const server = serving()
  upstream.next(up.dropAfter(3))
  t.match(sseIn(await (await create(server, { stream: true })).text()).at(-1)?.data, /upstream_connection_lost/)
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const reader = ((await create(server, { stream: true })).body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  await reader.cancel()
  await eventually(() => server.openRequests === 0)
  upstream.next(up.failWith(500))
  t.match(await errorIn(create(server)), { status: 502 })
  t.strictSame((await listIn(ask(server, 'GET', ''))).data, [])
})

t.test('one that is left as it ends is not stored either, whether its client heeds that or not', async (t) => {
  const gate = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const deaf: LLMClient = {
    ...{ provider: 'deaf', model: 'deaf' },
    complete: (...args) => lab.complete(...args),
    async *stream(request) {
      yield* lab.stream(request)
      await gate.promise
      ended.resolve()
    },
  }
  const server = serving({ entries: [{ model: 'm', client: deaf }] })
  const reader = ((await create(server, { stream: true })).body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (!text.includes('"finish_reason":"stop"')) text += Buffer.from((await reader.read()).value ?? []).toString()
  // It waits for what comes next.
  reader.read().catch(() => {})
  await new Promise((resolve) => setImmediate(resolve))
  void reader.cancel()
  gate.resolve()
  await ended.promise
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame((await listIn(ask(server, 'GET', ''))).data, [])
})

t.test('without a store nothing is asked of the model; if it is lost later, the answer is delivered', async (t) => {
  const memory = new MemoryPersistence()
  let fails = (_key: string): boolean => true
  const shaky = {
    get: (key: string) => memory.get(key),
    delete: (key: string) => memory.delete(key),
    async set(key: string, value: unknown) {
      if (fails(key)) throw new Error('the store is down')
      await memory.set(key, value)
    },
  }
  const server = serving({ responseStorePersistence: shaky })
  const warnings: HookEvents['onWarning'][] = []
  server.hooks.on('onWarning', (payload) => warnings.push(payload))
  for (const streamed of [false, true]) {
    fails = () => true
    const asked = upstream.requests.length
    t.match(await errorIn(create(server, { stream: streamed })), { status: 503, code: 'store_unavailable' })
    t.equal(upstream.requests.length, asked, 'nothing is paid')
    fails = (key) => !key.includes('life')
    const answer = await create(server, { stream: streamed })
    const text = await answer.text()
    t.match(text, /You said|said/)
    t.match(streamed ? text : answer.headers.get('x-signalbox-warning'), /could not be stored/)
    t.match(warnings.pop(), { warning: /could not be stored/, error: { code: 'store_unavailable' } })
  }
  const reading = serving({
    responseStorePersistence: { ...shaky, get: () => Promise.reject(new Error('the store is down')) },
  })
  const id = `chatcmpl-${'0'.repeat(48)}`
  for (const [method, path, body] of [
    ['GET', `/${id}`],
    ['GET', `/${id}/messages`],
    ['POST', `/${id}`, { metadata: {} }],
    ['DELETE', `/${id}`],
  ] as const) {
    t.match(await errorIn(ask(reading, method, path, body)), { status: 503, code: 'store_unavailable' }, method)
  }
})

t.test('a list goes by pages, from either end', async (t) => {
  const server = serving()
  const ids: string[] = []
  for (let n = 0; n < 25; n++) ids.push((await completionIn(create(server, { metadata: { n: String(n) } }))).id)
  const sorted = ids.toSorted()
  const first = await listIn(ask(server, 'GET', ''))
  t.strictSame(
    first.data.map(({ id }) => id),
    sorted.slice(0, 20),
    'twenty, the oldest first',
  )
  t.match(first, { first_id: sorted[0], last_id: sorted[19], has_more: true })
  const rest = await listIn(ask(server, 'GET', `?after=${first.last_id}`))
  t.strictSame(
    rest.data.map(({ id }) => id),
    sorted.slice(20),
  )
  t.match(rest, { has_more: false })
  const newest = await listIn(ask(server, 'GET', '?order=desc&limit=3'))
  t.strictSame(
    newest.data.map(({ id }) => id),
    sorted.toReversed().slice(0, 3),
  )
  const exact = await listIn(ask(server, 'GET', '?limit=25'))
  t.equal(exact.has_more, false)
  await deletedIn(ask(server, 'DELETE', `/${sorted[2]}`))
  const behind = await listIn(ask(server, 'GET', `?after=${sorted[2]}&limit=1`))
  t.equal(behind.first_id, sorted[3], 'also behind one that is gone')
  for (const [query, param] of [
    ['limit=0', 'limit'],
    ['limit=x', 'limit'],
    ['order=up', 'order'],
    ['after=x', 'after'],
  ] as const) {
    t.match(await errorIn(ask(server, 'GET', `?${query}`)), { status: 400, param }, query)
  }
  t.match(await listIn(ask(serving(), 'GET', '')), { data: [], first_id: '', last_id: '', has_more: false })
})

t.test('a list can be of one model, and of some metadata', async (t) => {
  const server = serving({
    entries: [
      { model: 'm', client: lab },
      { model: 'n', client: lab },
    ],
  })
  const make = (model: string, metadata: up.Json) => completionIn(create(server, { model, metadata }))
  const both = await make('m', { shop: 'a', tier: '1' })
  await make('m', { shop: 'b', tier: '1' })
  const other = await make('n', { shop: 'a' })
  const ids = async (query: string) => (await listIn(ask(server, 'GET', `?${query}`))).data.map(({ id }) => id).sort()
  t.strictSame(await ids('metadata[shop]=a'), [both.id, other.id].sort())
  t.strictSame(await ids('metadata%5Bshop%5D=a&metadata%5Btier%5D=1'), [both.id])
  t.strictSame(await ids('metadata[shop]=c'), [])
  t.strictSame(await ids('metadata[constructor]=a'), [])
  t.strictSame(await ids('model=n'), [other.id], 'as it was asked for')
  t.equal((await ids('model=small')).length, 3, 'as its provider calls it')
  t.strictSame(await ids('model=n&metadata[shop]=b'), [])
})

t.test('a search goes through everything, until its page is full', async (t) => {
  const server = serving()
  const rare: string[] = []
  for (let n = 0; n < 230; n++) {
    const { id } = await completionIn(create(server, { metadata: { n: String(n), rare: String(n % 75 === 0) } }))
    if (n % 75 === 0) rare.push(id)
  }
  const found = await listIn(ask(server, 'GET', '?metadata[rare]=true&limit=3'))
  t.strictSame(
    found.data.map(({ id }) => id),
    rare.slice(0, 3),
  )
  t.equal(found.has_more, true)
  const last = await listIn(ask(server, 'GET', `?metadata[rare]=true&limit=3&after=${found.last_id}`))
  t.strictSame(
    last.data.map(({ id }) => id),
    rare.slice(3),
  )
  t.equal(last.has_more, false)
})

t.test('its messages are those that the client sent', async (t) => {
  const server = serving()
  const image = { type: 'image_url', image_url: { url: 'https://example.com/a.png' } }
  const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }
  const { id } = await completionIn(
    create(server, {
      messages: [
        { role: 'system', content: 'Be brief.' },
        {
          role: 'user',
          name: 'ann',
          content: [{ type: 'text', text: 'What is ' }, { type: 'text', text: 'this?' }, image],
        },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c1', content: 'a cat' },
      ],
    }),
  )
  const list = await messagesIn(ask(server, 'GET', `/${id}/messages`))
  t.strictSame(list, {
    object: 'list',
    data: [
      { role: 'system', content: 'Be brief.', id: `${id}-0`, refusal: null, content_parts: null },
      {
        ...{ role: 'user', name: 'ann', content: 'What is this?', id: `${id}-1`, refusal: null },
        content_parts: [{ type: 'text', text: 'What is ' }, { type: 'text', text: 'this?' }, image],
      },
      { role: 'assistant', content: null, tool_calls: [call], id: `${id}-2`, refusal: null, content_parts: null },
      { role: 'tool', tool_call_id: 'c1', content: 'a cat', id: `${id}-3`, refusal: null, content_parts: null },
    ],
    first_id: `${id}-0`,
    last_id: `${id}-3`,
    has_more: false,
  })
  const second = await messagesIn(ask(server, 'GET', `/${id}/messages?limit=1&after=${id}-0`))
  t.match(second, { data: [{ id: `${id}-1` }], has_more: true })
  const newest = await messagesIn(ask(server, 'GET', `/${id}/messages?limit=1&order=desc`))
  t.match(newest, { data: [{ id: `${id}-3` }], has_more: true })
  t.match(await errorIn(ask(server, 'GET', `/${id}/messages?after=x`)), { status: 400, param: 'after' })
})

t.test('of an agent it keeps what its caller sees, and none of the steps between', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agent = createAgent({ client: lab, system: 'Secret.', tools: [clock] })
  const server = serving({ entries: [{ model: 'helper', client: agent }] })
  const steps = () =>
    upstream.next(
      up.completion({ toolCalls: [{ id: 'c1', name: 'clock', arguments: '{}' }] }),
      up.completion({ text: 'It is noon.' }),
    )
  steps()
  const whole = await completionIn(create(server, { model: 'helper' }))
  steps()
  const chunks = await stream(server, { model: 'helper' })
  t.equal(textOf(chunks), 'It is noon.')
  for (const id of [whole.id, chunks[0]?.id]) {
    const { choices, usage } = await completionIn(ask(server, 'GET', `/${id}`))
    t.match(choices, [{ message: { role: 'assistant', content: 'It is noon.' }, finish_reason: 'stop' }])
    t.notOk(choices[0]?.message.tool_calls)
    t.ok(usage)
    const { data } = await messagesIn(ask(server, 'GET', `/${id}/messages`))
    t.match(data, [hello])
    t.equal(data.length, 1)
  }
})

t.test('its metadata can be replaced, within limits', async (t) => {
  const server = serving()
  const { id } = await completionIn(create(server, { metadata: { a: '1' } }))
  const updated = await completionIn(ask(server, 'POST', `/${id}`, { metadata: { b: '2' } }))
  t.strictSame(updated.metadata, { b: '2' })
  t.strictSame(await completionIn(ask(server, 'GET', `/${id}`)), updated)
  t.equal((await listIn(ask(server, 'GET', '?metadata[b]=2'))).data.length, 1)
  t.strictSame((await completionIn(ask(server, 'POST', `/${id}`, { metadata: null }))).metadata, {})
  const wrong: [up.Json, string][] = [
    [{}, 'metadata'],
    [{ metadata: 'x' }, 'metadata'],
    [{ metadata: { a: 1 } }, 'metadata.a'],
    [{ metadata: { a: 'x'.repeat(513) } }, 'metadata.a'],
    [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [n, ''])) }, 'metadata'],
  ]
  for (const [body, param] of wrong) {
    t.match(await errorIn(ask(server, 'POST', `/${id}`, body)), { status: 400, param })
    if ('metadata' in body) t.match(await errorIn(create(server, body)), { status: 400, param })
  }
  t.match(await errorIn(create(server, { store: 'yes' })), { status: 400, param: 'store' })
})

t.test('what is deleted is gone', async (t) => {
  const server = serving()
  const { id } = await completionIn(create(server))
  t.strictSame(await deletedIn(ask(server, 'DELETE', `/${id}`)), {
    id,
    object: 'chat.completion.deleted',
    deleted: true,
  })
  for (const [method, path, body] of [
    ['GET', ''],
    ['GET', '/messages'],
    ['POST', '', { metadata: {} }],
    ['DELETE', ''],
  ] as const) {
    t.match(await errorIn(ask(server, method, `/${id}${path}`, body)), { status: 404, code: 'not_found' }, method)
  }
  t.strictSame((await listIn(ask(server, 'GET', ''))).data, [])
})

t.test('nobody sees, changes or deletes what is another’s', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-ann-0123456789': 'ann', 'sk-bob-0123456789': 'bob' } })
  const shared = { responseStorePersistence: new MemoryPersistence() }
  const index = { completionIndex: new PersistedIndex(new MemoryPersistence()) }
  const locked = serving({ auth, ...shared, ...index })
  const open = serving({ ...shared, ...index })
  const as = (user: string) => ({ headers: { authorization: `Bearer sk-${user}-0123456789` } })
  const owners = {
    ann: { server: locked, init: as('ann') },
    bob: { server: locked, init: as('bob') },
    nobody: { server: open, init: {} },
  }
  const ids = new Map<string, string>()
  for (const [name, { server, init }] of Object.entries(owners)) {
    ids.set(name, (await completionIn(create(server, {}, init))).id)
  }
  for (const [name, { server, init }] of Object.entries(owners)) {
    t.strictSame(
      (await listIn(ask(server, 'GET', '', undefined, init))).data.map(({ id }) => id),
      [ids.get(name)],
    )
    for (const [owner, id] of ids) {
      if (owner === name) continue
      for (const [method, path, body] of [
        ['GET', ''],
        ['GET', '/messages'],
        ['POST', '', { metadata: {} }],
        ['DELETE', ''],
      ] as const) {
        const refused = await errorIn(ask(server, method, `/${id}${path}`, body, init))
        t.match(refused, { status: 404, code: 'not_found' }, `${name}: ${method} of ${owner}`)
      }
    }
  }
  for (const [name, { server, init }] of Object.entries(owners)) {
    t.ok(await completionIn(ask(server, 'GET', `/${ids.get(name)}`, undefined, init)))
  }
})

t.test('a response is no completion', async (t) => {
  const server = serving()
  const made = await server.handle(
    new Request('http://localhost/v1/responses', { method: 'POST', body: JSON.stringify({ model: 'm', input: 'x' }) }),
  )
  const { id } = (await made.json()) as { id: string }
  for (const method of ['GET', 'DELETE']) t.match(await errorIn(ask(server, method, `/${id}`)), { status: 404 })
  t.equal((await server.handle(new Request(`http://localhost/v1/responses/${id}`))).status, 200)
})

t.test('the next process has what this one stored in files', async (t) => {
  const directory = t.testdir()
  const over = (): OaiServer => {
    const persistence = new FilePersistence({ directory })
    return serving({ responseStorePersistence: persistence, completionIndex: new PersistedIndex(persistence) })
  }
  const { id } = await completionIn(create(over()))
  const next = over()
  t.equal((await listIn(ask(next, 'GET', ''))).first_id, id)
  t.match(await messagesIn(ask(next, 'GET', `/${id}/messages`)), { data: [hello] })
})
