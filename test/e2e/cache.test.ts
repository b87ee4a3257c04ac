import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { HookEvents } from '../../src/hooks/events.ts'
import { CLIENT_KEY, type GatewayOptions, startGateway } from '../gateway.ts'
import { startRedis } from '../redis.ts'
import { until } from '../redis-server.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const messages = [{ role: 'user' as const, content: 'hi' }]
const ask = { model: 'faq', messages }
const kind = 'openai-compatible'
const other = { user: 'bob', key: 'sk-bob-to-gateway' }
const auth = { keys: [{ key: CLIENT_KEY, user: 'alice' }, other] }

/** A gateway whose model `faq` has a cache. */
async function caching(t: Test, cache: up.Json = {}, { config, ...options }: GatewayOptions = {}) {
  const gateway = await startGateway(t, {
    ...options,
    config: {
      auth,
      providers: { lab: { kind, baseURL: upstream.baseURL, retries: { max: 0 }, breaker: { enabled: false } } },
      models: {
        faq: { targets: [{ model: 'lab/small' }], cache: { ttl: '1h', ...cache } },
        plain: { targets: [{ model: 'lab/small' }] },
      },
      catalog: { 'lab/small': { prices: { input: 1, output: 10 } } },
      ...config,
    },
  })
  const outcomes: string[] = []
  const completions: HookEvents['onCompletion'][] = []
  gateway.hooks.on('onCache', ({ outcome }) => outcomes.push(outcome))
  gateway.hooks.on('onCompletion', (completion) => completions.push(completion))
  let routed = 0
  gateway.hooks.on('onRoute', () => routed++)
  /** Resolves when so many have got to their model. */
  const routedAre = (count: number): Promise<void> => until(() => routed >= count, `${count} have asked`)
  const post = (body: unknown = ask, headers: Record<string, string> = {}): Promise<Response> =>
    gateway.post('/v1/chat/completions', body, { headers })
  const as = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` })
  return { gateway, client: gateway.client(), outcomes, completions, post, as, routedAre }
}

const told = ({ headers }: Response): string | null => headers.get('x-signalbox-cache')

t.test('what was asked before is answered as before, to the byte, and costs nothing', async (t) => {
  const { gateway, post, outcomes, completions } = await caching(t)
  const first = await post()
  const second = await post('{"messages": [{"content":"hi","role":"user"}],\n"model":"faq"}')
  t.strictSame([told(first), told(second)], ['miss', 'hit'])
  t.equal(await second.text(), await first.text())
  t.equal(upstream.requests.length, 1)
  t.strictSame(outcomes, ['miss', 'hit'])
  t.match(completions, [{ costUsd: Number }, { costUsd: 0, cached: true, usage: { total_tokens: Number } }])
  t.ok(Number(completions[0]?.costUsd) > 0)
  t.notOk(completions[0]?.cached)
  t.match(gateway.requestLines(), [{ cache: 'miss' }, { cache: 'hit', costUsd: 0 }])
})

t.test('a stream is given again as a stream, with the same events', async (t) => {
  const { client, post, outcomes } = await caching(t)
  upstream.behave(up.completion({ tokens: ['é', ' 漢', '😀'], reasoning: 'well', delayMs: 1 }))
  const streamed = { ...ask, stream: true }
  const first = await post(streamed)
  const text = await first.text()
  const second = await post(streamed)
  t.equal(second.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  t.strictSame([told(first), told(second)], ['miss', 'hit'])
  t.equal(await second.text(), text)
  t.match(text, /\[DONE\]/)

  const withUsage = { ...streamed, stream_options: { include_usage: true } }
  const { usage } = await client.chat.completions
    .stream({ ...ask, stream_options: { include_usage: true } })
    .finalChatCompletion()
  t.match(usage, { completion_tokens: Number })
  t.match(await (await post(withUsage)).text(), /"usage":\{"prompt_tokens"/)
  t.notMatch(await (await post(streamed)).text(), /"usage":\{/, 'who does not ask for usage is not told')
  t.equal(upstream.requests.length, 1)
  t.strictSame(outcomes, ['miss', 'hit', 'hit', 'hit', 'hit'])
})

t.test('a whole answer and a stream are kept apart', async (t) => {
  const { client, outcomes } = await caching(t)
  for (let n = 0; n < 2; n++) {
    await client.chat.completions.create(ask)
    await client.chat.completions.stream(ask).finalChatCompletion()
  }
  t.equal(upstream.requests.length, 2)
  t.strictSame(outcomes, ['miss', 'miss', 'hit', 'hit'])
})

t.test("calls of the caller's tools are kept with their ids", async (t) => {
  const { client } = await caching(t)
  upstream.behave(up.completion({ toolCalls: [{ name: 'weather', arguments: '{"city":"Lisbon"}' }] }))
  const tools = [{ type: 'function' as const, function: { name: 'weather', parameters: { type: 'object' } } }]
  const [first, second] = [
    await client.chat.completions.create({ ...ask, tools }),
    await client.chat.completions.create({ ...ask, tools }),
  ]
  t.match(first.choices[0]?.message.tool_calls, [{ id: /^call_/, function: { name: 'weather' } }])
  t.strictSame(second, first)
  t.equal(upstream.requests.length, 1)
})

t.test('embeddings are kept', async (t) => {
  const { client, completions } = await caching(t)
  const asked = { model: 'faq', input: ['a', 'b'] }
  const first = await client.embeddings.create(asked)
  t.strictSame(await client.embeddings.create(asked), first)
  await client.embeddings.create({ ...asked, dimensions: 4 })
  t.equal(upstream.requests.length, 2)
  t.match(completions, [{ costUsd: 2e-6 }, { costUsd: 0, cached: true }, { costUsd: 2e-6 }])
})

t.test('a user never gets what another was answered, unless answers are for all', async (t) => {
  const apart = await caching(t)
  const answers = [
    await apart.post(),
    await apart.post(ask, apart.as(other.key)),
    await apart.post(ask, apart.as(other.key)),
  ]
  t.strictSame(answers.map(told), ['miss', 'miss', 'hit'])
  const ids = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { id: string }).id))
  t.equal(ids[1], ids[2])
  t.not(ids[0], ids[1])
  const together = await Promise.all([
    apart.post({ ...ask, seed: 1 }),
    apart.post({ ...ask, seed: 1 }, apart.as(other.key)),
  ])
  t.strictSame(together.map(told), ['miss', 'miss'], 'nor when both ask at once')

  const all = await caching(t, { scope: 'all' })
  t.strictSame([told(await all.post()), told(await all.post(ask, all.as(other.key)))], ['miss', 'hit'])
  t.equal((await all.post(ask, all.as('sk-wrong'))).status, 401)
})

t.test('an answer is given again for its time, however often', async (t) => {
  const { post } = await caching(t, { ttl: '2s' })
  t.equal(told(await post()), 'miss')
  await sleep(1000)
  t.equal(told(await post()), 'hit')
  await sleep(1100)
  t.equal(told(await post()), 'miss', 'and does not live longer for that')
})

t.test('models without a cache, and requests to no model, know nothing of it', async (t) => {
  const { gateway, post, outcomes } = await caching(t)
  for (let n = 0; n < 2; n++) t.equal(told(await post({ ...ask, model: 'plain' })), null)
  t.equal(told(await fetch(`${gateway.url}/health`)), null)
  t.equal(upstream.requests.length, 2)
  t.strictSame(outcomes, [])
  t.notOk(gateway.requestLines().some((line) => 'cache' in line))
})

t.test('a client can have a fresh answer, and one that is not kept', async (t) => {
  const { post, outcomes } = await caching(t)
  t.equal(told(await post(ask, { 'cache-control': 'no-store' })), 'miss')
  t.equal(told(await post()), 'miss', 'it was not kept')
  const fresh = await post(ask, { 'cache-control': 'max-age=0, No-Cache' })
  t.equal(told(fresh), 'miss')
  t.equal(await (await post()).text(), await fresh.text(), 'and replaces the one before')
  t.equal(told(await post(ask, { 'cache-control': 'no-store' })), 'miss', 'nor is it looked up')
  t.equal(upstream.requests.length, 4)
  t.strictSame(outcomes, ['bypass', 'miss', 'bypass', 'hit', 'bypass'])
})

t.test('turns of a conversation, and agents, are always asked anew', async (t) => {
  const { gateway, post, outcomes } = await caching(t, {}, { config: { agents: { helper: { model: 'faq' } } } })
  for (let n = 0; n < 2; n++) {
    t.equal(told(await post(ask, { 'x-conversation-id': `c${n}` })), 'miss')
    t.equal(told(await post({ ...ask, model: 'helper' })), null)
  }
  t.equal(upstream.requests.length, 4)
  t.strictSame(outcomes, ['bypass', 'bypass'])
  t.equal(gateway.requestLines().length, 4)
})

t.test('a completion that is to be stored is stored, also when it was there', async (t) => {
  const { client } = await caching(t)
  const first = await client.chat.completions.create({ ...ask, store: true, metadata: { n: '1' } })
  const second = await client.chat.completions.create({ ...ask, store: true, metadata: { n: '2' } })
  await client.chat.completions.stream({ ...ask, store: true }).finalChatCompletion()
  await client.chat.completions.stream({ ...ask, store: true }).finalChatCompletion()
  t.equal(upstream.requests.length, 2)
  t.not(first.id, second.id)
  t.match(await client.chat.completions.retrieve(second.id), { id: second.id, metadata: { n: '2' } })
  t.equal((await client.chat.completions.list()).data.length, 4)
})

t.test('a response is made of the answer that was there, and is a response of its own', async (t) => {
  const { gateway, client, outcomes } = await caching(t)
  const first = await client.responses.create({ model: 'faq', input: 'hi' })
  const second = await client.responses.create({ model: 'faq', input: 'hi' })
  t.not(first.id, second.id)
  t.equal(second.output_text, first.output_text)
  t.equal((await client.responses.retrieve(second.id)).output_text, first.output_text)
  const streamed = async (): Promise<string | undefined> => {
    for await (const event of await client.responses.create({ model: 'faq', input: 'hi', stream: true })) {
      if (event.type === 'response.completed') return event.response.output_text
    }
    return undefined
  }
  await streamed()
  const answer = await gateway.post('/v1/responses', { model: 'faq', input: 'hi', stream: true })
  t.equal(told(answer), 'hit')
  t.match(await answer.text(), /response\.completed/)
  const next = await client.responses.create({ model: 'faq', input: 'hi', previous_response_id: second.id })
  t.equal(upstream.requests.length, 3, `${next.id} has another transcript`)
  t.strictSame(outcomes, ['miss', 'hit', 'miss', 'hit', 'miss'])
})

t.test('only whole answers are kept', async (t) => {
  const { client, post, outcomes } = await caching(t)
  const endings: Record<string, up.Behaviour> = {
    'a failure': up.failWith(500),
    'a refusal': up.failWith(400),
    'what breaks off': up.dropAfter(2),
    'what a filter has cut off': up.completion({ finishReason: 'content_filter' }),
  }
  for (const [name, behaviour] of Object.entries(endings)) {
    for (const stream of [false, true]) {
      const body = { ...ask, stream, seed: Object.keys(endings).indexOf(name) }
      upstream.next(behaviour)
      const failed = await post(body).then((answer) => answer.text())
      const answer = await post(body)
      t.equal(told(answer), 'miss', `${name}, stream: ${stream}: ${failed.slice(0, 60)}`)
      t.match(await answer.text(), /said/)
      t.equal(told(await post(body)), 'hit')
    }
  }
  t.equal(outcomes.length, Object.keys(endings).length * 6)
  upstream.next(up.completion({ finishReason: 'length' }))
  await client.chat.completions.create({ ...ask, max_tokens: 3 })
  t.match(await client.chat.completions.create({ ...ask, max_tokens: 3 }), { choices: [{ finish_reason: 'length' }] })
})

t.test('a stream that its client leaves is not kept', async (t) => {
  const { client, gateway, post } = await caching(t)
  upstream.next(up.completion({ tokens: Array<string>(200).fill('word '), delayMs: 10 }))
  const over = new Promise((resolve) => gateway.hooks.once('onResponse', resolve))
  for await (const _ of await client.chat.completions.create({ ...ask, stream: true })) break
  t.match(await over, { outcome: 'client_closed', cache: 'miss' })
  await upstream.requests[0]?.closed
  const answer = await post({ ...ask, stream: true })
  t.equal(told(answer), 'miss')
  t.match(await answer.text(), /\[DONE\]/)
})

t.test('an answer that is too long is passed on and not kept', async (t) => {
  const { post, completions } = await caching(t, { maxBytes: 2000 })
  upstream.behave(up.completion({ tokens: Array<string>(200).fill('word ') }))
  for (const stream of [false, true]) {
    const body = stream ? { ...ask, stream } : { ...ask, logprobs: true }
    const texts = [await (await post(body)).text(), await (await post(body)).text()]
    for (const text of texts) t.ok(text.split('word').length > 200)
  }
  t.equal(upstream.requests.length, 4)
  t.notOk(completions.some(({ cached }) => cached))
})

t.test('a client that stops reading stops the provider, as it does without a cache', async (t) => {
  const { post } = await caching(t)
  const piece = JSON.stringify({
    choices: [{ index: 0, delta: { content: 'x'.repeat(64 * 1024) }, finish_reason: null }],
  })
  const most = 2000
  let taken = 0
  upstream.behave(async (_request, exchange) => {
    exchange.startStream()
    for (; taken < most; taken++) await exchange.write(`data: ${piece}\n\n`)
    await exchange.done()
  })
  const answer = await post({ ...ask, stream: true })
  const reader = answer.body?.getReader()
  await reader?.read()
  let before = -1
  await until(async () => {
    const isStill = taken === before
    before = taken
    await sleep(300)
    return isStill && taken === before
  }, 'the provider is held up')
  t.ok(taken < most / 2, `${taken} of ${most} pieces of 64 KB were taken`)
  await reader?.cancel()
})

for (const stream of [false, true]) {
  t.test(`fifty who ask at once are one call of the provider, stream: ${stream}`, async (t) => {
    const { gateway, post, outcomes, completions, routedAre } = await caching(t)
    upstream.behave(async (request, exchange) => {
      await routedAre(50)
      await up.completion({ text: 'one for all', delayMs: 5 })(request, exchange)
    })
    const answers = await Promise.all(Array.from({ length: 50 }, () => post({ ...ask, stream })))
    const texts = new Set(await Promise.all(answers.map((answer) => answer.text())))
    t.equal(texts.size, 1)
    t.match([...texts][0], stream ? /\[DONE\]/ : /one for all/)
    t.equal(upstream.requests.length, 1)
    t.strictSame(outcomes.sort(), ['miss', ...Array<string>(49).fill('shared')])
    t.equal(answers.filter((answer) => told(answer) === 'hit').length, 49)
    t.equal(completions.filter(({ cached }) => !cached).length, 1, 'and one bill')
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    t.match(metrics, /signalbox_cache_requests_total\{model="faq",outcome="shared"\} 49/)
    t.match(metrics, /signalbox_completions_total\{provider="lab",model="faq",usage="cached"\} 49/)
    t.match(metrics, /gen_ai_client_token_usage_count\{[^}]*gen_ai_token_type="input"\} 1\n/)
  })
}

t.test('the one who asked first may leave: the others are served, and one of them is billed', async (t) => {
  const { client, gateway, completions, outcomes, routedAre } = await caching(t)
  upstream.behave(up.completion({ tokens: Array<string>(30).fill('word '), delayMs: 15 }))
  const first = await client.chat.completions.create({ ...ask, stream: true })
  const left = new Promise((resolve) => gateway.hooks.once('onResponse', resolve))
  const rest = [1, 2, 3].map(() => client.chat.completions.stream(ask).finalChatCompletion())
  await routedAre(4)
  for await (const _ of first) break
  t.match(await left, { outcome: 'client_closed', costUsd: 0 })
  const answers = await Promise.all(rest)
  t.equal(upstream.requests.length, 1)
  for (const { choices } of answers) t.equal(choices[0]?.message.content, 'word '.repeat(30))
  t.strictSame(completions.map(({ cached = false }) => cached).sort(), [false, true, true, true])
  t.match(
    completions.filter(({ cached }) => !cached),
    [{ usage: { completion_tokens: 30 }, costUsd: Number }],
  )
  t.strictSame(outcomes.sort(), ['miss', 'shared', 'shared', 'shared'])
})

t.test('when all have left, the provider is left at once', async (t) => {
  const { client, gateway } = await caching(t)
  upstream.behave(up.completion({ tokens: Array<string>(1000).fill('word '), delayMs: 10 }))
  const streams = await Promise.all([1, 2].map(() => client.chat.completions.create({ ...ask, stream: true })))
  for (const stream of streams) for await (const _ of stream) break
  await upstream.requests[0]?.closed
  t.equal(upstream.requests.length, 1)
  await until(() => gateway.app.oaiServer.openRequests === 0, 'nothing is open')
})

t.test("a failure that may pass is tried once more for all who shared it; a refusal is everybody's", async (t) => {
  const { post, routedAre } = await caching(t)
  const all = async (seed: number): Promise<number[]> =>
    (await Promise.all(Array.from({ length: 20 }, () => post({ ...ask, seed })))).map(({ status }) => status)
  const failing =
    (status: number, asked: number): up.Behaviour =>
    async (_request, exchange) => {
      await routedAre(asked)
      exchange.json(status, { error: { message: 'no', type: 'invalid_request_error', param: null, code: null } })
    }
  upstream.next(failing(500, 20))
  t.strictSame((await all(1)).sort(), [...Array<number>(19).fill(200), 502])
  t.equal(upstream.requests.length, 2)

  upstream.reset()
  upstream.behave(failing(500, 40))
  t.strictSame(await all(2), Array<number>(20).fill(502))
  t.equal(upstream.requests.length, 2, 'not twenty')

  upstream.reset()
  upstream.behave(failing(400, 60))
  t.strictSame(await all(3), Array<number>(20).fill(400))
  t.equal(upstream.requests.length, 1)
})

t.test('two gateways on one Redis have one cache, by what they are configured alike', async (t) => {
  const redis = await startRedis(t)
  const config = { store: { kind: 'redis', url: redis.url } }
  const [one, two, elsewhere] = await Promise.all([
    caching(t, {}, { config }),
    caching(t, {}, { config }),
    caching(
      t,
      {},
      {
        config: { ...config, models: { faq: { targets: [{ model: 'lab/large' }], cache: { ttl: '1h' } } } },
      },
    ),
  ])
  const first = await one.post()
  await until(async () => (await redis.ask('DBSIZE')) !== '0', 'the answer is kept')
  const second = await two.post()
  t.equal(told(second), 'hit')
  t.equal(await second.text(), await first.text())
  t.equal(told(await elsewhere.post()), 'miss', 'another target is another answer')
  t.equal(upstream.requests.length, 2)
})

t.test('while Redis is away, or does not answer, everything is a miss and nothing fails', async (t) => {
  const redis = await startRedis(t)
  const { post, outcomes } = await caching(t, {}, { config: { store: { kind: 'redis', url: redis.url } } })
  await post()
  t.equal(told(await post()), 'hit')
  redis.pause()
  for (const stream of [false, true]) {
    const answer = await post({ ...ask, stream })
    t.equal(told(answer), 'miss')
    t.match(await answer.text(), /said/)
  }
  redis.resume()
  await redis.kill()
  t.equal(told(await post()), 'miss')
  await redis.restart()
  await until(async () => told(await post()) === 'hit', 'it is used again')
  t.strictSame(outcomes.slice(0, 5), ['miss', 'hit', 'error', 'error', 'error'])
})

t.test('files keep them, too', async (t) => {
  const config = { store: { kind: 'file', directory: t.testdir() } }
  const one = await caching(t, {}, { config })
  const first = await one.post()
  t.equal(told(await one.post()), 'hit')
  await one.gateway.close()
  const two = await caching(t, {}, { config })
  const second = await two.post()
  t.equal(told(second), 'hit')
  t.equal(await second.text(), await first.text())
})
