/** Four processes on one Redis, and a hundred callers at the same time at each of them. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startRedis } from '../redis.ts'
import { until } from '../redis-server.ts'
import { completion, gated, type Json, startUpstream } from '../upstream.ts'
import { type Replica, startReplicas } from './start-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lifeMs = 90_000
const key = 'sk-limited-key'
const callers = 100

/** What each request may use, and uses: no more than is expected. */
const maxTokens = 52
const usage = { prompt_tokens: 8, completion_tokens: 50, total_tokens: 58 }
/** USD per million tokens. */
const prices = { input: 1000, output: 1000 }

async function four(t: Test, limits: { key?: Json; model?: Json; gateway?: Json }, leaseTime = '15s') {
  const redis = await startRedis(t)
  const config = {
    auth: { keys: [{ key, user: 'ann', ...(limits.key && { limits: limits.key }) }] },
    models: { fast: { targets: [{ model: 'openai/small' }], ...(limits.model && { limits: limits.model }) } },
    agents: {},
    catalog: { 'openai/small': { prices } },
    // On a busy machine the Redis of this test may be slow, and is not to be taken for one that is away.
    store: { kind: 'redis', url: redis.url, leaseTime, commandTimeout: '20s' },
    ...(limits.gateway && { limits: limits.gateway }),
  }
  const pairs = [
    await startReplicas(t, upstream, config, { lifeMs }),
    await startReplicas(t, upstream, config, { lifeMs }),
  ]
  return { redis, replicas: pairs.flat() }
}

/** How it was answered. */
async function ask({ url }: Replica, body: Json = {}, signal?: AbortSignal): Promise<{ status: number; code: string }> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({
      model: 'fast',
      messages: [{ role: 'user', content: 'hi' }],
      max_tokens: maxTokens,
      ...body,
    }),
    ...(signal && { signal }),
  })
  const text = await answer.text()
  return { status: answer.status, code: answer.status === 200 ? '' : JSON.parse(text).error.code }
}

/** All callers of all processes, each so many times; half of them are streamed to. */
async function storm(replicas: readonly Replica[], times: number): Promise<{ ok: number; codes: Set<string> }> {
  const answers = await Promise.all(
    replicas.flatMap((replica) =>
      Array.from({ length: callers }, async (_, n) => {
        const own: { status: number; code: string }[] = []
        for (let turn = 0; turn < times; turn++) own.push(await ask(replica, { stream: n % 2 === 0 }))
        return own
      }),
    ),
  )
  const all = answers.flat()
  const bad = all.find(({ status }) => status !== 200 && status !== 429)
  if (bad) throw new Error(`answered ${bad.status} ${bad.code}`)
  return {
    ok: all.filter(({ status }) => status === 200).length,
    codes: new Set(all.filter(({ status }) => status === 429).map(({ code }) => code)),
  }
}

t.test('requests: exactly as many as may be, by key, model and gateway', async (t) => {
  const caps = { key: 120, model: 100, gateway: 140 }
  const { replicas } = await four(t, {
    key: { requestsPerMinute: caps.key },
    model: { requestsPerMinute: caps.model },
    gateway: { requestsPerMinute: caps.gateway },
  })
  const { ok, codes } = await storm(replicas, 2)
  t.equal(ok, 100)
  t.equal(upstream.requests.length, 100, 'nobody else has reached the provider')
  t.strictSame([...codes], ['rate_limit_exceeded'])
})

t.test('tokens: what was used is never more than may be, and nearly all of it', async (t) => {
  const cap = 6000
  const { replicas } = await four(t, { key: { tokensPerMinute: cap } })
  upstream.behave(completion({ usage, firstDelayMs: 20 }))
  const { ok, codes } = await storm(replicas, 2)
  const used = ok * usage.total_tokens
  t.ok(used <= cap, `${used} of ${cap}`)
  t.ok(used >= 0.9 * cap, `${used} of ${cap}`)
  t.strictSame([...codes], ['rate_limit_exceeded'])
})

t.test('USD: what was spent is never more than may be, and nearly all of it', async (t) => {
  const cost = (usage.total_tokens * prices.input) / 1_000_000
  const cap = 100 * cost
  for (const period of ['usdPerDay', 'usdPerMonth']) {
    upstream.reset()
    const { replicas } = await four(t, { key: { [period]: cap } })
    upstream.behave(completion({ usage, firstDelayMs: 20 }))
    const { ok, codes } = await storm(replicas, 2)
    t.ok(ok * cost <= cap + 1e-9, `${ok * cost} of ${cap}`)
    t.ok(ok * cost >= 0.9 * cap, `${ok * cost} of ${cap}`)
    t.strictSame([...codes], ['insufficient_quota'])
  }
})

t.test('requests at the same time: as many as may be, and no more', async (t) => {
  const cap = 20
  const { replicas } = await four(t, { model: { concurrentRequests: cap } })
  const thawed = Promise.withResolvers<void>()
  upstream.behave(async (request, exchange) => {
    await thawed.promise
    await completion()(request, exchange)
  })
  const answers: { status: number; code: string }[] = []
  const asked = replicas.flatMap((replica) =>
    Array.from({ length: callers }, async (_, n) => answers.push(await ask(replica, { stream: n % 2 === 0 }))),
  )
  while (answers.length < 4 * callers - cap) await sleep(20)
  await until(() => upstream.requests.length === cap, 'the others are at the provider')
  t.ok(answers.every(({ code }) => code === 'concurrency_limit_exceeded'))
  thawed.resolve()
  await Promise.all(asked)
  t.equal(answers.filter(({ status }) => status === 200).length, cap)
  for (const replica of replicas) t.equal((await ask(replica)).status, 200, 'all slots are free again')
})

t.test('more was used than was expected: it is passed once, by no more than that', async (t) => {
  const cap = 6000
  const { replicas } = await four(t, { key: { tokensPerMinute: cap } })
  const more = { prompt_tokens: 400, completion_tokens: 50, total_tokens: 450 }
  upstream.behave(completion({ usage: more }))
  let used = 0
  for (let n = 0; (await ask(replicas[n % 4] as Replica)).status === 200; n++) used += more.total_tokens
  t.ok(used > cap - usage.total_tokens, `${used} of ${cap}`)
  t.ok(used <= cap + more.total_tokens - usage.total_tokens, `${used} of ${cap}`)
})

t.test('who leaves and what fails give back what they did not use', async (t) => {
  const cap = 2000
  const { redis, replicas } = await four(t, { key: { tokensPerMinute: cap, usdPerDay: 100, concurrentRequests: 30 } })
  const [one, other] = replicas as [Replica, Replica]
  upstream.behave((_request, exchange) => exchange.json(500, {}))
  for (let n = 0; n < 30; n++) t.equal((await ask(n % 2 ? one : other)).status, 502)
  upstream.behave(completion({ tokens: ['one'], firstDelayMs: 30_000 }))
  const controllers = Array.from({ length: 20 }, () => new AbortController())
  const left = controllers.map(({ signal }, n) => ask(n % 2 ? one : other, {}, signal).catch(() => undefined))
  await until(() => upstream.requests.length === 50, 'all are under way')
  for (const controller of controllers) controller.abort()
  await Promise.all(left)
  const countOf = async (name: string, field: string): Promise<number> => {
    const [found] = JSON.parse(await redis.ask('KEYS', `signalbox:limit:{limits}${name}:*`)) as string[]
    return Number(JSON.parse(await redis.ask('HGET', found ?? '', field)))
  }
  await until(async () => JSON.parse(await redis.ask('ZCARD', 'signalbox:limit:{limits}open')) === 0, 'all are settled')
  // Of those who left, their prompts, which the provider has read.
  const tokens = await countOf('tokens', 'sum')
  t.ok(tokens > 0 && tokens <= 20 * 5, `${tokens} tokens`)
  t.equal(await countOf('usd_day', 'spent'), tokens * 1_000_000, 'and their price, in billionths')
})

t.test('a process that is killed frees its slots within the time of a lease; one that lives keeps them', async (t) => {
  const { replicas } = await four(t, { gateway: { concurrentRequests: 4 } }, '1s')
  const [killed, alive] = replicas as [Replica, Replica]
  const gate = gated(['one', ' two'])
  upstream.behave(gate.behaviour)
  gate.release(1)
  const dead = [ask(killed, { stream: true }), ask(killed, { stream: true })].map((one) => one.catch(() => undefined))
  const living = [ask(alive, { stream: true }), ask(alive, { stream: true })]
  await until(() => upstream.requests.length === 4, 'all slots are taken')
  t.equal((await ask(alive)).code, 'concurrency_limit_exceeded')
  const killedAt = performance.now()
  killed.process.kill('SIGKILL')
  await Promise.all(dead)
  upstream.behave(completion())
  await until(async () => (await ask(alive)).status === 200, 'a slot is free')
  const took = Math.round(performance.now() - killedAt)
  t.ok(took < 5000, `after ${took} ms`)
  await sleep(1500)
  const taken = gated(['x'])
  upstream.behave(taken.behaviour)
  const next = [ask(alive, { stream: true }), ask(alive, { stream: true })]
  await until(() => upstream.requests.length >= 7, 'two slots were free')
  t.equal((await ask(alive)).code, 'concurrency_limit_exceeded', 'and no more')
  taken.release(10)
  gate.release(10)
  for (const answer of await Promise.all([...living, ...next])) t.equal(answer.status, 200)
})
