/** Two processes on one Redis: what an operator does at one holds at the other within two seconds. */
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t from 'tap'
import { messagesOf } from '../process.ts'
import { startRedis } from '../redis.ts'
import { until } from '../redis-server.ts'
import { completion, type Json, startUpstream } from '../upstream.ts'
import { type Replica, startReplicas } from './start-replicas.ts'

const ADMIN_KEY = 'admin-key-of-the-ops'
/** What is promised. */
const effectiveMs = 2000
/** What a call and a busy machine add. */
const marginMs = 500

const upstream = await startUpstream()
t.teardown(() => upstream.close())
upstream.behave(completion({ usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 } }))
const redis = await startRedis(t)
const config = {
  models: { fast: { targets: [{ model: 'openai/small' }, { model: 'openai/large' }] } },
  agents: { helper: { model: 'fast' } },
  store: { kind: 'redis', url: redis.url },
  admin: { enabled: true, keys: [{ name: 'ops', key: ADMIN_KEY }] },
}
const [one, other] = await startReplicas(t, upstream, config, { lifeMs: 110_000 })

async function call({ url }: Replica, method: string, path: string, body?: Json): Promise<Json> {
  const response = await fetch(`${url}/admin/v1${path}`, {
    method,
    ...(body ? { body: JSON.stringify(body) } : {}),
    headers: { authorization: `Bearer ${ADMIN_KEY}`, ...(body ? { 'content-type': 'application/json' } : {}) },
  })
  const answer = (await response.json()) as Json
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`)
  return answer
}

/** What a client with this key gets at a replica: a status, or the code of an error. */
async function outcomeAt({ url }: Replica, key: string, model = 'fast'): Promise<number | string> {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
  try {
    await client.chat.completions.create({ model, messages: [{ role: 'user', content: 'hi' }] })
    return 200
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error.code ?? error.status ?? 'unknown'
    throw error
  }
}

/** Uses the key all the time until the outcome is the one that is expected; how many milliseconds that took. */
async function timeUntil(replica: Replica, key: string, expected: number | string, model?: string): Promise<number> {
  const startedAt = performance.now()
  for (;;) {
    const outcome = await outcomeAt(replica, key, model)
    const took = performance.now() - startedAt
    if (outcome === expected || took > 10_000) return took
    await sleep(20)
  }
}

const made: string[] = []
async function make(replica: Replica, body: Json = {}): Promise<{ id: string; key: string }> {
  const { id, key } = (await call(replica, 'POST', '/keys', { name: 'shop', ...body })) as { id: string; key: string }
  made.push(key)
  return { id, key }
}

t.test('a key that was made at one works at the other at once', async (t) => {
  for (let n = 0; n < 10; n++) {
    const [at, elsewhere] = n % 2 ? [other, one] : [one, other]
    const { key } = await make(at)
    t.equal(await outcomeAt(elsewhere, key), 200)
  }
})

t.test('revoked at one, it is refused by the other within two seconds, though it is in use there', async (t) => {
  const { id, key } = await make(one)
  t.strictSame([await outcomeAt(one, key), await outcomeAt(other, key)], [200, 200])
  await call(one, 'DELETE', `/keys/${id}`)
  const times = await Promise.all([one, other].map((replica) => timeUntil(replica, key, 'invalid_api_key')))
  for (const took of times) t.ok(took < effectiveMs + marginMs, `after ${Math.round(took)} ms`)
  await sleep(effectiveMs)
  t.strictSame([await outcomeAt(one, key), await outcomeAt(other, key)], ['invalid_api_key', 'invalid_api_key'])
})

t.test('rotated, both texts work at both for the overlap, and then only the new one', async (t) => {
  const { id, key } = await make(one)
  t.strictSame([await outcomeAt(one, key), await outcomeAt(other, key)], [200, 200])
  const rotated = await call(other, 'POST', `/keys/${id}/rotate`, { overlap_seconds: 3 })
  const overAt = performance.now() + 3000
  made.push(String(rotated.key))
  const outcomes = await Promise.all(
    [one, other].flatMap((replica) => [key, String(rotated.key)].map((text) => outcomeAt(replica, text))),
  )
  t.strictSame(outcomes, [200, 200, 200, 200])
  await sleep(overAt - performance.now() + effectiveMs)
  t.strictSame([await outcomeAt(one, key), await outcomeAt(other, key)], ['invalid_api_key', 'invalid_api_key'])
  t.strictSame([await outcomeAt(one, String(rotated.key)), await outcomeAt(other, String(rotated.key))], [200, 200])
})

t.test('the models of a key are held to at both, and changed within two seconds', async (t) => {
  const { id, key } = await make(one, { models: ['helper'] })
  t.strictSame([await outcomeAt(one, key), await outcomeAt(other, key)], ['model_not_allowed', 'model_not_allowed'])
  t.equal(await outcomeAt(other, key, 'helper'), 200)
  await call(other, 'PATCH', `/keys/${id}`, { models: ['fast'] })
  const took = await timeUntil(one, key, 200)
  t.ok(took < effectiveMs + marginMs, `after ${Math.round(took)} ms`)
  t.equal(await timeUntil(one, key, 'model_not_allowed', 'helper').then((ms) => ms < effectiveMs + marginMs), true)
})

t.test('a target that was taken out at one gets nothing from the other within two seconds', async (t) => {
  const { key } = await make(one)
  await call(one, 'POST', '/targets/openai/small/drain')
  await sleep(effectiveMs)
  const before = upstream.requests.length
  for (let n = 0; n < 15; n++) {
    t.strictSame([await outcomeAt(one, key), await outcomeAt(other, key)], [200, 200])
  }
  const asked = upstream.requests.slice(before).map(({ body }) => (body as Json).model)
  t.equal(asked.length, 30)
  t.strictSame([...new Set(asked)], ['large'])

  await call(other, 'POST', '/targets/openai/large/drain')
  const times = await Promise.all([one, other].map((replica) => timeUntil(replica, key, 'no_target_available')))
  for (const took of times) t.ok(took < effectiveMs + marginMs, `after ${Math.round(took)} ms`)
  for (const replica of [one, other]) {
    const { data } = await call(replica, 'GET', '/targets')
    t.match(data, [
      { id: 'openai/small', drained: true, drained_by: 'ops' },
      { id: 'openai/large', drained: true },
    ])
  }
  await call(one, 'POST', '/targets/openai/small/undrain')
  await call(one, 'POST', '/targets/openai/large/undrain')
  const back = await Promise.all([one, other].map((replica) => timeUntil(replica, key, 200)))
  for (const took of back) t.ok(took < effectiveMs + marginMs, `after ${Math.round(took)} ms`)
})

t.test('what a key has used at both is added up', async (t) => {
  const { id, key } = await make(one)
  for (const replica of [one, other, other]) await outcomeAt(replica, key)
  await until(async () => {
    const { today } = await call(one, 'GET', `/keys/${id}/usage`)
    return (today as Json).requests === 3
  }, 'the other has added what it had counted')
  t.match(await call(other, 'GET', `/keys/${id}/usage`), {
    this_month: { requests: 3, tokens: 15 },
  })
})

t.test('neither the store nor the logs have a key, or one of the admins', async (t) => {
  const names: string[] = JSON.parse(await redis.ask('KEYS', '*'))
  t.ok(names.length > 2 * 10)
  const contents = await Promise.all(
    names.map(async (name) => {
      const type = JSON.parse(await redis.ask('TYPE', name))
      if (type === 'string') return redis.ask('GET', name)
      if (type === 'zset') return redis.ask('ZRANGE', name, 0, -1)
      return redis.ask('XRANGE', name, '-', '+')
    }),
  )
  const logs = [one, other].map(({ process }) => process.stdout + process.stderr)
  t.ok(messagesOf(logs.join('\n')).includes('audit'))
  const everything = [...names, ...contents, ...logs].join('\n')
  for (const key of [ADMIN_KEY, ...made.map((text) => text.slice(11))]) t.notOk(everything.includes(key))
  t.ok(made.length > 12)
})

t.test('a replica that is stopped adds what it had counted', async (t) => {
  const { id, key } = await make(one)
  for (let n = 0; n < 3; n++) t.equal(await outcomeAt(other, key), 200)
  other.process.kill('SIGINT')
  t.equal((await other.process.exited).code, 0)
  t.match(await call(one, 'GET', `/keys/${id}/usage`), { today: { requests: 3 } })
})

t.test('while Redis is away', async (t) => {
  const known = await make(one)
  const unused = await make(one)
  t.equal(await outcomeAt(one, known.key), 200)
  await redis.kill()
  await sleep(effectiveMs)
  t.equal(await outcomeAt(one, known.key), 200, 'a key that was known works on')
  t.equal(await outcomeAt(one, unused.key), 'store_unavailable', 'of another nobody can say whether it is good')
  t.equal(await outcomeAt(one, 'sk-not-one-of-the-store'), 'invalid_api_key', 'one that cannot be of the store is not')
  await t.rejects(call(one, 'POST', '/keys', { name: 'n' }), /503 .*store_unavailable/)
  await t.rejects(call(one, 'GET', '/targets'), /503 .*store_unavailable/)
})
