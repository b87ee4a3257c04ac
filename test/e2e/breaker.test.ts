/** A provider that is down, and the breaker before it, through the service, with OpenAI's own client. */
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { type Gateway, startGateway } from '../gateway.ts'
import { scraped, sumOf } from '../scrape.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const { baseURL } = upstream
const messages = [{ role: 'user' as const, content: 'hi' }]

const start = (t: Test, breaker: up.Json = {}, provider: up.Json = {}): Promise<Gateway> =>
  startGateway(t, {
    config: {
      providers: { lab: { kind: 'openai-compatible', baseURL, retries: { max: 0 }, breaker, ...provider } },
      models: {
        fast: { targets: [{ model: 'lab/small' }] },
        'also-fast': { targets: [{ model: 'lab/small' }] },
        large: { targets: [{ model: 'lab/large' }] },
        'lab/*': { targets: [{ model: 'lab/*' }] },
      },
      agents: { helper: { model: 'fast' } },
    },
  })

const drained = async (stream: Promise<AsyncIterable<unknown>>): Promise<void> => {
  for await (const _event of await stream);
}

const ways: Record<string, (client: OpenAI, model?: string) => Promise<unknown>> = {
  complete: (client, model = 'fast') => client.chat.completions.create({ model, messages }),
  stream: (client, model = 'fast') => drained(client.chat.completions.create({ model, messages, stream: true })),
  embed: (client, model = 'fast') => client.embeddings.create({ model, input: 'x' }),
  response: (client, model = 'fast') => client.responses.create({ model, input: 'hi' }),
  streamedResponse: (client, model = 'fast') => drained(client.responses.create({ model, input: 'hi', stream: true })),
  agent: (client) => client.chat.completions.create({ model: 'helper', messages }),
}
const { complete = async () => undefined, stream = async () => undefined } = ways

const failing = async (ask: () => Promise<unknown>, times: number): Promise<void> => {
  for (let n = 0; n < times; n++) await ask().catch(() => undefined)
}

for (const responses of ['translated', 'native']) {
  t.test(`while it is open nothing is sent, and everybody is told at once; responses ${responses}`, async (t) => {
    const gateway = await start(t, {}, { responses })
    const client = gateway.client()
    upstream.behave(up.failWith(500))
    await failing(() => complete(client), 10)
    t.equal(upstream.requests.length, 10)
    for (const [way, ask] of Object.entries(ways)) {
      const error = await ask(client).catch((error: unknown) => error)
      t.ok(error instanceof OpenAI.APIError, way)
      t.match(error, { status: 503, code: 'target_unavailable', type: 'server_error' }, way)
      const wait = Number(error instanceof OpenAI.APIError && error.headers?.get('retry-after'))
      t.ok(wait >= 1 && wait <= 10, `${way}: ${wait} s`)
    }
    await t.rejects(
      complete(client, 'also-fast'),
      { code: 'target_unavailable' },
      'it is the target’s, not the model’s',
    )
    await t.rejects(complete(client, 'lab/small'), { code: 'target_unavailable' }, 'by whichever name')
    t.equal(upstream.requests.length, 10)
    await t.rejects(complete(client, 'large'), { code: 'upstream_error' }, 'other targets are asked')
    await t.rejects(complete(client, 'lab/other'), { code: 'upstream_error' })
    t.equal(upstream.requests.length, 12)
  })
}

t.test('one request tries; when it is answered all is well again, and all of it is told', async (t) => {
  const gateway = await start(t, { minimumRequests: 3, openFor: '300ms' })
  const client = gateway.client()
  const changes: unknown[] = []
  gateway.hooks.on('onBreaker', (change) => changes.push(change))
  const state = async (): Promise<number | undefined> =>
    sumOf(await scraped(gateway.url), 'signalbox_breaker_state', { target: 'lab/small' })
  t.equal(await state(), 0)
  upstream.behave(up.failWith(500))
  await failing(() => complete(client), 3)
  t.equal(await state(), 2)

  const gate = Promise.withResolvers<void>()
  upstream.behave(async (request, exchange) => {
    await gate.promise
    await up.provider(request, exchange)
  })
  await sleep(310)
  const tries = complete(client)
  await upstream.request(3)
  t.equal(await state(), 1)
  for (const ask of Object.values(ways)) await t.rejects(ask(client), { code: 'target_unavailable' })
  t.equal(upstream.requests.length, 4, 'nobody else is let through meanwhile')
  gate.resolve()
  await tries
  for (const ask of Object.values(ways)) await t.resolves(ask(client))
  t.equal(await state(), 0)

  const target = { provider: 'lab', model: 'small' }
  t.strictSame(changes, [
    { target, state: 'open' },
    { target, state: 'half_open' },
    { target, state: 'closed' },
  ])
  const samples = await scraped(gateway.url)
  for (const state of ['open', 'half_open', 'closed']) {
    t.equal(sumOf(samples, 'signalbox_breaker_transitions_total', { target: 'lab/small', state }), 1)
  }
  const lines = gateway.logs.filter(({ msg }) => /breaker/.test(`${msg}`)).map(({ level, state }) => [level, state])
  t.strictSame(lines, [
    [40, 'open'],
    [30, 'half_open'],
    [30, 'closed'],
  ])
})

t.test('when the one that tries fails, it stays open', async (t) => {
  const client = (await start(t, { minimumRequests: 3, openFor: '100ms' })).client()
  upstream.behave(up.failWith(500))
  await failing(() => complete(client), 3)
  await sleep(110)
  await t.rejects(complete(client), { code: 'upstream_error' })
  await t.rejects(complete(client), { code: 'target_unavailable' })
  t.equal(upstream.requests.length, 4)
})

t.test('streams that break off half-way are failures', async (t) => {
  const client = (await start(t, { minimumRequests: 3 })).client()
  upstream.behave(up.dropAfter(2))
  await failing(() => stream(client), 3)
  await t.rejects(stream(client), { code: 'target_unavailable' })
  t.equal(upstream.requests.length, 3)
})

t.test('timeouts are, too', async (t) => {
  const client = (await start(t, { minimumRequests: 3 }, { timeouts: { firstToken: '30ms' } })).client()
  upstream.behave(up.hang())
  await failing(() => stream(client), 3)
  await t.rejects(stream(client), { code: 'target_unavailable' })
})

t.test('what clients get wrong, limits, and clients that leave are none', async (t) => {
  const client = (await start(t, { minimumRequests: 3 })).client()
  for (const status of [400, 404, 422, 429]) {
    upstream.behave(up.failWith(status))
    await failing(() => complete(client), 5)
    await failing(() => stream(client), 5)
  }
  t.equal(upstream.requests.length, 40)
  upstream.behave(up.hang())
  for (let n = 0; n < 5; n++) {
    const abort = new AbortController()
    const asking = client.chat.completions.create({ model: 'fast', messages }, { signal: abort.signal })
    asking.catch(() => undefined)
    const { closed } = await upstream.request(40 + n)
    abort.abort()
    await closed
  }
  upstream.behave()
  await t.resolves(complete(client))
})

t.test('it may be switched off', async (t) => {
  const client = (await start(t, { enabled: false })).client()
  upstream.behave(up.failWith(500))
  await failing(() => complete(client), 30)
  t.equal(upstream.requests.length, 30)
})

t.test('a reload that does not change its provider leaves it as it is', async (t) => {
  const breaker = { minimumRequests: 2, openFor: '1h' }
  const gateway = await start(t, breaker)
  const client = gateway.client({ maxRetries: 0 })
  upstream.behave(up.failWith(500))
  await failing(() => complete(client), 3)
  const provider = { kind: 'openai-compatible', baseURL, retries: { max: 0 }, breaker }
  const target = { target: 'lab/small' }
  const models = { fast: { targets: [{ model: 'lab/small' }] }, other: { targets: [{ model: 'lab/large' }] } }
  t.match(await gateway.reload({ providers: { lab: provider }, models }), { outcome: 'applied' })
  upstream.reset()
  await t.rejects(complete(client), { code: 'target_unavailable' })
  t.equal(upstream.requests.length, 0)
  t.equal(sumOf(await scraped(gateway.url), 'signalbox_breaker_state', target), 2)

  const changed = { ...provider, breaker: { ...breaker, minimumRequests: 3 } }
  t.match(await gateway.reload({ providers: { lab: changed }, models }), { outcome: 'applied' })
  await complete(client)
  t.equal(upstream.requests.length, 1, 'another provider begins anew')
  t.equal(sumOf(await scraped(gateway.url), 'signalbox_breaker_state', target), 0)
})

t.test('a provider that keeps a request until its deadline has failed', async (t) => {
  const gateway = await startGateway(t, {
    config: {
      providers: { lab: { kind: 'openai-compatible', baseURL, retries: { max: 0 }, breaker: { minimumRequests: 2 } } },
      models: { fast: { targets: [{ model: 'lab/small' }], deadline: '50ms' } },
    },
  })
  upstream.behave(up.hang())
  const client = gateway.client({ maxRetries: 0 })
  await failing(() => complete(client), 4)
  await t.rejects(complete(client), { code: 'target_unavailable' })
})
