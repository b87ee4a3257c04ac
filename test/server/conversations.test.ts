import { equal } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  BearerKeyAuth,
  createAgent,
  createLLM,
  type HookEvents,
  type LLMClient,
  MemoryLeases,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  type Persistence,
} from '../../src/index.ts'
import type { ResponseObject } from '../../src/responses/response-types.ts'
import { eventually, glance, messagesOf } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const sent = (): string[] => glance(messagesOf(upstream.last()))

interface Conversation {
  id: string
  object: string
  created_at: number
  metadata: object
}

interface Item {
  id: string
  type: string
  role?: string
  content: { text: string }[]
}

function call(server: OaiServer, method: string, path: string, body?: up.Json, init: RequestInit = {}) {
  const text = body === undefined ? {} : { body: JSON.stringify(body) }
  return server.handle(new Request(`http://localhost/v1/conversations${path}`, { method, ...text, ...init }))
}

/** What is in an answer, checked against the contract. */
async function bodyIn<T>(schema: string, answer: Response | Promise<Response>): Promise<T> {
  const body = await (await answer).json()
  equal((await answer).status, 200, JSON.stringify(body))
  assertSchema(schema, body)
  return body as T
}

const conversationIn = (answer: Promise<Response>) => bodyIn<Conversation>('ConversationResource', answer)
const listIn = (answer: Promise<Response>) =>
  bodyIn<{ data: Item[]; has_more: boolean; first_id: string; last_id: string }>('ConversationItemList', answer)
const begin = (server: OaiServer, body?: up.Json, init?: RequestInit) =>
  conversationIn(call(server, 'POST', '', body, init))
const user = (content: string) => ({ role: 'user', content })

/** Each item as one word or two, oldest first. */
async function itemsOf(server: OaiServer, { id }: { id: string }, init?: RequestInit): Promise<string[]> {
  const { data } = await listIn(call(server, 'GET', `/${id}/items?order=asc&limit=100`, undefined, init))
  return data.map(({ type, role, content }) => (type === 'message' ? `${role} ${content[0]?.text}` : type))
}

const take = (server: OaiServer, { id }: { id: string }, body: up.Json, init?: RequestInit) =>
  ask(server, 'POST', '', { model: 'm', conversation: id, ...body }, init)

/** Polls as a client does, until the response is over. */
async function ended(server: OaiServer, { id }: ResponseObject): Promise<ResponseObject> {
  for (;;) {
    const now = await responseIn(ask(server, 'GET', `/${id}`))
    if (now.status !== 'queued' && now.status !== 'in_progress') return now
    await sleep(5)
  }
}

t.test('a conversation', async (t) => {
  t.test('is created, with or without a body, and retrieved', async (t) => {
    const server = serving()
    for (const body of [undefined, {}, { items: null, metadata: null }, { items: [] }]) {
      const conversation = await begin(server, body)
      t.match(conversation, { id: /^conv_[\da-f]{48}$/, object: 'conversation', created_at: Number, metadata: {} })
      t.strictSame(await conversationIn(call(server, 'GET', `/${conversation.id}`)), conversation)
      t.strictSame(await itemsOf(server, conversation), [])
    }
    const full = await begin(server, { items: [user('one'), user('two')], metadata: { a: 'b' } })
    t.strictSame(full.metadata, { a: 'b' })
    t.strictSame(await itemsOf(server, full), ['user one', 'user two'])
  })

  t.test('gets new metadata for all there was', async (t) => {
    const server = serving()
    const { id, created_at } = await begin(server, { items: [user('one')], metadata: { a: 'b', c: 'd' } })
    const updated = await conversationIn(call(server, 'POST', `/${id}`, { metadata: { a: 'e' } }))
    t.strictSame(updated, { id, object: 'conversation', created_at, metadata: { a: 'e' } })
    t.strictSame(await conversationIn(call(server, 'GET', `/${id}`)), updated)
    t.strictSame(await itemsOf(server, { id }), ['user one'])
    t.strictSame((await conversationIn(call(server, 'POST', `/${id}`, { metadata: null }))).metadata, {})
  })

  t.test('is gone when it was deleted', async (t) => {
    const server = serving()
    const { id } = await begin(server, { items: [user('one')] })
    const deleted = await bodyIn('DeletedConversationResource', call(server, 'DELETE', `/${id}`))
    t.strictSame(deleted, { id, object: 'conversation.deleted', deleted: true })
    await nowhere(t, server, id)
    t.match(await errorIn(call(server, 'DELETE', `/${id}`)), { status: 404 }, 'a second time')
  })

  t.test('is kept for its own time', async (t) => {
    const ttls: (number | undefined)[] = []
    const persistence = new MemoryPersistence()
    t.intercept(persistence, 'set', {
      value: (key: string, value: unknown, options: { ttlSeconds?: number }) => {
        if (key.includes('conv_')) ttls.push(options.ttlSeconds)
        return MemoryPersistence.prototype.set.call(persistence, key, value, options)
      },
    })
    const server = serving({ responseStorePersistence: persistence, conversationTtlSeconds: 77 })
    await responseIn(take(server, await begin(server), { input: 'one' }))
    t.strictSame(ttls, [77, 77])
  })
})

/** No way leads to a conversation of this id. */
async function nowhere(t: Test, server: OaiServer, id: string, init?: RequestInit): Promise<void> {
  for (const [method, path, body] of [
    ['GET', ''],
    ['POST', '', { metadata: { a: 'x' } }],
    ['DELETE', ''],
    ['GET', '/items'],
    ['POST', '/items', { items: [user('mine')] }],
    ['GET', '/items/msg_1'],
    ['DELETE', '/items/msg_1'],
  ] as const) {
    const error = await errorIn(call(server, method, `/${id}${path}`, body, init))
    t.match(error, { status: 404, code: 'not_found', type: 'not_found_error' }, `${method} ${path}`)
  }
  for (const conversation of [id, { id }]) {
    const asked = ask(server, 'POST', '', { model: 'm', input: 'x', conversation }, init)
    t.match(await errorIn(asked), { status: 404, code: 'not_found', param: 'conversation' })
  }
}

t.test('nobody sees another’s, nor what else is kept', async (t) => {
  const keys = { 'sk-alice-0123456789': 'alice', 'sk-bob-0123456789': 'bob' }
  const persistence = new MemoryPersistence()
  const known = serving({ responseStorePersistence: persistence, auth: new BearerKeyAuth({ keys }) })
  const anonymous = serving({ responseStorePersistence: persistence })
  const [alice, bob] = Object.keys(keys).map((key) => ({ headers: { authorization: `Bearer ${key}` } }))
  const ofAlice = await begin(known, { items: [user('hers')] }, alice)
  const ofNobody = await begin(anonymous, { items: [user('nobody’s')] })
  await nowhere(t, known, ofAlice.id, bob)
  await nowhere(t, known, ofNobody.id, bob)
  await nowhere(t, anonymous, ofAlice.id)
  t.strictSame(await itemsOf(known, ofAlice, alice), ['user hers'])
  t.strictSame(await itemsOf(anonymous, ofNobody), ['user nobody’s'])

  const response = await responseIn(ask(anonymous, 'POST', '', { model: 'm', input: 'one' }))
  for (const id of ['conv_1', '%', response.id, `items:${response.id}`, 'x'.repeat(5000)]) {
    await nowhere(t, anonymous, encodeURIComponent(id))
  }
  t.match(await errorIn(ask(anonymous, 'GET', `/${ofNobody.id}`)), { status: 404 }, 'it is no response')
})

t.test('what is wrong with a request is a 400 that names the field', async (t) => {
  const server = serving()
  const { id } = await begin(server)
  const many = Array.from({ length: 21 }, (_, n) => user(String(n)))
  for (const [param, path, body] of [
    ['items', '', { items: many }],
    ['items', '', { items: 'one' }],
    ['items[0].role', '', { items: [{ type: 'message', content: 'x' }] }],
    ['items[0]', '', { items: [{ type: 'item_reference', id: 'msg_1' }] }],
    ['metadata', '', { metadata: Object.fromEntries(many.map((_, n) => [n, ''])) }],
    ['metadata.k', '', { metadata: { k: 7 } }],
    ['metadata', `/${id}`, {}],
    ['metadata', `/${id}`, { metadata: 'x' }],
    ['items', `/${id}/items`, {}],
    ['items', `/${id}/items`, { items: many }],
    ['items[1].call_id', `/${id}/items`, { items: [user('x'), { type: 'function_call_output', output: '' }] }],
    ['items[1]', `/${id}/items`, { items: [1, 2].map(() => ({ ...user('x'), id: 'msg_same' })) }],
  ] as const) {
    t.match(await errorIn(call(server, 'POST', path, body)), { status: 400, param }, param)
  }
  t.match(await errorIn(call(server, 'GET', `/${id}/items?limit=101`)), { status: 400, param: 'limit' })
  t.strictSame(await itemsOf(server, { id }), [])
})

t.test('items', async (t) => {
  t.test('are added in their order, listed page by page, retrieved and deleted', async (t) => {
    const server = serving()
    const { id } = await begin(server, { items: [user('one')] })
    const given = [
      { role: 'assistant', content: 'two' },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c1', output: 'three' },
      { type: 'custom_tool_call', call_id: 'c2', name: 'g', input: 'x' },
      { type: 'custom_tool_call_output', call_id: 'c2', output: 'y' },
      { type: 'reasoning', id: 'rs_mine', summary: [] },
    ]
    const added = await listIn(call(server, 'POST', `/${id}/items`, { items: given }))
    const ids = added.data.map((item) => item.id)
    t.match(added, { has_more: false, first_id: ids[0], last_id: 'rs_mine', data: { length: given.length } })
    t.strictSame(await itemsOf(server, { id }), ['user one', 'assistant two', ...given.slice(1).map((it) => it.type)])

    const newest = await listIn(call(server, 'GET', `/${id}/items?limit=2`))
    t.match(newest, { has_more: true, first_id: 'rs_mine', data: [{ id: 'rs_mine' }, { id: ids[4] }] })
    const next = await listIn(call(server, 'GET', `/${id}/items?after=${newest.last_id}&limit=100`))
    t.match(next, { has_more: false })
    t.equal(next.data.length, 5)

    for (const item of added.data) {
      t.strictSame(await bodyIn('ConversationItem', call(server, 'GET', `/${id}/items/${item.id}`)), item)
    }
    t.match(await conversationIn(call(server, 'DELETE', `/${id}/items/${ids[0]}`)), { id, object: 'conversation' })
    t.match(await errorIn(call(server, 'GET', `/${id}/items/${ids[0]}`)), { status: 404, code: 'not_found' })
    t.match(await errorIn(call(server, 'DELETE', `/${id}/items/${ids[0]}`)), { status: 404, code: 'not_found' })
    t.equal((await itemsOf(server, { id })).length, 6)
  })

  t.test('none is there twice', async (t) => {
    const server = serving()
    const { id } = await begin(server, { items: [{ ...user('one'), id: 'msg_own' }] })
    for (const item of [
      { ...user('again'), id: 'msg_own' },
      { type: 'item_reference', id: 'msg_own' },
    ]) {
      const error = await errorIn(call(server, 'POST', `/${id}/items`, { items: [user('new'), item] }))
      t.match(error, { status: 400, param: 'items[1]' })
    }
    t.strictSame(await itemsOf(server, { id }), ['user one'])
  })

  t.test('a reference stands for the item of a response', async (t) => {
    const server = serving()
    const response = await responseIn(ask(server, 'POST', '', { model: 'm', input: 'one' }))
    const reference = { type: 'item_reference', id: response.output[0]?.id }
    t.strictSame(await itemsOf(server, await begin(server, { items: [reference] })), ['assistant You said: one'])
  })

  t.test('what of `include` is not known is ignored, with a warning', async (t) => {
    const server = serving()
    const { id } = await begin(server)
    const query = '?include[]=reasoning.encrypted_content&include[]=magic'
    for (const answer of [
      await call(server, 'GET', `/${id}/items${query}`),
      await call(server, 'POST', `/${id}/items${query}`, { items: [] }),
    ]) {
      t.equal(answer.status, 200)
      t.match(answer.headers.get('x-signalbox-warning'), /"magic\\" is ignored/)
      t.notMatch(answer.headers.get('x-signalbox-warning'), /encrypted/)
    }
  })
})

/** A turn of the conversation, to its end. */
const ways: Record<string, (server: OaiServer, id: string, body: up.Json) => Promise<ResponseObject>> = {
  whole: (server, id, body) => responseIn(take(server, { id }, body)),
  streamed: async (server, id, body) => lastOf(await streamIn(take(server, { id }, { ...body, stream: true }))),
  'in the background': async (server, id, body) =>
    ended(server, await responseIn(take(server, { id }, { ...body, background: true }))),
  'in the background, streamed': async (server, id, body) =>
    lastOf(await streamIn(take(server, { id }, { ...body, background: true, stream: true }))),
}

for (const [way, turn] of Object.entries(ways)) {
  t.test(`a turn, ${way}`, async (t) => {
    t.test('the model sees the conversation first; input and output are added to it', async (t) => {
      const server = serving()
      const { id } = await begin(server, { items: [{ role: 'system', content: 'Be brief.' }, user('zero')] })
      for (const input of ['one', 'two']) {
        const response = await turn(server, id, { input })
        t.match(response, { status: 'completed', conversation: { id }, previous_response_id: null })
      }
      const said = ['user one', 'assistant You said: one', 'user two']
      t.strictSame(sent(), ['system Be brief.', 'user zero', ...said])
      const items = ['system Be brief.', 'user zero', ...said, 'assistant You said: two']
      t.strictSame(await itemsOf(server, { id }), items)
    })

    t.test('calls of tools, and what the tools answer', async (t) => {
      const server = serving()
      const { id } = await begin(server)
      const tools = [{ type: 'function', name: 'weather' }]
      upstream.next(up.completion({ toolCalls: [{ id: 'c1', name: 'weather', arguments: '{}' }] }))
      await turn(server, id, { input: 'sky?', tools })
      await turn(server, id, { tools, input: [{ type: 'function_call_output', call_id: 'c1', output: 'sunny' }] })
      t.strictSame(sent(), ['user sky?', 'calls c1', 'c1: sunny'])
      const items = ['user sky?', 'function_call', 'function_call_output', 'assistant You said: sky?']
      t.strictSame(await itemsOf(server, { id }), items)
    })

    t.test('one that is cut short by its length is added, one by a content filter is not', async (t) => {
      const server = serving()
      const { id } = await begin(server)
      upstream.next(up.completion({ text: 'long', finishReason: 'length' }))
      t.match(await turn(server, id, { input: 'one' }), { status: 'incomplete' })
      upstream.next(up.completion({ text: 'bad', finishReason: 'content_filter' }))
      t.match(await turn(server, id, { input: 'two' }), { status: 'incomplete' })
      t.strictSame(await itemsOf(server, { id }), ['user one', 'assistant long'])
    })

    t.test('one that fails leaves nothing, and does not hold up the next', async (t) => {
      const leases = new MemoryLeases()
      const server = serving({ leases })
      const { id } = await begin(server)
      for (const behaviour of [up.failWith(500), up.failWith(400), up.dropBeforeResponse()]) {
        upstream.next(behaviour)
        await turn(server, id, { input: 'fails' }).catch(() => {})
        t.equal(leases.size, 0)
      }
      t.match(await errorIn(take(server, { id }, { model: 'nope', input: 'x' })), { status: 404 })
      t.match(await errorIn(take(server, { id }, { input: 'x', tools: [{ type: 'web_search' }] })), { status: 400 })
      t.match(await errorIn(take(server, { id }, {})), { status: 400, param: 'input' }, 'there is nothing to answer')
      t.equal(leases.size, 0)
      await turn(server, id, { input: 'goes' })
      t.strictSame(await itemsOf(server, { id }), ['user goes', 'assistant You said: goes'])
    })

    t.test('fifty at once: one after the other, each is added', async (t) => {
      const leases = new MemoryLeases()
      const server = serving({ leases })
      const { id } = await begin(server)
      await Promise.all(Array.from({ length: 50 }, (_, n) => turn(server, id, { input: String(n) })))
      const items = await itemsOf(server, { id })
      t.strictSame(
        items,
        Array.from({ length: 50 }, (_, n) => items[2 * n]?.slice('user '.length)).flatMap((n) => [
          `user ${n}`,
          `assistant You said: ${n}`,
        ]),
      )
      t.equal(new Set(items).size, 100)
      t.equal(leases.size, 0)
    })
  })
}

t.test('the items of a response are the conversation’s, under the same ids', async (t) => {
  const server = serving()
  const { id } = await begin(server)
  const response = await responseIn(take(server, { id }, { input: 'one' }))
  const { data } = await listIn(call(server, 'GET', `/${id}/items?order=asc`))
  const input = (await (await ask(server, 'GET', `/${response.id}/input_items`)).json()) as { data: Item[] }
  t.strictSame(data, [...input.data, ...response.output])
})

t.test('store: false: the turn is in the conversation, the response nowhere', async (t) => {
  const server = serving()
  const { id } = await begin(server)
  const responses = [
    await responseIn(take(server, { id }, { input: 'one', store: false })),
    lastOf(await streamIn(take(server, { id }, { input: 'two', store: false, stream: true }))),
  ]
  const said = ['user one', 'assistant You said: one', 'user two', 'assistant You said: two']
  t.strictSame(await itemsOf(server, { id }), said)
  for (const response of responses) t.match(await errorIn(ask(server, 'GET', `/${response.id}`)), { status: 404 })
  const reference = { type: 'item_reference', id: responses[0]?.output[0]?.id }
  await responseIn(take(server, { id }, { input: [reference, user('three')] }))
  t.strictSame(sent(), [...said, 'assistant You said: one', 'user three'], 'a reference finds it there')
  t.strictSame(await itemsOf(server, { id }), [...said, 'user three', 'assistant You said: three'], 'and adds nothing')
})

t.test('an item of another response that the input names twice is added once', async (t) => {
  const server = serving()
  const other = await responseIn(ask(server, 'POST', '', { model: 'm', input: 'else' }))
  const conversation = await begin(server)
  const reference = { type: 'item_reference', id: other.output[0]?.id }
  await responseIn(take(server, conversation, { input: [reference, reference, user('one')] }))
  const items = ['assistant You said: else', 'user one', 'assistant You said: one']
  t.strictSame(await itemsOf(server, conversation), items)
})

t.test('nothing goes on from a turn but its conversation', async (t) => {
  const server = serving()
  const conversation = await begin(server)
  const { id } = await responseIn(take(server, conversation, { input: 'one' }))
  const next = ask(server, 'POST', '', { model: 'm', input: 'two', previous_response_id: id })
  t.match(await errorIn(next), { status: 400, param: 'previous_response_id', message: RegExp(conversation.id) })
})

t.test('truncation: what is left out is left out of the request only', async (t) => {
  const server = serving({ entries: [{ model: 'm', client: lab, capabilities: { context_window: 50 } }] })
  const { id } = await begin(server, { items: [user('x'.repeat(400)), { role: 'assistant', content: 'y' }] })
  await responseIn(take(server, { id }, { input: 'one', truncation: 'auto' }))
  t.strictSame(sent(), ['assistant y', 'user one'])
  t.equal((await itemsOf(server, { id })).length, 4)
})

t.test('agents: it is their conversation', async (t) => {
  const asked: string[] = []
  const server = serving({
    agentLoader: {
      load({ conversationId }) {
        asked.push(conversationId)
        return createAgent({ client: lab, system: 'Be brief.' })
      },
    },
    conversationLoader: { load: () => null, save: () => t.fail('nothing is kept twice') },
  })
  const { id } = await begin(server)
  await responseIn(take(server, { id }, { input: 'one' }))
  await responseIn(take(server, { id }, { input: 'two' }))
  t.strictSame(sent(), ['system Be brief.', 'user one', 'assistant You said: one', 'user two'])
  t.strictSame(asked, [id, id])
})

t.test('one turn at a time', async (t) => {
  t.test('the next waits; what takes too long is a 409, before the model is asked', async (t) => {
    const server = serving({ lockTimeoutMs: 30 })
    const { id } = await begin(server)
    const gate = up.gated(['one'])
    upstream.next(gate.behaviour)
    const first = streamIn(take(server, { id }, { input: 'first', stream: true }))
    await upstream.request(0)
    for (const refused of [
      take(server, { id }, { input: 'second' }),
      take(server, { id }, { input: 'second', stream: true }),
      take(server, { id }, { input: 'second', background: true }),
      call(server, 'POST', `/${id}`, { metadata: {} }),
      call(server, 'POST', `/${id}/items`, { items: [user('x')] }),
      call(server, 'DELETE', `/${id}/items/msg_1`),
      call(server, 'DELETE', `/${id}`),
    ]) {
      const error = await errorIn(refused)
      t.match(error, { status: 409, code: 'conversation_locked' })
      t.equal(error.headers.get('retry-after'), '1')
    }
    t.strictSame(await itemsOf(server, { id }), [], 'who only reads does not wait')
    t.equal(upstream.requests.length, 1)
    const other = await begin(server)
    await responseIn(take(server, other, { input: 'elsewhere' }))
    gate.release(10)
    await first
    await responseIn(take(server, { id }, { input: 'second' }))
    t.strictSame(sent(), ['user first', 'assistant one', 'user second'])
  })

  t.test('a client that leaves while it waits has not been there', async (t) => {
    const leases = new MemoryLeases()
    const server = serving({ leases })
    const { id } = await begin(server)
    const gate = up.gated(['one'])
    upstream.next(gate.behaviour)
    const first = streamIn(take(server, { id }, { input: 'first', stream: true }))
    await upstream.request(0)
    const controller = new AbortController()
    const waiting = errorIn(take(server, { id }, { input: 'second' }, { signal: controller.signal }))
    await sleep(5)
    controller.abort()
    t.match(await waiting, { status: 499 })
    gate.release(10)
    await first
    t.equal(leases.size, 0)
    t.strictSame(await itemsOf(server, { id }), ['user first', 'assistant one'])
  })

  t.test('a deletion waits for the turn: it does not come back', async (t) => {
    const server = serving()
    const { id } = await begin(server)
    const gate = up.gated(['one'])
    upstream.next(gate.behaviour)
    const turn = streamIn(take(server, { id }, { input: 'first', stream: true }))
    await upstream.request(0)
    const deletion = bodyIn('DeletedConversationResource', call(server, 'DELETE', `/${id}`))
    const late = errorIn(take(server, { id }, { input: 'late' }))
    gate.release(10)
    t.match(lastOf(await turn), { status: 'completed' })
    await deletion
    t.match(await late, { status: 404, param: 'conversation' })
    await nowhere(t, server, id)
  })
})

t.test('a client that leaves lets the next one have its turn, and leaves nothing', async (t) => {
  const deaf: LLMClient = {
    provider: 'lab',
    model: 'deaf',
    complete: () => new Promise(() => {}),
    async *stream() {
      yield await new Promise<never>(() => {})
    },
  }
  const entries = [
    { model: 'm', client: lab },
    { model: 'deaf', client: deaf },
  ]

  t.test('before its answer has begun', async (t) => {
    const leases = new MemoryLeases()
    const server = serving({ leases })
    const { id } = await begin(server)
    for (const stream of [false, true]) {
      const asked = upstream.requests.length
      upstream.next(up.hang())
      const controller = new AbortController()
      const turn = errorIn(take(server, { id }, { input: 'left', stream }, { signal: controller.signal }))
      await upstream.request(asked)
      controller.abort()
      t.match(await turn, { status: 499 })
      t.equal(leases.size, 0)
    }
    await responseIn(take(server, { id }, { input: 'stays' }))
    t.strictSame(await itemsOf(server, { id }), ['user stays', 'assistant You said: stays'])
  })

  t.test('in the middle of a stream', async (t) => {
    const leases = new MemoryLeases()
    const server = serving({ leases })
    const { id } = await begin(server)
    const gate = up.gated(['one', ' two'])
    upstream.next(gate.behaviour)
    gate.release(2)
    const answer = await take(server, { id }, { input: 'left', stream: true })
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    t.equal(leases.size, 0)
    t.strictSame(await itemsOf(server, { id }), [])
  })

  t.test('before it has read anything of a stream, and whatever its model does', async (t) => {
    const leases = new MemoryLeases()
    const server = serving({ leases, entries, keepAliveMs: 20 })
    const { id } = await begin(server)
    for (const model of ['m', 'deaf']) {
      const answer = await take(server, { id }, { model, input: 'left', stream: true })
      await answer.body?.cancel()
      t.equal(leases.size, 0, model)
    }
    const controller = new AbortController()
    const unread = await take(server, { id }, { input: 'left', stream: true }, { signal: controller.signal })
    controller.abort()
    t.equal(leases.size, 0, 'it does not even say so')
    await unread.body?.cancel()
    t.strictSame(await itemsOf(server, { id }), [])
  })
})

t.test('in the background', async (t) => {
  t.test('it holds the conversation until it is over; a client that leaves changes nothing', async (t) => {
    const server = serving({ lockTimeoutMs: 30 })
    const { id } = await begin(server)
    const gate = up.gated(['one'])
    upstream.next(gate.behaviour)
    const controller = new AbortController()
    const body = { input: 'first', background: true }
    const queued = await responseIn(take(server, { id }, body, { signal: controller.signal }))
    controller.abort()
    t.match(await errorIn(take(server, { id }, { input: 'second' })), { status: 409 })
    gate.release(10)
    t.match(await ended(server, queued), { status: 'completed', conversation: { id } })
    t.strictSame(await itemsOf(server, { id }), ['user first', 'assistant one'])
  })

  t.test('cancelled or deleted, it lets go of it and leaves nothing', async (t) => {
    const leases = new MemoryLeases()
    const server = serving({ leases })
    const conversation = await begin(server)
    for (const [method, path] of [
      ['POST', '/cancel'],
      ['DELETE', ''],
    ] as const) {
      const asked = upstream.requests.length
      upstream.next(up.gated(['one']).behaviour)
      const { id } = await responseIn(take(server, conversation, { input: 'never', background: true }))
      await upstream.request(asked)
      t.equal((await ask(server, method, `/${id}${path}`)).status, 200)
      t.equal(leases.size, 0)
    }
    t.strictSame(await itemsOf(server, conversation), [])
  })

  t.test('one whose follower cannot be served is made all the same', async (t) => {
    const server = serving({
      eventLog: {
        append: async () => true,
        // biome-ignore lint/correctness/useYield: it breaks before it has anything.
        async *read() {
          throw new Error('the log is down')
        },
        delete: async () => true,
      },
    })
    const { id } = await begin(server)
    const followed = take(server, { id }, { input: 'one', background: true, stream: true })
    t.match(await errorIn(followed), { status: 503 })
    await eventually(() => server.openRequests === 0)
    t.strictSame(await itemsOf(server, { id }), ['user one', 'assistant You said: one'])
  })

  t.test('what the gateway breaks off when it stops lets go of it', async (t) => {
    const leases = new MemoryLeases()
    const server = serving({ leases })
    const { id } = await begin(server)
    upstream.next(up.gated(['one']).behaviour)
    await responseIn(take(server, { id }, { input: 'first', background: true }))
    await upstream.request(0)
    await server.stop({ drainMs: 10 })
    t.equal(leases.size, 0)
    t.strictSame(await itemsOf(server, { id }), [])
  })
})

/** A persistence that does what it is told to conversations. */
function watched(state: { fails?: boolean; hangs?: boolean; loses?: boolean }) {
  const backing = new MemoryPersistence()
  const meet = async <T>(key: string, work: () => Promise<T>): Promise<T> => {
    if (!key.includes('conv_')) return work()
    if (state.fails) throw new Error('the store is down')
    if (state.hangs) await new Promise(() => {})
    return work()
  }
  const persistence: Persistence = {
    get: (key) => meet(key, () => backing.get(key)),
    delete: (key) => meet(key, () => backing.delete(key)),
    set: (key, value, options = {}) =>
      meet(key, () => {
        if (state.loses) options.lease?.release()
        return backing.set(key, value, options)
      }),
  }
  return persistence
}

t.test('the store', async (t) => {
  for (const trouble of ['fails', 'hangs'] as const) {
    t.test(`that ${trouble}: 503, before the model is asked`, async (t) => {
      const state: Parameters<typeof watched>[0] = {}
      const leases = new MemoryLeases()
      const server = serving({ responseStorePersistence: watched(state), loaderTimeoutMs: 20, leases })
      const { id } = await begin(server)
      state[trouble] = true
      for (const [method, path, body] of [
        ['POST', '', {}],
        ['GET', `/${id}`],
        ['POST', `/${id}`, { metadata: {} }],
        ['DELETE', `/${id}`],
        ['GET', `/${id}/items`],
        ['POST', `/${id}/items`, { items: [] }],
        ['DELETE', `/${id}/items/x`],
      ] as const) {
        const error = await errorIn(call(server, method, path, body))
        t.match(error, { status: 503, code: 'store_unavailable' }, `${method} ${path}`)
        t.equal(error.headers.get('retry-after'), '1')
      }
      for (const more of [{}, { stream: true }, { background: true }, { store: false }]) {
        const error = await errorIn(take(server, { id }, { input: 'one', ...more }))
        t.match(error, { status: 503, code: 'store_unavailable' })
      }
      t.equal(upstream.requests.length, 0)
      t.equal(leases.size, 0)
    })

    t.test(`that ${trouble} when the answer is there: it is delivered, with a warning`, async (t) => {
      const state: Parameters<typeof watched>[0] = {}
      const server = serving({ responseStorePersistence: watched(state), loaderTimeoutMs: 20 })
      const { id } = await begin(server)
      const warnings: HookEvents['onWarning'][] = []
      server.hooks.on('onWarning', (warning) => warnings.push(warning))
      const breaking = (): up.Behaviour => (request, exchange) => {
        state[trouble] = true
        return up.provider(request, exchange)
      }
      upstream.next(breaking())
      const whole = await take(server, { id }, { input: 'one' })
      t.match(whole.headers.get('x-signalbox-warning'), /the conversation could not be saved/)
      t.equal(textOf(await responseIn(whole)), 'You said: one')
      state[trouble] = false
      upstream.next(breaking())
      const text = await (await take(server, { id }, { input: 'two', stream: true })).text()
      t.match(text, /response\.completed[\s\S]*: warning "the conversation could not be saved/)
      t.equal(warnings.length, 2)
      state[trouble] = false
      t.strictSame(await itemsOf(server, { id }), [])
    })
  }

  t.test('refuses the write of a turn that has lost its lease', async (t) => {
    const state: Parameters<typeof watched>[0] = {}
    const server = serving({ responseStorePersistence: watched(state) })
    const { id } = await begin(server)
    state.loses = true
    const answer = await take(server, { id }, { input: 'one' })
    t.match(answer.headers.get('x-signalbox-warning'), /the conversation could not be saved/)
    t.equal(textOf(await responseIn(answer)), 'You said: one')
    const refused = errorIn(call(server, 'POST', `/${id}/items`, { items: [user('x')] }))
    t.match(await refused, { status: 409, code: 'conversation_locked' })
    t.strictSame(await itemsOf(server, { id }), [])
  })
})
