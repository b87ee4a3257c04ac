/** Two servers on one real Redis, and one response that both of them have to do with. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connectRedis, createLLM, OaiServer, RedisEventLog, RedisPersistence } from '../../src/index.ts'
import { eventually } from '../core.ts'
import { startRedis } from '../redis.ts'
import { ask, lastOf, responseIn, streamIn } from '../server/responding.ts'
import { completion, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())
const redis = await startRedis(t)

async function replica(): Promise<OaiServer> {
  // Sixty at a time keep a busy machine busy: this is not about a store that is slow.
  const connection = await connectRedis({ url: redis.url, commandTimeoutMs: 10_000 })
  t.teardown(() => connection.close())
  return new OaiServer({
    entries: [{ model: 'm', client: lab }],
    responseStorePersistence: new RedisPersistence(connection),
    eventLog: new RedisEventLog(connection),
  })
}

const [maker, other] = await Promise.all([replica(), replica()])
const tokens = Array.from({ length: 12 }, (_, n) => `${n} `)
upstream.behave(completion({ tokens, delayMs: 3 }))
const begin = () => responseIn(ask(maker, 'POST', '', { model: 'm', input: 'hello', background: true }))

/** Now, while it is made, at its end, and after it. */
const moments = Array.from({ length: 60 }, (_, n) => n)

t.test('what was told of a cancel is what there is, on both', async (t) => {
  const told = await Promise.all(
    moments.map(async (ms) => {
      const { id } = await begin()
      await sleep(ms)
      return responseIn(ask(other, 'POST', `/${id}/cancel`))
    }),
  )
  await eventually(() => maker.openRequests === 0)
  for (const response of told) {
    t.match(response.status, /^(cancelled|completed)$/)
    for (const server of [maker, other]) {
      t.strictSame(await responseIn(ask(server, 'GET', `/${response.id}`)), response)
    }
    t.strictSame(lastOf(await streamIn(ask(other, 'GET', `/${response.id}?stream=true`))), response)
  }
})

t.test('what was deleted stays away', async (t) => {
  const deleted = await Promise.all(
    moments.map(async (ms) => {
      const { id } = await begin()
      await sleep(ms)
      t.equal((await ask(other, 'DELETE', `/${id}`)).status, 200)
      return id
    }),
  )
  await eventually(() => maker.openRequests === 0)
  for (const id of deleted) {
    for (const server of [maker, other]) t.equal((await ask(server, 'GET', `/${id}`)).status, 404)
  }
})
