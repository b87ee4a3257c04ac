import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  BearerKeyAuth,
  createAgent,
  createLLM,
  type HookEvents,
  MemoryEventLog,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  type Persistence,
} from '../../src/index.ts'
import { eventually, glance, messagesOf } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, eventsIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const sent = (): string[] => glance(messagesOf(upstream.last()))
const create = (server: OaiServer, body: up.Json, init?: RequestInit) =>
  responseIn(ask(server, 'POST', '', { model: 'm', ...body }, init))

/** A persistence that can be counted, and made to fail. */
function watched() {
  const backing = new MemoryPersistence({ maxEntries: 100_000 })
  const state = { down: false, reads: 0, goes: 0, bytes: 0, sets: [] as string[] }
  const up = (): void => {
    if (state.down) throw new Error('the store is down')
  }
  const persistence: Persistence = {
    async get(key) {
      up()
      state.goes += 1
      state.reads += 1
      return backing.get(key)
    },
    async getMany(keys) {
      up()
      state.goes += 1
      state.reads += keys.length
      return Promise.all(keys.map((key) => backing.get(key)))
    },
    async set(key, value, options) {
      up()
      state.sets.push(key)
      state.bytes += JSON.stringify(value).length
      return backing.set(key, value, options)
    },
    async delete(key) {
      up()
      return backing.delete(key)
    },
  }
  return { state, persistence }
}

t.test('a response is retrieved as it was answered', async (t) => {
  const server = serving()
  const whole = await create(server, { input: 'one', metadata: { a: 'b' }, temperature: 0.5 })
  t.strictSame(await responseIn(ask(server, 'GET', `/${whole.id}`)), whole)
  const streamed = lastOf(await streamIn(ask(server, 'POST', '', { model: 'm', input: 'one', stream: true })))
  t.strictSame(await responseIn(ask(server, 'GET', `/${streamed.id}`)), streamed)
})

t.test('it is gone when it was deleted', async (t) => {
  const server = serving()
  const { id } = await create(server, { input: 'one' })
  const answer = await ask(server, 'DELETE', `/${id}`)
  t.equal(answer.status, 200)
  t.strictSame(await answer.json(), { id, object: 'response', deleted: true })
  for (const [method, path] of [
    ['GET', `/${id}`],
    ['GET', `/${id}?stream=true`],
    ['GET', `/${id}/input_items`],
    ['DELETE', `/${id}`],
    ['POST', `/${id}/cancel`],
  ] as const) {
    t.match(await errorIn(ask(server, method, path)), { status: 404, code: 'not_found' }, `${method} ${path}`)
  }
})

t.test('what was never stored is not found, nor is what the gateway keeps beside it', async (t) => {
  const server = serving()
  const { id } = await create(server, { input: 'one' })
  for (const other of ['resp_1', 'a/b', '%', `items:${id}`, encodeURIComponent(`life:${id}`), 'x'.repeat(5000)]) {
    for (const method of ['GET', 'DELETE']) {
      t.match(await errorIn(ask(server, method, `/${other}`)), { status: 404 }, other.slice(0, 30))
    }
  }
  await responseIn(ask(server, 'GET', `/${id}`))
})

t.test('store: false keeps nothing', async (t) => {
  const { state, persistence } = watched()
  const server = serving({ responseStorePersistence: persistence })
  const whole = await create(server, { input: 'one', store: false })
  const events = await streamIn(ask(server, 'POST', '', { model: 'm', input: 'one', store: false, stream: true }))
  t.match(whole, { store: false, status: 'completed' })
  for (const { id } of [whole, lastOf(events)]) {
    t.match(await errorIn(ask(server, 'GET', `/${id}`)), { status: 404 })
    const next = ask(server, 'POST', '', { model: 'm', input: 'two', previous_response_id: id })
    t.match(await errorIn(next), { status: 400, code: 'previous_response_not_found' })
  }
  t.strictSame(state.sets, [])
})

t.test('input items: a page of the response’s own input', async (t) => {
  const server = serving()
  const first = await create(server, { input: 'zero' })
  const input = ['one', 'two', 'three'].map((content) => ({ role: 'user', content }))
  const { id } = await create(server, { input, previous_response_id: first.id })
  const list = async (query = '') => {
    const body = (await (await ask(server, 'GET', `/${id}/input_items${query}`)).json()) as {
      data: { id: string; content: { text: string }[] }[]
      has_more: boolean
    }
    assertSchema('ResponseItemList', body)
    return { ...body, texts: body.data.map(({ content }) => content[0]?.text) }
  }
  t.strictSame((await list()).texts, ['three', 'two', 'one'])
  t.strictSame((await list('?order=asc')).texts, ['one', 'two', 'three'])
  const page = await list('?order=asc&limit=2')
  t.match(page, { texts: ['one', 'two'], has_more: true })
  t.match(await list(`?order=asc&after=${page.data[1]?.id}`), { texts: ['three'], has_more: false })
  t.match(await errorIn(ask(server, 'GET', `/${id}/input_items?limit=0`)), { status: 400, param: 'limit' })
})

t.test('a response goes on from another: its input and output come first, its instructions do not', async (t) => {
  const server = serving()
  const one = await create(server, { input: 'one', instructions: 'First.' })
  const two = await create(server, { input: 'two', previous_response_id: one.id, instructions: 'Second.' })
  t.match(two, { previous_response_id: one.id })
  t.strictSame(sent(), ['system Second.', 'user one', 'assistant You said: one', 'user two'])
  await streamIn(ask(server, 'POST', '', { model: 'm', input: 'three', previous_response_id: two.id, stream: true }))
  t.strictSame(sent().slice(2), ['user two', 'assistant You said: two', 'user three'])
  await create(server, { input: 'other', previous_response_id: one.id })
  t.strictSame(sent(), ['user one', 'assistant You said: one', 'user other'], 'threads may part')
  await create(server, { input: 'unkept', previous_response_id: two.id, store: false })
  t.equal(sent().length, 5, 'also for one that is not stored itself')
})

t.test('a failed turn, or one that its client left, can be gone on from', async (t) => {
  const server = serving()
  upstream.next(up.dropAfter(3))
  const failed = lastOf(await streamIn(ask(server, 'POST', '', { model: 'm', input: 'one', stream: true })))
  t.equal(failed.status, 'failed')
  await create(server, { input: 'again', previous_response_id: failed.id })
  t.strictSame(sent(), ['user one', `assistant ${textOf(failed)}`, 'user again'])
})

t.test('one that is not there is a 404 that says so', async (t) => {
  const server = serving()
  const next = (previous_response_id: string, stream = false) =>
    errorIn(ask(server, 'POST', '', { model: 'm', input: 'x', previous_response_id, stream }))
  const expected = {
    status: 400,
    type: 'invalid_request_error',
    code: 'previous_response_not_found',
    param: 'previous_response_id',
    message: "Previous response with id 'resp_1' not found.",
  }
  t.match(await next('resp_1'), expected)
  t.match(await next('resp_1', true), expected)
  const one = await create(server, { input: 'one' })
  const two = await create(server, { input: 'two', previous_response_id: one.id })
  await ask(server, 'DELETE', `/${one.id}`)
  t.match(
    await next(two.id),
    { ...expected, message: /that it builds on is gone/ },
    'nor is a thread with a hole continued',
  )
  t.equal(upstream.requests.length, 2)
})

t.test('nobody reaches another user’s, and nobody is a user, too', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-of-alice-01': 'alice', 'sk-of-bob-0001': 'bob' } })
  const shared = { responseStorePersistence: new MemoryPersistence(), eventLog: new MemoryEventLog() }
  const [server, open] = [serving({ auth, ...shared }), serving(shared)]
  const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } })
  const [alice, bob] = [as('sk-of-alice-01'), as('sk-of-bob-0001')]
  const body = { input: 'private', background: true }
  const { id } = await create(server, body, alice)
  await eventually(() => server.openRequests === 0)
  const item = (await (await ask(server, 'GET', `/${id}`, undefined, alice)).json()) as { output: { id: string }[] }
  for (const [other, init] of [
    [server, bob],
    [open, {}],
  ] as const) {
    for (const [method, path] of [
      ['GET', `/${id}`],
      ['GET', `/${id}?stream=true`],
      ['GET', `/${id}/input_items`],
      ['DELETE', `/${id}`],
      ['POST', `/${id}/cancel`],
    ] as const) {
      t.match(await errorIn(ask(other, method, path, undefined, init)), { status: 404 }, `${method} ${path}`)
    }
    const going = ask(other, 'POST', '', { model: 'm', input: 'x', previous_response_id: id }, init)
    t.match(await errorIn(going), { status: 400, code: 'previous_response_not_found' })
    const input = [{ type: 'item_reference', id: item.output[0]?.id }]
    t.match(await errorIn(ask(other, 'POST', '', { model: 'm', input }, init)), { status: 400 })
  }
  await responseIn(ask(server, 'GET', `/${id}`, undefined, alice))
})

t.test('references to items', async (t) => {
  const server = serving()
  const one = await create(server, { input: 'one' })
  const { data } = (await (await ask(server, 'GET', `/${one.id}/input_items`)).json()) as { data: { id: string }[] }
  const input = [data[0]?.id, one.output[0]?.id].map((id) => ({ type: 'item_reference', id }))
  const two = await create(server, { input: [...input, { role: 'user', content: 'two' }] })
  t.strictSame(sent(), ['user one', 'assistant You said: one', 'user two'])
  await ask(server, 'DELETE', `/${one.id}`)
  await create(server, { input: 'three', previous_response_id: two.id })
  t.equal(sent().length, 5, 'what a reference stood for is kept with the response that used it')
})

t.test('a replica goes on from what another has just answered, and never serves what that has deleted', async (t) => {
  for (const persistence of [new MemoryPersistence(), watched().persistence]) {
    const shared = { responseStorePersistence: persistence, eventLog: new MemoryEventLog() }
    const replicas = [serving(shared), serving(shared)] as const
    let previous: string | undefined
    for (let turn = 0; turn < 10; turn++) {
      const body = { model: 'm', input: `${turn}`, ...(previous ? { previous_response_id: previous } : {}) }
      const server = replicas[turn % 2] ?? replicas[0]
      const response =
        turn % 3 === 0
          ? lastOf(await streamIn(ask(server, 'POST', '', { ...body, stream: true })))
          : await create(server, body)
      t.equal(sent().length, turn * 2 + 1)
      previous = response.id
    }
    for (const server of replicas) await responseIn(ask(server, 'GET', `/${previous}`))
    await ask(replicas[0], 'DELETE', `/${previous}`)
    t.match(await errorIn(ask(replicas[1], 'GET', `/${previous}`)), { status: 404 })
  }
})

t.test(
  'it is stored before its last event is sent, and an event before it is: who saw it goes on anywhere, at once',
  async (t) => {
    const backing = new MemoryPersistence()
    const slow: Persistence = {
      get: (key) => backing.get(key),
      async set(key, value, options) {
        await sleep(20)
        return backing.set(key, value, options)
      },
      delete: (key) => backing.delete(key),
    }
    const shared = { responseStorePersistence: slow, eventLog: new MemoryEventLog() }
    const [one, other] = [serving(shared), serving(shared)]
    const answer = await ask(one, 'POST', '', { model: 'm', input: 'one', stream: true })
    let text = ''
    for await (const bytes of answer.body ?? []) {
      text += Buffer.from(bytes).toString()
      const [first] = eventsIn(text)
      const { id } = (first as { response: { id: string } }).response
      const isLast = text.includes('event: response.completed')
      const now = await responseIn(ask(other, 'GET', `/${id}`))
      if (isLast) t.equal(now.status, 'completed')
      const replay = (await ask(other, 'GET', `/${id}?stream=true`)).body?.getReader()
      let replayed = ''
      while (eventsIn(replayed).length < eventsIn(text).length)
        replayed += Buffer.from((await replay?.read())?.value ?? []).toString()
      await replay?.cancel()
      t.equal(replayed, text)
      if (isLast) await create(other, { input: 'two', previous_response_id: id })
    }
    t.equal(sent().length, 3)
  },
)

t.test('a thousand turns: all of them reach the model, in a few reads, and little is stored twice', async (t) => {
  const { state, persistence } = watched()
  const server = serving({ responseStorePersistence: persistence })
  upstream.behave(up.completion({ text: 'ok' }))
  let previous = await create(server, { input: '0' })
  const perTurn: number[] = []
  const bytes: number[] = []
  const turns = 1000
  for (let turn = 1; turn < turns; turn++) {
    const before = { ...state }
    previous = await create(server, { input: `${turn}`, previous_response_id: previous.id })
    perTurn.push(state.goes - before.goes)
    bytes.push(state.bytes - before.bytes)
    upstream.requests.splice(0, upstream.requests.length - 1)
  }
  const messages = messagesOf(upstream.last())
  t.equal(messages.length, turns * 2 - 1)
  t.strictSame(
    messages.filter(({ role }) => role === 'user').map(({ content }) => content),
    Array.from({ length: turns }, (_, turn) => `${turn}`),
  )
  t.ok(Math.max(...perTurn) <= 4, `${Math.max(...perTurn)} goes`)
  t.ok(Math.max(...bytes) < 8000, `${Math.max(...bytes)} bytes for the largest turn`)
  t.ok(state.bytes < turns * 4000, `${state.bytes} bytes in all`)
})

t.test('a store that is down', async (t) => {
  const { state, persistence } = watched()
  const server = serving({ responseStorePersistence: persistence })
  const warnings: HookEvents['onWarning'][] = []
  server.hooks.on('onWarning', (payload) => warnings.push(payload))
  const one = await create(server, { input: 'one' })
  state.down = true
  t.beforeEach(() => {
    warnings.length = 0
  })

  t.test('whoever needs it is told so, and to come again', async (t) => {
    for (const [method, path, body] of [
      ['GET', `/${one.id}`, undefined],
      ['GET', `/${one.id}?stream=true`, undefined],
      ['DELETE', `/${one.id}`, undefined],
      ['GET', `/${one.id}/input_items`, undefined],
      ['POST', `/${one.id}/cancel`, undefined],
      ['POST', '', { model: 'm', input: 'two', previous_response_id: one.id }],
      ['POST', '', { model: 'm', input: 'two', previous_response_id: one.id, stream: true }],
      ['POST', '', { model: 'm', input: 'two', background: true }],
      ['POST', '', { model: 'm', input: [{ type: 'item_reference', id: one.output[0]?.id }] }],
    ] as const) {
      const refused = await errorIn(ask(server, method, path, body as up.Json | undefined))
      t.match(refused, { status: 503, code: 'store_unavailable' }, `${method} ${path} ${JSON.stringify(body)}`)
      t.equal(refused.headers.get('retry-after'), '1')
      t.notMatch(refused.message, /down/)
    }
    t.equal(upstream.requests.length, 0)
  })

  t.test('who wants a response to be stored is told before it is paid for', async (t) => {
    for (const stream of [false, true]) {
      const refused = await errorIn(ask(server, 'POST', '', { model: 'm', input: 'two', stream }))
      t.match(refused, { status: 503, code: 'store_unavailable' })
    }
    t.equal(upstream.requests.length, 0)
  })

  t.test('nobody else notices', async (t) => {
    await create(server, { input: 'two', store: false })
    await streamIn(ask(server, 'POST', '', { model: 'm', input: 'two', store: false, stream: true }))
    t.strictSame(warnings, [])
  })

  t.test('when it is back, all is as before', async (t) => {
    state.down = false
    await create(server, { input: 'two', previous_response_id: one.id })
    t.equal(sent().length, 3)
  })

  t.test('an answer that can be kept no more is delivered, with a warning', async (t) => {
    upstream.behave((request, exchange) => {
      state.down = true
      return up.completion()(request, exchange)
    })
    const answer = await ask(server, 'POST', '', { model: 'm', input: 'two' })
    t.match(answer.headers.get('x-signalbox-warning'), /could not be stored/)
    t.match(await responseIn(answer), { status: 'completed' })
    t.match(warnings, [{ warning: /could not be stored/, error: { code: 'store_unavailable' } }])
    state.down = false
    const streamed = await ask(server, 'POST', '', { model: 'm', input: 'two', stream: true })
    t.match(streamed.headers.get('x-signalbox-warning'), /cannot be resumed/)
    t.match(await streamed.clone().text(), /\n: warning ".*could not be stored/)
    t.match(lastOf(await streamIn(streamed)), { status: 'completed' })
  })
})

t.test('a store that does not answer is given up in time', async (t) => {
  const persistence: Persistence = {
    get: () => new Promise(() => {}),
    set: () => new Promise(() => {}),
    delete: () => new Promise(() => {}),
  }
  const server = serving({ responseStorePersistence: persistence, loaderTimeoutMs: 20 })
  t.match(await errorIn(ask(server, 'GET', '/resp_1')), { status: 503, code: 'store_unavailable' })
  t.match(await errorIn(ask(server, 'POST', '', { model: 'm', input: 'one' })), { code: 'store_unavailable' })
  t.match(await create(server, { input: 'one', store: false }), { status: 'completed' })
})

t.test('agents: the thread is their conversation, unless one is named', async (t) => {
  const asked: string[] = []
  const server = serving({
    agentLoader: {
      load({ conversationId }) {
        asked.push(conversationId)
        return createAgent({ client: lab, system: 'Be brief.' })
      },
    },
    conversationLoader: {
      load: () => null,
      save: () => t.fail('nothing is kept twice'),
    },
  })
  const one = await create(server, { input: 'one', user: 'alice' })
  const two = await create(server, { input: 'two', user: 'alice', previous_response_id: one.id })
  await create(server, { input: 'three', user: 'alice', previous_response_id: two.id })
  t.strictSame(
    sent().filter((message) => message.startsWith('user')),
    ['user one', 'user two', 'user three'],
  )
  t.strictSame(asked, [one.id, one.id, one.id])
})
