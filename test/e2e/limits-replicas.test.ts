/** Four processes on one Redis, and a hundred callers at the same time at each of them. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../redis-server.ts'
import { completion, startUpstream } from '../upstream.ts'
import { type Answered, ask, callers, prices, startLimited, storm, usage } from './limited-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

t.test('requests: exactly as many as may be, by key, model and gateway', async (t) => {
  const caps = { key: 120, model: 100, gateway: 140 }
  const { replicas } = await startLimited(t, upstream, {
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
  const { replicas } = await startLimited(t, upstream, { key: { tokensPerMinute: cap } })
  upstream.behave(completion({ usage, firstDelayMs: 20 }))
  const { ok, codes } = await storm(replicas, 2)
  const used = ok * usage.total_tokens
  t.ok(used <= cap, `${used} of ${cap}`)
  t.ok(used >= 0.95 * cap, `${used} of ${cap}`)
  t.strictSame([...codes], ['rate_limit_exceeded'])
})

t.test('USD: what was spent is never more than may be, and nearly all of it', async (t) => {
  const cost = (usage.total_tokens * prices.input) / 1_000_000
  const cap = 100 * cost
  const { replicas } = await startLimited(t, upstream, { key: { usdPerDay: cap }, gateway: { usdPerMonth: 1.1 * cap } })
  upstream.behave(completion({ usage, firstDelayMs: 20 }))
  const { ok, codes } = await storm(replicas, 2)
  t.ok(ok * cost <= cap + 1e-9, `${ok * cost} of ${cap}`)
  t.ok(ok * cost >= 0.95 * cap, `${ok * cost} of ${cap}`)
  t.strictSame([...codes], ['insufficient_quota'])
})

t.test('requests at the same time: as many as may be, and no more', async (t) => {
  const cap = 20
  const { replicas } = await startLimited(t, upstream, { model: { concurrentRequests: cap } })
  const thawed = Promise.withResolvers<void>()
  upstream.behave(async (request, exchange) => {
    await thawed.promise
    await completion()(request, exchange)
  })
  const answers: Answered[] = []
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
