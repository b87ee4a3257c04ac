/** A model is a plan of targets: who is asked, who after whom, and what the client learns of it. */
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { OaiServer, plan } from '../../src/index.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { freePort } from '../redis-server.ts'
import { fake } from '../router/clients.ts'
import { scraped, sumOf } from '../scrape.ts'
import * as up from '../upstream.ts'

const upstreams = await Promise.all([up.startUpstream(), up.startUpstream(), up.startUpstream()])
const [one, two, three] = upstreams
t.teardown(() => Promise.all(upstreams.map((upstream) => upstream.close())))
t.beforeEach(() => {
  for (const upstream of upstreams) upstream.reset()
})

const kind = 'openai-compatible'
const providers = {
  one: { kind, baseURL: one.baseURL },
  two: { kind, baseURL: two.baseURL },
  three: { kind, baseURL: three.baseURL },
}
const inOrder = { targets: [{ model: 'one/a' }, { model: 'two/b', priority: 1 }] }
const messages = [{ role: 'user' as const, content: 'hello' }]
const ask = { model: 'm', messages }

const serving = (t: Test, model: up.Json = inOrder, config: up.Json = {}): Promise<Gateway> =>
  startGateway(t, { config: { providers, models: { m: model }, ...config } })

const servedBy = ({ headers }: Response): (string | null)[] => [
  headers.get('x-signalbox-target'),
  headers.get('x-signalbox-attempts'),
]

/** The ways to ask a model, each of which reads the whole answer. */
const ways: Record<string, (client: OpenAI) => Promise<Response>> = {
  whole: async (client) => {
    const { data, response } = await client.chat.completions.create(ask).withResponse()
    if (data.choices[0]?.finish_reason !== 'stop') throw new Error('not whole')
    return response
  },
  streamed: async (client) => {
    const { data, response } = await client.chat.completions.create({ ...ask, stream: true }).withResponse()
    let end: string | null | undefined
    for await (const { choices } of data) end = choices[0]?.finish_reason ?? end
    if (end !== 'stop') throw new Error('not whole')
    return response
  },
  'a response': async (client) => {
    const { data, response } = await client.responses.create({ model: 'm', input: 'hello' }).withResponse()
    if (data.status !== 'completed') throw new Error('not whole')
    return response
  },
  'a streamed response': async (client) => {
    const { data, response } = await client.responses
      .create({ model: 'm', input: 'hello', stream: true })
      .withResponse()
    let last = ''
    for await (const { type } of data) last = type
    if (last !== 'response.completed') throw new Error('not whole')
    return response
  },
  embeddings: async (client) => (await client.embeddings.create({ model: 'm', input: 'x' }).withResponse()).response,
}

const faults: Record<string, [up.Behaviour, reason: string]> = {
  500: [up.failWith(500), 'server_error'],
  503: [up.failWith(503), 'server_error'],
  429: [up.failWith(429, undefined, { 'retry-after': '20' }), 'rate_limit'],
  'a page instead of an answer': [up.notJson(200), 'server_error'],
  'a reset': [up.dropBeforeResponse(), 'connection'],
  'no answer in time': [up.hang(), 'timeout'],
}

for (const responses of ['translated', 'native']) {
  t.test(`after a failure of the first target the second is asked, responses ${responses}`, async (t) => {
    const timeouts = { firstToken: '300ms', total: '2s' }
    // So many failures would open it, and then the first is not even asked.
    const breaker = { enabled: false }
    const both = { one: { ...providers.one, responses, timeouts, breaker }, two: { ...providers.two, responses } }
    const gateway = await serving(t, inOrder, { providers: both })
    const reasons: string[] = []
    gateway.hooks.on('onFallback', ({ from, to, reason }) => reasons.push(`${from} > ${to}: ${reason}`))
    for (const [fault, [behaviour, reason]] of Object.entries(faults)) {
      for (const [how, send] of Object.entries(ways)) {
        one.behave(behaviour)
        const before = [one.requests.length, two.requests.length]
        t.strictSame(servedBy(await send(gateway.client())), ['two/b', '2'], `${fault}, ${how}`)
        t.strictSame(
          [one.requests.length, two.requests.length],
          before.map((count) => count + 1),
        )
        const isFirstToken = reason === 'timeout' && how.includes('streamed')
        t.equal(reasons.at(-1), `one/a > two/b: ${isFirstToken ? 'first_token_timeout' : reason}`, `${fault}, ${how}`)
      }
    }
    t.equal(reasons.length, Object.keys(faults).length * Object.keys(ways).length)
    one.behave()
    for (const [how, send] of Object.entries(ways))
      t.strictSame(servedBy(await send(gateway.client())), ['one/a', '1'], how)
  })
}

t.test('a native response that a provider took and could not make is made by another', async (t) => {
  const both = Object.fromEntries(
    Object.entries(providers).map(([name, rest]) => [name, { ...rest, responses: 'native' }]),
  )
  const gateway = await serving(t, inOrder, { providers: both })
  const told = (code: string) =>
    up.responses({ ending: 'failed', items: [], extra: { error: { code, message: 'no' } } })
  const asked = [ways['a response'], ways['a streamed response']]
  one.behave(told('server_error'))
  for (const send of asked) t.strictSame(servedBy((await send?.(gateway.client())) as Response), ['two/b', '2'])
  one.behave(told('invalid_prompt'))
  two.reset()
  for (const stream of [false, true]) {
    const answer = await gateway.post('/v1/responses', { model: 'm', input: 'hi', stream })
    t.strictSame(servedBy(answer), ['one/a', '1'])
    t.match(await answer.text(), /invalid_prompt/)
  }
  t.equal(two.requests.length, 0, 'but not what the client got wrong')
  for (const upstream of [one, two]) upstream.behave(told('server_error'))
  const stream = await (await gateway.post('/v1/responses', { model: 'm', input: 'hi', stream: true })).text()
  t.match(stream, /event: response\.failed/, 'when all fail, the last says so as it does')
})

t.test('so it is when the first target refuses the connection', async (t) => {
  const gone = { kind, baseURL: `http://127.0.0.1:${await freePort()}/v1` }
  const gateway = await serving(t, inOrder, { providers: { ...providers, one: gone } })
  for (const send of Object.values(ways)) t.strictSame(servedBy(await send(gateway.client())), ['two/b', '2'])
})

t.test('what comes before the first token does not count: another target says it again', async (t) => {
  const gateway = await serving(t)
  one.behave(up.dropAfter(1))
  const { data, response } = await gateway
    .client()
    .chat.completions.create({ ...ask, stream: true })
    .withResponse()
  const ids = new Set<string>()
  const roles: unknown[] = []
  for await (const { id, choices } of data) {
    ids.add(id)
    if (choices[0]?.delta.role) roles.push(choices[0].delta.role)
  }
  t.equal(ids.size, 1, 'of the first one nothing is seen')
  t.strictSame(roles, ['assistant'])
  t.strictSame(servedBy(response), ['two/b', '2'])
})

t.test('after the first token no other target is asked: the stream breaks off', async (t) => {
  const gateway = await serving(t)
  for (const fault of [up.dropAfter(2), up.endWithoutDone(2), up.errorEventAfter(2)]) {
    one.behave(fault)
    const { data, response } = await gateway
      .client()
      .chat.completions.create({ ...ask, stream: true })
      .withResponse()
    t.strictSame(servedBy(response), ['one/a', '1'])
    let tokens = 0
    await t.rejects(async () => {
      for await (const { choices } of data) if (choices[0]?.delta.content) tokens++
    })
    t.ok(tokens > 0)
  }
  t.equal(two.requests.length, 0)
})

t.test('what the client got wrong is not tried elsewhere', async (t) => {
  const gateway = await serving(t)
  for (const status of [400, 404, 413, 422]) {
    one.behave(up.failWith(status))
    for (const [how, send] of Object.entries(ways)) {
      const error = await send(gateway.client()).catch((error: unknown) => error)
      t.match(error, { status }, `${status}, ${how}`)
      if (!(error instanceof OpenAI.APIError)) continue
      t.equal(error.headers?.get('x-signalbox-target'), 'one/a')
      t.equal(error.headers?.get('x-signalbox-attempts'), '1')
    }
  }
  t.equal(two.requests.length, 0)
})

t.test('a prompt that is too long for one target is tried at another where that is wanted', async (t) => {
  const tooLong = {
    message: 'Too many tokens',
    type: 'invalid_request_error',
    param: 'messages',
    code: 'context_length_exceeded',
  }
  one.behave(up.failWith(400, { error: tooLong }))
  const usual = await serving(t)
  await t.rejects(usual.client().chat.completions.create(ask), { status: 400, code: tooLong.code })
  const wanted = await serving(t, { ...inOrder, fallback: { on: ['context_length'] } })
  await wanted.client().chat.completions.create(ask)
  one.behave(up.failWith(500))
  await t.rejects(wanted.client().chat.completions.create(ask), { status: 502, code: 'upstream_error' })
  t.equal(two.requests.length, 1)
})

t.test('a client that has left costs no other target', async (t) => {
  const gateway = await serving(t, { targets: [{ model: 'three/slow' }, { model: 'two/b', priority: 1 }] })
  for (const [n, stream] of [false, true].entries()) {
    three.behave(up.hang())
    const controller = new AbortController()
    const sent = gateway.post('/v1/chat/completions', { ...ask, stream }, { signal: controller.signal }).catch(() => {})
    const { closed } = await three.request(n)
    controller.abort()
    await sent
    await closed
  }
  await gateway.close()
  t.equal(two.requests.length, 0)
  t.strictSame(
    gateway.requestLines().map(({ outcome, target }) => [outcome, target]),
    [
      ['client_closed', 'three/slow'],
      ['client_closed', 'three/slow'],
    ],
  )
})

t.test('when all fail the client is told the limit, and when to come back', async (t) => {
  const targets = [{ model: 'one/a' }, { model: 'two/b', priority: 1 }, { model: 'three/c', priority: 2 }]
  const gateway = await serving(t, { targets })
  one.behave(up.failWith(500))
  two.behave(up.failWith(429, undefined, { 'retry-after': '7' }))
  three.behave(up.failWith(503))
  for (const stream of [false, true]) {
    const answer = await gateway.post('/v1/chat/completions', { ...ask, stream })
    t.equal(answer.status, 429)
    t.equal(answer.headers.get('retry-after'), '7')
    t.strictSame(servedBy(answer), ['two/b', '5'])
    t.match(await answer.json(), { error: { code: 'rate_limit_exceeded' } })
  }
  t.strictSame(
    [one, two, three].map(({ requests }) => requests.length / 2),
    [1, 1, 3],
    'only the last is asked again: the others had one to go on to',
  )
  t.strictSame(
    gateway.requestLines().map(({ target }) => target),
    ['two/b', 'two/b'],
  )
})

t.test('requests are shared out by weight within a priority', async (t) => {
  const targets = [{ model: 'one/a', weight: 3 }, { model: 'two/b' }, { model: 'three/c', priority: 1 }]
  const gateway = await serving(t, { targets })
  const client = gateway.client()
  const count = 400
  for (let n = 0; n < count; n += 10) {
    await Promise.all(Array.from({ length: 10 }, () => client.chat.completions.create(ask)))
  }
  // Seven standard deviations.
  const bound = 7 * Math.sqrt(count * 0.75 * 0.25)
  t.ok(Math.abs(one.requests.length - count * 0.75) < bound, `${one.requests.length} of ${count}`)
  t.equal(one.requests.length + two.requests.length, count)
  t.equal(three.requests.length, 0)
})

t.test('a conversation stays with its target on every replica, and moves only when that goes', async (t) => {
  const targets = [{ model: 'one/a' }, { model: 'two/b', weight: 2 }, { model: 'three/c' }]
  const [here, there] = await Promise.all([serving(t, { targets }), serving(t, { targets: [...targets].reverse() })])
  const without = await serving(t, { targets: targets.slice(0, 2) })
  const homes = async (gateway: Gateway): Promise<(string | null)[]> => {
    const asked = Array.from({ length: 60 }, async (_, n) => {
      const headers = { 'x-conversation-id': `c${n}` }
      return servedBy(await gateway.post('/v1/chat/completions', ask, { headers }))[0] ?? null
    })
    return Promise.all(asked)
  }
  const first = await homes(here)
  t.equal(new Set(first).size, 3)
  t.strictSame(await homes(there), first)
  t.strictSame(await homes(here), first, 'and it comes back')
  const after = await homes(without)
  t.strictSame(
    after.filter((_, n) => first[n] !== 'three/c'),
    first.filter((home) => home !== 'three/c'),
  )
})

t.test('so do responses that go on from each other, and requests with one prompt_cache_key', async (t) => {
  const targets = [{ model: 'one/a' }, { model: 'two/b' }, { model: 'three/c' }]
  const gateway = await serving(t, { targets })
  const seen = new Set<string>()
  for (let n = 0; n < 12; n++) {
    const thread = new Set<string | null>()
    let previous: string | undefined
    for (let turn = 0; turn < 4; turn++) {
      const answer = await gateway.post('/v1/responses', { model: 'm', input: 'hello', previous_response_id: previous })
      thread.add(answer.headers.get('x-signalbox-target'))
      previous = ((await answer.json()) as { id: string }).id
    }
    t.equal(thread.size, 1)
    seen.add(String([...thread][0]))
  }
  t.ok(seen.size > 1)
  const cached = await Promise.all(
    Array.from({ length: 12 }, async () =>
      servedBy(await gateway.post('/v1/chat/completions', { ...ask, prompt_cache_key: 'docs' })).join(),
    ),
  )
  t.equal(new Set(cached).size, 1)
})

t.test('the least busy is asked', async (t) => {
  const gateway = await serving(t, { targets: [{ model: 'two/b' }, { model: 'three/c' }], choose: 'least-busy' })
  const gates = [up.gated(['a', 'b']), up.gated(['a', 'b'])] as const
  two.behave(gates[0].behaviour)
  three.behave(gates[1].behaviour)
  const open = Array.from({ length: 6 }, () => gateway.post('/v1/chat/completions', { ...ask, stream: true }))
  await Promise.all([two.request(2), three.request(2)])
  for (const gate of gates) gate.release(30)
  for (const answer of open) await (await answer).text()
  t.strictSame([two.requests.length, three.requests.length], [3, 3])
})

t.test('the fastest is asked', async (t) => {
  const gateway = await serving(t, { targets: [{ model: 'two/b' }, { model: 'three/c' }], choose: 'latency' })
  two.behave(up.completion({ firstDelayMs: 400 }))
  const client = gateway.client()
  for (let n = 0; n < 60; n++) await client.chat.completions.create(ask)
  // One trial, and 5 % drawn.
  t.ok(two.requests.length >= 1 && two.requests.length < 20, `${two.requests.length} of 60 to the slow one`)
})

t.test('the deadline of a model is for all its targets together, and for the whole stream', async (t) => {
  const targets = [{ model: 'two/b' }, { model: 'three/c', priority: 1 }]
  const gateway = await serving(t, { targets, deadline: '1s' })
  two.behave(up.hang())
  const answer = await gateway.post('/v1/chat/completions', ask)
  t.equal(answer.status, 504)
  t.match(await answer.json(), { error: { code: 'deadline_exceeded' } })
  const gate = up.gated(['a', 'b', 'c'])
  gate.release(2)
  two.behave(gate.behaviour)
  const stream = await (await gateway.post('/v1/chat/completions', { ...ask, stream: true })).text()
  t.match(stream, /"content":"a".*"code":"deadline_exceeded"/s)
  t.notMatch(stream, '[DONE]')
  t.equal(three.requests.length, 0)
})

t.test('only what has served is paid for', async (t) => {
  const prices = (input: number) => ({ prices: { input, output: input } })
  const catalog = { 'one/a': prices(1000), 'two/b': prices(1) }
  const gateway = await serving(t, inOrder, { catalog })
  const told: unknown[] = []
  gateway.hooks.on('onCompletion', ({ provider, usage, costUsd }) =>
    told.push([provider, costUsd === (usage?.total_tokens ?? 0) / 1e6]),
  )
  one.behave(up.failWith(500))
  for (const send of [ways.whole, ways.streamed, ways.embeddings]) await send?.(gateway.client())
  t.strictSame(told, [
    ['two', true],
    ['two', true],
    ['two', true],
  ])
})

t.test('a fallback is in the log and among the metrics', async (t) => {
  const gateway = await serving(t)
  one.behave(up.failWith(503))
  await gateway.client().chat.completions.create(ask)
  const [line] = gateway.logs.filter(({ msg }) => msg === 'fell back to another target')
  t.match(line, { level: 30, model: 'm', from: 'one/a', to: 'two/b', reason: 'server_error', requestId: /^req_/ })
  t.match(gateway.requestLines(), [{ target: 'two/b', status: 200 }])
  const labels = { model: 'm', from: 'one/a', to: 'two/b', reason: 'server_error' }
  t.equal(sumOf(await scraped(gateway.url), 'signalbox_fallbacks_total', labels), 1)
})

t.test('of one target, and of a wildcard, it is told who served; of what no model answered, it is not', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const answer = await gateway.post('/v1/chat/completions', { ...ask, model: 'two/any' })
  t.strictSame(servedBy(answer), ['two/any', '1'])
  for (const path of ['/v1/models', '/health']) t.strictSame(servedBy(await fetch(gateway.url + path)), [null, null])
  t.strictSame(servedBy(await gateway.post('/v1/chat/completions', { ...ask, model: 'nobody' })), [null, null])
})

t.test('an agent tells all the attempts of its run', async (t) => {
  const gateway = await serving(t, inOrder, { agents: { helper: { model: 'm', system: 'Be brief.' } } })
  one.behave(up.failWith(500))
  const answer = await gateway.post('/v1/chat/completions', { ...ask, model: 'helper' })
  t.strictSame(servedBy(answer), ['two/b', '2'])
})

t.test(
  'what is not known yet is not told: a head that is sent before the first token, a response in the background',
  async (t) => {
    const targets = [{ model: 'two/b' }, { model: 'three/c', priority: 1 }]
    const gateway = await serving(
      t,
      { targets },
      { server: { keepAlive: '50ms' }, conversations: { lockTimeout: '10ms' } },
    )
    two.behave(async (request, exchange) => {
      await exchange.sleep(200)
      await up.failWith(500)(request, exchange)
    })
    const late = await gateway.post('/v1/chat/completions', { ...ask, stream: true })
    t.strictSame(servedBy(late), [null, null])
    t.match(await late.text(), /\[DONE\]/, 'and until then another target can be asked')
    t.match(gateway.requestLines(), [{ target: 'three/c', outcome: 'ok' }])
    t.strictSame(servedBy(await gateway.post('/v1/responses', { model: 'm', input: 'hi', background: true })), [
      null,
      null,
    ])
  },
)

t.test('when no target takes requests: 503 at once, with the shortest wait', async (t) => {
  const [a, b] = [fake('a'), fake('b')]
  const server = new OaiServer({
    entries: [{ model: 'm', client: plan({ targets: [{ client: a.client }, { client: b.client }] }) }],
  })
  a.close(9000)
  b.close(4000)
  const send = (stream: boolean): Promise<Response> =>
    server.handle(
      new Request('http://localhost/v1/chat/completions', { method: 'POST', body: JSON.stringify({ ...ask, stream }) }),
    )
  for (const stream of [false, true]) {
    const answer = await send(stream)
    t.equal(answer.status, 503)
    t.equal(answer.headers.get('retry-after'), '4')
    t.strictSame(servedBy(answer), [null, '0'])
    t.match(await answer.json(), { error: { code: 'no_target_available', type: 'server_error' } })
  }
  b.close()
  t.equal((await send(false)).status, 200)
  t.strictSame([a.asked, b.asked], [0, 1])
})
