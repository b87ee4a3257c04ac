import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { defineTool, type HookEvents } from '../../src/index.ts'
import { eventually } from '../core.ts'
import { CLIENT_KEY, type Gateway, type GatewayOptions, startGateway } from '../gateway.ts'
import { startRedis } from '../redis.ts'
import { scraped, sumOf } from '../scrape.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const messages = [{ role: 'user' as const, content: 'hi' }]
const usage = { prompt_tokens: 40, completion_tokens: 10, total_tokens: 50 }
/** USD per million tokens: the usage above costs a tenth of a cent. */
const prices = { input: 20, output: 20 }
const keyId = /^key_[\da-f]{16}$/

interface Limited extends GatewayOptions {
  key?: up.Json
  model?: up.Json
  gateway?: up.Json
}

/** A gateway with limits of its key, its model `fast`, and itself. */
async function limited(t: Test, { key, model, gateway: own, ...options }: Limited) {
  const gateway = await startGateway(t, {
    upstream,
    ...options,
    config: {
      auth: {
        keys: [
          { key: CLIENT_KEY, user: 'ann', ...(key && { limits: key }) },
          { key: 'sk-other-key', user: 'bob' },
        ],
      },
      models: {
        fast: { targets: [{ model: 'openai/small' }], ...(model && { limits: model }) },
        free: { targets: [{ model: 'openai/unpriced' }] },
      },
      catalog: { 'openai/small': { prices } },
      ...(own && { limits: own }),
      ...options.config,
    },
  })
  const refusals: HookEvents['onRateLimited'][] = []
  gateway.hooks.on('onRateLimited', (refusal) => refusals.push(refusal))
  const ask = (body: up.Json = {}, init?: RequestInit): Promise<Response> =>
    gateway.post('/v1/chat/completions', { model: 'fast', messages, ...body }, init)
  return { gateway, refusals, ask, client: gateway.client() }
}

/** Reads it to its end. */
const read = async (answer: Response): Promise<up.Json> => ({
  status: answer.status,
  text: await answer.text(),
  headers: Object.fromEntries(answer.headers),
})

/** What the key of the tests has left of its tokens. */
async function tokensLeft(ask: () => Promise<Response>): Promise<number> {
  const answer = await ask()
  await answer.text()
  return Number(answer.headers.get('x-ratelimit-remaining-tokens'))
}

const duration = /^(\d+m)?\d+(\.\d+)?s$|^\d+ms$/

t.test('every answer of a limited key tells what is left, in the headers of OpenAI', async (t) => {
  const { ask } = await limited(t, { key: { requestsPerMinute: 10, tokensPerMinute: 10_000 } })
  for (const [n, body] of [{}, { stream: true }].entries()) {
    const answer = await ask({ max_tokens: 100, ...body })
    await answer.text()
    t.match(Object.fromEntries(answer.headers), {
      'x-ratelimit-limit-requests': '10',
      'x-ratelimit-remaining-requests': String(9 - n),
      'x-ratelimit-reset-requests': duration,
      'x-ratelimit-limit-tokens': '10000',
      'x-ratelimit-remaining-tokens': /^9\d\d\d$/,
      'x-ratelimit-reset-tokens': duration,
    })
  }
  upstream.next(up.failWith(500))
  const failed = await ask()
  t.equal(failed.status, 502)
  t.equal(failed.headers.get('x-ratelimit-remaining-requests'), '7')
  const other = await ask({}, { headers: { authorization: 'Bearer sk-other-key' } })
  t.equal(other.headers.get('x-ratelimit-limit-requests'), null, 'nobody else is limited')
})

t.test('too many requests are a 429 as of OpenAI, before any provider is asked', async (t) => {
  const { ask, refusals, client } = await limited(t, { key: { requestsPerMinute: 1 } })
  await read(await ask())
  for (const body of [{}, { stream: true }]) {
    const { status, text, headers } = await read(await ask(body))
    t.equal(status, 429)
    t.match(JSON.parse(String(text)), {
      error: {
        message:
          /^Rate limit reached for fast, by this API key, on requests per min \(RPM\): Limit 1, Used 1, Requested 1\. Please try again in /,
        type: 'requests',
        param: null,
        code: 'rate_limit_exceeded',
      },
    })
    t.match(headers, { 'retry-after': '60', 'x-ratelimit-remaining-requests': '0' })
    t.notMatch(headers, { 'x-should-retry': 'false' })
  }
  const error = await client.chat.completions.create({ model: 'fast', messages }).catch((error: unknown) => error)
  t.ok(error instanceof OpenAI.RateLimitError)
  t.equal(upstream.requests.length, 1)
  t.match(refusals, Array(3).fill({ userId: 'ann', model: 'fast', limit: 'requests', scope: 'key' }))
})

t.test('every API counts: chats, responses, embeddings', async (t) => {
  const { client } = await limited(t, { key: { requestsPerMinute: 4 } })
  await client.chat.completions.create({ model: 'fast', messages })
  await client.responses.create({ model: 'fast', input: 'hi' })
  await client.responses.create({ model: 'fast', input: 'hi', background: true })
  await client.embeddings.create({ model: 'fast', input: 'hi' })
  const limited429 = { status: 429, code: 'rate_limit_exceeded' }
  await t.rejects(client.chat.completions.create({ model: 'fast', messages }), limited429)
  await t.rejects(client.responses.create({ model: 'fast', input: 'hi' }), limited429)
  await t.rejects(client.responses.create({ model: 'fast', input: 'hi', stream: true }), limited429)
  await t.rejects(client.embeddings.create({ model: 'fast', input: 'hi' }), limited429)
  await client.models.list()
})

t.test(
  'limits of a model and of the gateway are those of all keys together, and tell nobody what others use',
  async (t) => {
    for (const [scope, options] of Object.entries({
      model: { model: { requestsPerMinute: 2 } },
      gateway: { gateway: { requestsPerMinute: 2 } },
    })) {
      const { ask, refusals } = await limited(t, options)
      const other = { headers: { authorization: 'Bearer sk-other-key' } }
      await read(await ask())
      await read(await ask({}, other))
      for (const init of [{}, other]) {
        const { status, text } = await read(await ask({}, init))
        t.equal(status, 429)
        t.match(text, scope === 'model' ? /by the model, on/ : /by the gateway, on/)
        t.notMatch(text, 'Used')
      }
      t.match(refusals, Array(2).fill({ limit: 'requests', scope }))
      t.equal((await ask({ model: 'free' })).status, scope === 'model' ? 200 : 429)
    }
  },
)

t.test('tokens are reserved by what a request asks for, and settled by what it used', async (t) => {
  const { ask } = await limited(t, { key: { tokensPerMinute: 1000 } })
  const gate = up.gated(['one'])
  upstream.behave(gate.behaviour)
  const first = ask({ max_tokens: 900, stream: true })
  await upstream.request(0)
  const { status, text, headers } = await read(await ask({ max_tokens: 900 }))
  t.equal(status, 429)
  t.match(JSON.parse(String(text)), {
    error: { message: /tokens per min \(TPM\)/, type: 'tokens', code: 'rate_limit_exceeded' },
  })
  t.match(headers, { 'retry-after': /^\d+$/ })
  gate.release(10)
  await (await first).text()
  upstream.behave(up.completion({ usage }))
  t.ok((await tokensLeft(() => ask({ max_tokens: 1 }))) > 900)
  // Of the first one what its provider said, of this one what it said, too.
  t.ok((await tokensLeft(() => ask({ max_tokens: 1 }))) > 850)
})

t.test(
  'a request without a bound may have what is left of the limit; one that asks for more than the limit never fits',
  async (t) => {
    const { ask, client } = await limited(t, { key: { tokensPerMinute: 100 } })
    upstream.behave(up.completion({ usage }))
    t.equal((await read(await ask())).status, 200)
    const { status, text, headers } = await read(await ask({ max_tokens: 200 }))
    t.equal(status, 429)
    t.match(text, /^\{"error":\{"message":"Request too large for fast/)
    t.match(headers, { 'x-should-retry': 'false' })
    const long = { messages: [{ role: 'user', content: 'word '.repeat(200) }], max_tokens: undefined }
    t.match((await read(await ask(long))).text, /Request too large for fast/, 'nor does a prompt that is, alone')
    const before = upstream.requests.length
    await t.rejects(client.chat.completions.create({ model: 'fast', messages, max_tokens: 200 }, { maxRetries: 3 }))
    t.equal(upstream.requests.length, before)
  },
)

t.test(
  'what is settled: by the provider, by what came when a client left, and by nothing when nothing was billed',
  async (t) => {
    const { ask, gateway } = await limited(t, { key: { tokensPerMinute: 10_000 }, agents: true } as Limited)
    const used = async (): Promise<number> => {
      upstream.next(up.completion({ usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } }))
      return 10_000 - (await tokensLeft(() => ask({ max_tokens: 0 })))
    }
    /** Of the request that asks. */
    const own = await used()
    upstream.next(up.completion({ usage }))
    await read(await ask())
    t.equal(await used(), 50 + own, 'whole')
    upstream.next(up.completion({ usage }))
    await read(await ask({ stream: true }))
    t.equal(await used(), 100 + own, 'streamed')
    for (const failure of [up.failWith(500), up.failWith(400), up.failWith(429), up.dropAfter(0)]) {
      upstream.next(failure)
      await read(await ask())
    }
    t.equal(await used(), 100 + own, 'failed')
    upstream.next(up.completion({ tokens: Array(100).fill(' word'), delayMs: 20 }))
    const over = new Promise<HookEvents['onResponse']>((resolve) => gateway.hooks.once('onResponse', resolve))
    const controller = new AbortController()
    const answer = await ask({ stream: true }, { signal: controller.signal })
    const reader = answer.body?.getReader()
    await reader?.read()
    controller.abort()
    const { usage: estimated } = await over
    t.equal(estimated?.estimated, true)
    t.equal(await used(), 100 + (estimated?.total_tokens ?? 0) + own, 'left')
    upstream.next(up.completion({ usage: false }))
    await read(await ask({ max_tokens: 500 }))
    const guessed = (await used()) - 100 - (estimated?.total_tokens ?? 0) - own
    t.ok(guessed >= 500 && guessed < 550, 'a provider that never said: as it was reserved')
  },
)

t.test('a run of an agent is one request, with the tokens and the cost of all of its steps', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const { gateway, ask } = await limited(t, {
    key: { requestsPerMinute: 10, tokensPerMinute: 10_000, usdPerDay: 1 },
    extension: { tools: [clock] },
    config: { agents: { helper: { model: 'fast', tools: ['clock'] } } },
  })
  upstream.next(up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage }), up.completion({ usage }))
  await read(await ask({ model: 'helper' }))
  const { headers } = await read(await ask({ max_tokens: 0 }))
  t.match(headers, { 'x-ratelimit-remaining-requests': '8' })
  const { today } = await usageOf(gateway)
  t.match(today, { requests: 2 })
  t.ok(today.tokens > 100 && today.tokens < 200 && today.usd >= 0.002, JSON.stringify(today))
})

t.test('what an agent asks counts for its model, too', async (t) => {
  const { gateway, ask, refusals } = await limited(t, {
    model: { requestsPerMinute: 3, tokensPerMinute: 10_000 },
    config: { agents: { helper: { model: 'fast', limits: { requestsPerMinute: 2 } } } },
  })
  const uses: HookEvents['onLimits'][] = []
  gateway.hooks.on('onLimits', (use) => uses.push(use))
  for (let n = 0; n < 2; n++) t.equal((await read(await ask({ model: 'helper' }))).status, 200)
  t.match(uses[1]?.uses, [
    { limit: 'requests', scope: 'model', id: 'helper', used: 2, cap: 2 },
    { limit: 'requests', scope: 'model', id: 'fast', used: 2, cap: 3 },
    { limit: 'tokens', scope: 'model', id: 'fast' },
  ])
  t.equal((await read(await ask({ model: 'helper' }))).status, 429, 'of its own')
  t.equal((await read(await ask())).status, 200)
  t.equal((await read(await ask())).status, 429, 'of the model, of which the agent has taken some')
  t.match(refusals, [{ model: 'helper' }, { model: 'fast' }])
})

/** Of the one key that has limits. */
async function usageOf(gateway: Gateway) {
  const principal = gateway.app.authPlugin?.verify(new Headers({ authorization: `Bearer ${CLIENT_KEY}` }))
  const id = (await principal)?.keyId ?? ''
  t.match(id, keyId)
  return gateway.app.limiter.usageOf(id)
}

t.test('requests at the same time are limited until their last byte', async (t) => {
  const { ask, client } = await limited(t, { key: { concurrentRequests: 1 } })
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(1)
  const open = await ask({ stream: true })
  const { status, text, headers } = await read(await ask())
  t.equal(status, 429)
  t.match(JSON.parse(String(text)), { error: { code: 'concurrency_limit_exceeded' } })
  t.match(headers, { 'retry-after': '1' })
  const retried = client.chat.completions.create({ model: 'fast', messages }, { maxRetries: 5 })
  gate.release(10)
  await open.text()
  t.ok(await retried, 'SDKs try again by themselves')
})

t.test('what is made in the background has its slot until it is made', async (t) => {
  const { client, ask, gateway } = await limited(t, { key: { concurrentRequests: 1 } })
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  await client.responses.create({ model: 'fast', input: 'hi', background: true })
  t.equal((await read(await ask())).status, 429)
  gate.release(10)
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
  t.equal((await read(await ask())).status, 200)
})

t.test('a stream that can be resumed has its slot until it is made, whoever is there', async (t) => {
  const { ask, gateway } = await limited(t, { key: { concurrentRequests: 1, tokensPerMinute: 10_000 } })
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(1)
  const controller = new AbortController()
  const headers = { 'x-signalbox-resumable': 'true' }
  const answer = await ask({ stream: true }, { headers, signal: controller.signal })
  await answer.body?.getReader().read()
  controller.abort()
  await eventually(() => gateway.requestLines().length === 1)
  t.equal((await read(await ask())).status, 429)
  gate.release(10)
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
  t.equal((await read(await ask())).status, 200)
  const { today } = await usageOf(gateway)
  t.equal(today.requests, 2)
})

t.test('a budget that is used up is a 429 that nobody retries', async (t) => {
  const { ask, client, refusals, gateway } = await limited(t, { key: { usdPerDay: 0.0025 } })
  upstream.behave(up.completion({ usage }))
  for (let n = 0; n < 2; n++) t.equal((await read(await ask({ max_tokens: 10 }))).status, 200)
  const { status, text, headers } = await read(await ask({ max_tokens: 40 }))
  t.equal(status, 429)
  t.match(JSON.parse(String(text)), {
    error: {
      message: /^The budget of this API key is used up, in USD per day: Limit 0.0025, Used 0.0020 USD/,
      type: 'insufficient_quota',
      code: 'insufficient_quota',
    },
  })
  t.match(headers, { 'x-should-retry': 'false', 'retry-after': /^\d+$/ })
  await t.rejects(client.chat.completions.create({ model: 'fast', messages, max_tokens: 40 }, { maxRetries: 3 }), {
    code: 'insufficient_quota',
  })
  t.equal(refusals.length, 2, 'it was tried once')
  t.match(refusals, [{ limit: 'usd_day', scope: 'key' }])
  t.match(await usageOf(gateway), { today: { requests: 2, tokens: 100, usd: 0.002 } })
})

t.test('who may have to wait for what is under way only is told to try again at once', async (t) => {
  for (const [key, unit] of [
    [{ tokensPerMinute: 200 }, 'tokens per min \\(TPM\\)'],
    [{ usdPerDay: 0.004 }, 'USD per day'],
  ] as const) {
    const { ask, client } = await limited(t, { key })
    const gate = up.gated(['one', ' two'])
    upstream.next(gate.behaviour)
    gate.release(1)
    const open = await ask({ stream: true, max_tokens: 50 })
    const { status, text, headers } = await read(await ask({ max_tokens: 50 }))
    t.equal(status, 429)
    t.match(JSON.parse(String(text)), {
      error: {
        message: new RegExp(
          `^What is under way for fast, by this API key, may need all that is left of ${unit}: Limit`,
        ),
        code: 'rate_limit_exceeded',
      },
    })
    t.match(headers, { 'retry-after': '1', 'x-should-retry': undefined })
    const retried = client.chat.completions.create({ model: 'fast', messages, max_tokens: 50 }, { maxRetries: 5 })
    gate.release(10)
    await open.text()
    t.ok(await retried, 'SDKs try again by themselves')
  }
})

t.test('a model whose price is not known is charged to no budget, and says so', async (t) => {
  const { ask } = await limited(t, { key: { usdPerMonth: 0.000_001 } })
  for (let n = 0; n < 2; n++) {
    const { status, headers } = await read(await ask({ model: 'free' }))
    t.equal(status, 200)
    t.match(headers, { 'x-signalbox-warning': /the price of this model is not known/ })
  }
})

t.test('of several targets the dearest is reserved for', async (t) => {
  const { ask } = await limited(t, {
    key: { usdPerDay: 0.01 },
    config: {
      models: { fast: { targets: [{ model: 'openai/small' }, { model: 'openai/large', weight: 0 }] } },
      catalog: { 'openai/small': { prices }, 'openai/large': { prices: { input: 1, output: 20_000 } } },
    },
  })
  t.equal((await read(await ask({ max_tokens: 1 }))).status, 429)
})

t.test('without a limit nobody is asked, and nothing is told', async (t) => {
  const { ask, gateway } = await limited(t, {})
  const asked = t.capture(gateway.app.limiter, 'reserve')
  const { headers } = await read(await ask())
  t.notOk(Object.keys(headers as object).some((name) => name.startsWith('x-ratelimit')))
  t.strictSame(asked(), [])
})

t.test('the usage of all keys is counted where that is wanted', async (t) => {
  const { ask, gateway } = await limited(t, { gateway: { countUsage: true } })
  upstream.behave(up.completion({ usage }))
  await read(await ask({}, { headers: { authorization: 'Bearer sk-other-key' } }))
  t.match(await gateway.app.limiter.usageOf('bob'), { today: { requests: 1, tokens: 50, usd: 0.001 } })
})

t.test("a plugin of one's own may limit, too; what is no limit lets nobody in", async (t) => {
  let limits: object = { requestsPerMinute: 1 }
  const { ask } = await limited(t, { auth: { verify: () => ({ userId: 'ann', keyId: 'k1', limits }) } })
  t.equal((await read(await ask())).status, 200)
  t.equal((await read(await ask())).status, 429)
  limits = { requestsPerMinute: 'many' }
  t.equal((await read(await ask())).status, 401)
})

t.test("metrics tell what was refused, and how much of a model's and the gateway's limits is used", async (t) => {
  const { ask, gateway } = await limited(t, {
    key: { requestsPerMinute: 2 },
    model: { requestsPerMinute: 10, concurrentRequests: 4 },
    gateway: { usdPerDay: 1 },
  })
  for (let n = 0; n < 3; n++) await read(await ask())
  const samples = await scraped(gateway.url)
  t.equal(sumOf(samples, 'signalbox_rate_limited_total', { limit: 'requests', scope: 'key' }), 1)
  t.equal(sumOf(samples, 'signalbox_limit_used_ratio', { limit: 'requests', scope: 'model', model: 'fast' }), 0.2)
  t.equal(sumOf(samples, 'signalbox_limit_used_ratio', { limit: 'concurrency', scope: 'model', model: 'fast' }), 0)
  const ofDay = sumOf(samples, 'signalbox_limit_used_ratio', { limit: 'usd_day', scope: 'gateway', model: '' })
  t.ok(ofDay !== undefined && ofDay > 0 && ofDay < 1)
  t.equal(sumOf(samples, 'signalbox_limit_used_ratio', { scope: 'key' }), undefined)
  t.equal(sumOf(samples, 'signalbox_errors_total', { code: 'rate_limit_exceeded' }), 1)
})

t.test('while Redis is away limits are kept by this process, or refuse, as the configuration says', async (t) => {
  const redis = await startRedis(t)
  const store = { kind: 'redis', url: redis.url, commandTimeout: '300ms' }
  const key = { requestsPerMinute: 2, usdPerDay: 1 }
  const local = await limited(t, { key, config: { store } })
  const closed = await limited(t, { key, config: { store }, gateway: { whenStoreIsDown: { budgets: 'closed' } } })
  t.equal((await read(await closed.ask())).status, 200)
  await redis.kill()
  const startedAt = performance.now()
  for (const status of [200, 200, 429]) t.equal((await read(await local.ask())).status, status)
  const { status, text, headers } = await read(await closed.ask())
  t.equal(status, 503)
  t.match(text, 'store_unavailable')
  t.match(headers, { 'retry-after': '1' })
  t.ok(performance.now() - startedAt < 3000)
  const other = { headers: { authorization: 'Bearer sk-other-key' } }
  t.equal((await read(await closed.ask({}, other))).status, 200, 'who has no budget is served')
})
