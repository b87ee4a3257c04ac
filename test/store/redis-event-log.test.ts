import t, { type Test } from 'tap'
import { connectRedis, EventsGoneError, RedisEventLog } from '../../src/index.ts'
import { startCluster, startRedis } from '../redis.ts'
import { type EventLogBounds, keepsTheEventLogContract } from './event-log-contract.ts'

let opened = 0

/** A log of its own: under its own prefix, over a connection that ends with its test. */
async function open(t: Test, url: string, bounds: EventLogBounds = {}): Promise<RedisEventLog> {
  const connection = await connectRedis({ url, keyPrefix: `log${opened++}:` })
  t.teardown(() => connection.close())
  return new RedisEventLog(connection, bounds)
}

t.test('as every log of events, on a single Redis', async (t) => {
  const { url } = await startRedis(t)
  keepsTheEventLogContract(t, (t, bounds) => open(t, url, bounds))
})

t.test('as every log of events, on a cluster', async (t) => {
  const { url } = await startCluster(t)
  keepsTheEventLogContract(t, (t, bounds) => open(t, url, bounds))
})

t.test('what one connection appends, another follows, each event once and in order', async (t) => {
  const { url } = await startRedis(t)
  const [one, other] = await Promise.all([0, 1].map(() => connectRedis({ url })))
  if (!one || !other) return
  t.teardown(() => Promise.all([one.close(), other.close()]))
  const writer = new RedisEventLog(one)
  const reader = new RedisEventLog(other)
  await writer.append('k', 0, [{ n: 0 }])
  const read: unknown[] = []
  const reading = (async () => {
    for await (const batch of reader.read('k', 0, { idleMs: 1000 })) read.push(...batch)
  })()
  for (let n = 1; n < 1200; n++) t.equal(await writer.append('k', n, [{ n }], { end: n === 1199 }), true)
  await reading
  t.strictSame(
    read,
    Array.from({ length: 1200 }, (_, n) => ({ n })),
  )
})

t.test('a log that is deleted while it is followed is gone', async (t) => {
  const { url } = await startRedis(t)
  const log = await open(t, url)
  await log.append('k', 0, [{ n: 0 }])
  const reading = log.read('k', 0, { idleMs: 10_000 })[Symbol.asyncIterator]()
  await reading.next()
  const next = reading.next()
  await log.delete('k')
  await t.rejects(next, EventsGoneError)
})
