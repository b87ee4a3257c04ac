/** Providers that fail, through the service, with OpenAI's own client, which does not retry itself. */
import type OpenAI from 'openai'
import { APIError } from 'openai'
import t, { type Test } from 'tap'
import { defineTool } from '../../src/index.ts'
import { eventually } from '../core.ts'
import { type GatewayOptions, startGateway } from '../gateway.ts'
import { scraped, sumOf } from '../scrape.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const kind = 'openai-compatible'
const { baseURL } = upstream
const messages = [{ role: 'user' as const, content: 'hi' }]

/** One provider, and as it is without a configuration, save for what is given; with quick pauses. */
const start = (t: Test, provider: up.Json = {}, more: up.Json = {}, options: GatewayOptions = {}) =>
  startGateway(t, {
    ...options,
    config: {
      providers: { lab: { kind, baseURL, retries: { baseDelay: '5ms' }, ...provider } },
      models: { fast: { targets: [{ model: 'lab/small' }], ...more }, 'lab/*': { targets: [{ model: 'lab/*' }] } },
      agents: { helper: { model: 'fast', tools: ['clock'] } },
    },
    extension: { tools: [defineTool({ name: 'clock', execute: () => 'noon' })] },
  })

/** Reads it to its end. */
const drained = async (stream: Promise<AsyncIterable<unknown>>): Promise<void> => {
  for await (const _event of await stream);
}

const ways: Record<string, (client: OpenAI, model: string) => Promise<unknown>> = {
  'a completion': (client, model) => client.chat.completions.create({ model, messages }),
  'a stream': (client, model) => drained(client.chat.completions.create({ model, messages, stream: true })),
  embeddings: (client, model) => client.embeddings.create({ model, input: 'x' }),
  'a response': (client, model) => client.responses.create({ model, input: 'hi' }),
  'a streamed response': (client, model) => drained(client.responses.create({ model, input: 'hi', stream: true })),
  'an agent': (client) => client.chat.completions.create({ model: 'helper', messages }),
  'an agent, streamed': (client) =>
    drained(client.chat.completions.create({ model: 'helper', messages, stream: true })),
}

for (const responses of ['translated', 'native'] as const) {
  t.test(`what is asked again, with responses ${responses}`, async (t) => {
    // Two of three calls fail, and as many are retries: more than a breaker, and the budget, would let happen.
    const retries = { baseDelay: '5ms', budget: { ratio: 2 } }
    const gateway = await start(t, { responses, retries, breaker: { enabled: false } })
    const client = gateway.client()
    for (const [way, ask] of Object.entries(ways)) {
      for (const model of ['fast', 'lab/any']) {
        upstream.reset()
        upstream.next(up.failWith(500), up.dropBeforeResponse())
        await t.resolves(ask(client, model), `${way} of ${model} is answered at last`)
        t.equal(upstream.requests.length, 3)
        const bodies = upstream.requests.map(({ rawBody }) => rawBody)
        t.equal(new Set(bodies).size, 1, 'each time the same was asked')
      }
    }
    t.strictSame(new Set(gateway.requestLines().map(({ status }) => status)), new Set([200]))
  })
}

t.test('a step of an agent in the middle of its run is asked again, alone', async (t) => {
  const client = (await start(t)).client()
  const calls = up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] })
  upstream.next(calls, up.failWith(503, undefined, { 'retry-after-ms': '1' }), up.completion({ text: 'It is noon.' }))
  const answer = await client.chat.completions.create({ model: 'helper', messages })
  t.equal(answer.choices[0]?.message.content, 'It is noon.')
  t.equal(upstream.requests.length, 3)
})

t.test('a provider with a format of its own is asked again, too', async (t) => {
  const anthropic = await startAnthropic()
  t.teardown(() => anthropic.close())
  const provider = { kind: 'anthropic', apiKey: 'k', baseURL: anthropic.baseURL }
  const client = (await start(t, provider)).client()
  for (const way of ['a completion', 'a stream']) {
    anthropic.reset()
    anthropic.next(up.failWith(529), up.failWith(500))
    await t.resolves(ways[way]?.(client, 'fast') ?? Promise.reject(), way)
    t.equal(anthropic.requests.length, 3)
  }
})

t.test('after two retries the client is told the failure', async (t) => {
  const client = (await start(t)).client()
  upstream.behave(up.failWith(500))
  for (const [way, ask] of Object.entries(ways)) {
    upstream.requests.length = 0
    await t.rejects(ask((await start(t)).client(), 'fast'), { message: /the upstream provider failed/ }, way)
    t.equal(upstream.requests.length, 3)
  }
  upstream.requests.length = 0
  upstream.behave(up.failWith(429))
  await t.rejects(ways['a completion']?.(client, 'fast') ?? Promise.resolve(), { code: 'rate_limit_exceeded' })
  t.equal(upstream.requests.length, 3)
})

t.test('what is not asked again', async (t) => {
  const client = (await start(t)).client()
  const refusals: [string, up.Behaviour][] = [
    ...[400, 401, 403, 404, 409, 413, 422].map((status): [string, up.Behaviour] => [`${status}`, up.failWith(status)]),
    ['no stream', up.notJson(200)],
    ['500 with x-should-retry', up.failWith(500, undefined, { 'x-should-retry': 'false' })],
    ['no credit', up.failWith(429, { error: { message: 'no', code: 'insufficient_quota' } })],
  ]
  for (const [what, behaviour] of refusals) {
    for (const way of ['a completion', 'a stream']) {
      upstream.reset()
      upstream.behave(behaviour)
      await t.rejects(ways[way]?.(client, 'fast') ?? Promise.resolve(), `${way}: ${what}`)
      t.equal(upstream.requests.length, 1, `${way}: ${what}`)
    }
  }
})

t.test('a stream of which something was delivered is not asked for again: it is told to be broken', async (t) => {
  const client = (await start(t)).client()
  upstream.behave(up.dropAfter(2))
  for (const way of ['a stream', 'a streamed response', 'an agent, streamed']) {
    upstream.requests.length = 0
    await t.rejects(ways[way]?.(client, 'fast') ?? Promise.resolve(), way)
    t.equal(upstream.requests.length, 1)
  }
})

t.test('a provider that says when is asked then', async (t) => {
  const client = (await start(t)).client()
  for (const [headers, least] of [
    [{ 'retry-after-ms': '300' }, 300],
    [{ 'retry-after': '1' }, 1000],
  ] as const) {
    for (const status of [429, 503, 500]) {
      upstream.reset()
      upstream.next(up.failWith(status, undefined, headers))
      await client.chat.completions.create({ model: 'fast', messages })
      const [first, second] = upstream.requests.map(({ receivedAt }) => receivedAt)
      t.ok(Number(second) - Number(first) >= least - 5, `${status}: ${Number(second) - Number(first)} ms`)
    }
  }
})

t.test('when it says a time after the deadline, the client is told instead', async (t) => {
  const client = (await start(t)).client()
  upstream.behave(up.failWith(429, undefined, { 'retry-after': '45' }))
  const error = await client.chat.completions.create({ model: 'fast', messages }).catch((error: unknown) => error)
  t.ok(error instanceof APIError && error.status === 429)
  t.equal((error as APIError).headers?.get('retry-after'), '45')
  t.equal(upstream.requests.length, 1)
})

t.test('a client that leaves in the pause ends it', async (t) => {
  const gateway = await start(t)
  const client = gateway.client()
  const slow = up.failWith(503, undefined, { 'retry-after': '20' })
  for (const stream of [false, true]) {
    upstream.reset()
    upstream.behave(slow)
    const abort = new AbortController()
    const paused = new Promise<void>((resolve) => gateway.hooks.once('onRetry', () => resolve()))
    const asking = client.chat.completions.create({ model: 'fast', messages, stream }, { signal: abort.signal })
    asking.catch(() => undefined)
    await paused
    const left = new Promise<up.Json>((resolve) => gateway.hooks.once('onResponse', (told) => resolve({ ...told })))
    abort.abort()
    await t.rejects(Promise.resolve(asking), { message: 'Request was aborted.' })
    t.match(await left, { outcome: 'client_closed', status: 499 })
    t.equal(upstream.requests.length, 1)
    t.equal(gateway.app.oaiServer.openRequests, 0)
  }
})

t.test('a model may have retries of its own', async (t) => {
  const client = (await start(t, {}, { retries: { max: 1 } })).client()
  upstream.behave(up.failWith(500))
  await t.rejects(client.chat.completions.create({ model: 'fast', messages }))
  t.equal(upstream.requests.length, 2)
  await t.rejects(client.chat.completions.create({ model: 'lab/small', messages }))
  t.equal(upstream.requests.length, 5, 'the other has its provider’s')
})

t.test('an outage is not multiplied', async (t) => {
  const ask = async (client: OpenAI): Promise<unknown> =>
    client.chat.completions.create({ model: 'fast', messages }).catch(() => undefined)

  t.test('by retries: a fifth of the requests, and one per second of ten', async (t) => {
    const gateway = await start(t, { breaker: { enabled: false } })
    const client = gateway.client()
    upstream.behave(up.failWith(500))
    for (let wave = 0; wave < 10; wave++) await Promise.all(Array.from({ length: 20 }, () => ask(client)))
    const { length } = upstream.requests
    t.ok(length > 210 && length <= 250, `200 requests were ${length} calls`)
    const samples = await scraped(gateway.url)
    t.equal(sumOf(samples, 'signalbox_retries_total', { provider: 'lab', model: 'fast' }), length - 200)
    t.ok(Number(sumOf(samples, 'signalbox_retries_denied_total', { provider: 'lab', model: 'fast' })) >= 100)
  })

  t.test('and with a breaker hardly anything is asked at all', async (t) => {
    const client = (await start(t)).client()
    upstream.behave(up.failWith(500))
    for (let wave = 0; wave < 20; wave++) await Promise.all(Array.from({ length: 10 }, () => ask(client)))
    t.ok(upstream.requests.length <= 30, `200 requests were ${upstream.requests.length} calls`)
  })
})

t.test('each retry is told: by hooks, in the log, counted', async (t) => {
  const gateway = await start(t)
  const told: object[] = []
  gateway.hooks.on('onRetry', ({ delayMs, ...retry }) => told.push({ ...retry, isSoon: delayMs >= 0 && delayMs <= 10 }))
  upstream.next(up.failWith(500), up.dropBeforeResponse())
  const answer = await gateway.client().chat.completions.create({ model: 'fast', messages }).withResponse()
  const requestId = answer.response.headers.get('x-request-id')
  const retry = { requestId, model: 'fast', target: { provider: 'lab', model: 'small' }, isSoon: true }
  t.strictSame(told, [
    { ...retry, attempt: 1, reason: 'upstream_error' },
    { ...retry, attempt: 2, reason: 'upstream_connection_lost' },
  ])
  const lines = gateway.logs.filter(({ msg }) => msg === 'a provider has failed and is asked again')
  t.match(lines, [
    { requestId, attempt: 1 },
    { requestId, attempt: 2 },
  ])
  const samples = await scraped(gateway.url)
  for (const reason of ['upstream_error', 'upstream_connection_lost']) {
    t.equal(sumOf(samples, 'signalbox_retries_total', { provider: 'lab', model: 'fast', reason }), 1)
  }
  t.equal(sumOf(samples, 'signalbox_upstream_attempts_total', { model: 'fast' }), 3, 'each attempt is counted')
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
})
