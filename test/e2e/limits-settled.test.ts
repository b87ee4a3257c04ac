/** What becomes of reservations in four processes on one Redis: of estimates that were wrong, of who left, failed or died. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../redis-server.ts'
import { completion, gated, startUpstream } from '../upstream.ts'
import { ask, startLimited, usage } from './limited-replicas.ts'
import type { Replica } from './start-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

t.test('more was used than was expected: it is passed once, by no more than that', async (t) => {
  const cap = 6000
  const { replicas } = await startLimited(t, upstream, { key: { tokensPerMinute: cap } })
  const more = { prompt_tokens: 400, completion_tokens: 50, total_tokens: 450 }
  upstream.behave(completion({ usage: more }))
  let used = 0
  for (let n = 0; (await ask(replicas[n % 4] as Replica)).status === 200; n++) used += more.total_tokens
  t.ok(used > cap - usage.total_tokens, `${used} of ${cap}`)
  t.ok(used <= cap + more.total_tokens - usage.total_tokens, `${used} of ${cap}`)
})

t.test('who leaves and what fails give back what they did not use', async (t) => {
  const cap = 6000
  const { redis, replicas } = await startLimited(t, upstream, {
    key: { tokensPerMinute: cap, usdPerDay: 100, concurrentRequests: 30 },
  })
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
  const { replicas } = await startLimited(t, upstream, { gateway: { concurrentRequests: 4 } }, '1s')
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
