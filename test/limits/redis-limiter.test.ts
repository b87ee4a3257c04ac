import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type LimiterOptions, RedisLimiter, type RedisLimiterOptions, type StoreReport } from '../../src/index.ts'
import { startCluster, startRedis } from '../redis.ts'
import { type RedisServer, until } from '../redis-server.ts'
import { connected, emptyPrefix, failsInTime } from '../store/redis-outages.ts'
import { startProxy } from '../tcp-proxy.ts'
import { granted, keepsTheContract, limit, nothing, refused } from './limiter-contract.ts'

const usd = 1e9

async function opened(t: Test, url: string, options: RedisLimiterOptions = {}): Promise<RedisLimiter> {
  const connection = await connected(t, { url, commandTimeoutMs: 300 })
  const limiter = new RedisLimiter(connection, options)
  t.teardown(async () => limiter.close())
  return limiter
}

for (const [where, start] of Object.entries({ 'one server': startRedis, 'a cluster': startCluster })) {
  t.test(`as all limiters, on ${where}`, async (t) => {
    const { url } = await start(t)
    keepsTheContract(t, async (t, options?: LimiterOptions) => {
      const limiter = new RedisLimiter(
        await connected(t, { url, keyPrefix: emptyPrefix(), commandTimeoutMs: 10_000 }),
        options,
      )
      t.teardown(async () => limiter.close())
      return limiter
    })
  })
}

t.test('two limiters are one', async (t) => {
  const { url } = await startRedis(t)
  const [one, other] = [await opened(t, url), await opened(t, url)]
  const limits = [limit('tokens', 100, 60), limit('concurrency', 1), limit('usd_day', usd, 0.6 * usd)]
  const reservation = await granted(one, ...limits)
  await refused(other, ...limits)
  await one.settle(reservation, { tokens: 10, usd: 0.1, keyId: 'k' })
  t.match(await granted(other, ...limits), { uses: [{ used: 70 }, { used: 1 }, { used: 0.7 }] })
  t.match(await other.usageOf('k'), { today: { requests: 1, tokens: 10, usd: 0.1 } })
})

t.test('one round trip before a request, and one after it; none without limits', async (t) => {
  const server = await startRedis(t)
  const told: StoreReport[] = []
  const limiter = await opened(t, server.url, { tell: (report) => told.push(report) })
  const limits = ['key', 'model', 'gateway'].flatMap((scope) => {
    const of = { scope: scope as 'key', id: 'x' }
    return [
      limit('requests', 9, 1, of),
      limit('tokens', 9, 1, of),
      limit('concurrency', 9, 1, of),
      limit('usd_day', 9, 1, of),
    ]
  })
  // The scripts are known to Redis from then on.
  await limiter.settle(await granted(limiter, ...limits), nothing)
  const commands = async (): Promise<number> =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(await server.ask('INFO', 'commandstats'))?.[1] ?? 0)
  const before = await commands()
  await limiter.settle(await granted(limiter, ...limits), nothing)
  t.equal((await commands()) - before, 2)
  await limiter.settle(await granted(limiter), nothing)
  t.equal((await commands()) - before, 2)
  t.match(told.slice(-2), [
    { part: 'limits', operation: 'reserve', outcome: 'ok' },
    { part: 'limits', operation: 'settle', outcome: 'ok' },
  ])
})

t.test('every key runs out by itself', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url, { countsUsage: true })
  const names = ['requests', 'tokens', 'concurrency', 'usd_day', 'usd_month'] as const
  const reservation = await granted(limiter, ...names.map((name) => limit(name, 100, 10)))
  await limiter.settle(await granted(limiter, ...names.map((name) => limit(name, 100, 10))), {
    tokens: 20,
    usd: 20e-9,
    keyId: 'k',
  })
  const keys: string[] = JSON.parse(await server.ask('KEYS', '*'))
  // Of three kinds of limits it is also kept how wrong estimates are, and who is under way.
  t.equal(keys.length, names.length + 2 * 3 + 2, keys.join(' '))
  for (const key of keys) t.ok(Number(await server.ask('PTTL', key)) > 0, key)
  await limiter.settle(reservation, nothing)
})

t.test(
  'who is gone frees its slots when it has not held them for the time of a lease; who is there keeps them',
  async (t) => {
    const { url } = await startRedis(t)
    const [gone, there] = [await opened(t, url, { leaseMs: 600 }), await opened(t, url, { leaseMs: 600 })]
    const [lost, held] = [await granted(gone, limit('concurrency', 2)), await granted(there, limit('concurrency', 2))]
    gone.close()
    await refused(there, limit('concurrency', 2))
    await until(async () => (await there.reserve([limit('concurrency', 2)])).granted, 'the slot of who is gone')
    await sleep(1500)
    await refused(there, limit('concurrency', 2))
    await there.settle(held, nothing)
    await granted(there, limit('concurrency', 2))
    await gone.settle(lost, nothing)
  },
)

t.test('after a Redis that has lost everything, settling leaves nothing behind', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url)
  const limits = [limit('tokens', 100, 60), limit('usd_day', usd, 0.6 * usd)]
  const reservation = await granted(limiter, ...limits)
  await server.ask('FLUSHALL')
  await limiter.settle(reservation, nothing)
  t.equal(await server.ask('DBSIZE'), '0')
})

t.test('of what was under way then, nothing is given back; what it came to is charged, once', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url, { leaseMs: 300 })
  const limits = [limit('usd_day', 1000, 40), limit('concurrency', 9)]
  const [one, other] = [await granted(limiter, ...limits), await granted(limiter, ...limits)]
  await server.ask('FLUSHALL')
  const slots = 'signalbox:limit:{limits}concurrency:key:a'
  await until(async () => (await server.ask('ZCARD', slots)) === '2', 'their slots are held again')
  await granted(limiter, ...limits)
  const spent = async () => (await granted(limiter, limit('usd_day', 1000, 0))).uses[0]?.used
  await limiter.settle(one, nothing)
  t.equal(await spent(), 40e-9)
  for (let n = 0; n < 2; n++) await limiter.settle(other, { tokens: 5, usd: 30e-9, keyId: 'k' })
  t.equal(await spent(), 70e-9)
  t.match(await limiter.usageOf('k'), { today: { requests: 1, usd: 30e-9 } })
})

t.test('a Redis that has forgotten the scripts is told them again', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url)
  const limits = [limit('tokens', 100, 60), limit('concurrency', 1)]
  const first = await granted(limiter, ...limits)
  await server.ask('SCRIPT', 'FLUSH')
  await refused(limiter, ...limits)
  await server.ask('SCRIPT', 'FLUSH')
  await limiter.settle(first, nothing)
  t.match(await granted(limiter, ...limits), { uses: [{ used: 60 }, { used: 1 }] })
})

t.test('what was taken by a clock that was ahead, before a failover, leaves the window as well', async (t) => {
  const server = await startRedis(t)
  const windowMs = 1200
  const limiter = await opened(t, server.url, { windowMs })
  const key = 'signalbox:limit:{limits}tokens:key:a'
  const ahead = Math.floor(Date.now() / (windowMs / 60)) + 15
  await server.ask('HSET', key, String(ahead), '1', 'sum', '1', 'from', String(ahead))
  await limiter.settle(await granted(limiter, limit('tokens', 1000, 500)), { ...nothing, tokens: 500 })
  const startedAt = performance.now()
  for (let left = windowMs + 600; left > 0; left = windowMs + 600 - (performance.now() - startedAt)) {
    await limiter.settle(await granted(limiter, limit('tokens', 1000, 1)), { ...nothing, tokens: 1 })
    await sleep(50)
  }
  const { uses } = await granted(limiter, limit('tokens', 1000, 1))
  t.ok((uses[0]?.used ?? 500) < 500, `${uses[0]?.used}`)
})

t.test(
  'while Redis is away each process keeps the limits by itself, and never waits longer than for a command',
  async (t) => {
    for (const fault of ['kill', 'pause'] as const) {
      const server = await startRedis(t)
      const limiter = await opened(t, server.url)
      await granted(limiter, limit('requests', 5))
      await server[fault]()
      const startedAt = performance.now()
      for (let n = 0; n < 5; n++) await granted(limiter, limit('requests', 5), limit('concurrency', 9))
      t.match(await refused(limiter, limit('requests', 5)), { uses: [{ used: 5 }] })
      t.ok(performance.now() - startedAt < 6 * 300 + 1000, fault)
      if (fault === 'pause') server.resume()
    }
  },
)

t.test('a process may keep a share only; what Redis last said was spent stays spent', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url, { localShare: 0.25 })
  await granted(limiter, limit('usd_day', 100, 60))
  await server.kill()
  for (let n = 0; n < 2; n++) {
    const reservation = await granted(limiter, limit('requests', 8), limit('usd_day', 100, 5))
    void limiter.settle(reservation, { ...nothing, usd: 5e-9 })
  }
  t.match(await refused(limiter, limit('requests', 8)), { uses: [{ used: 2, cap: 2 }] })
  t.match(await refused(limiter, limit('usd_day', 100, 1)), { uses: [{ used: 70e-9, cap: 70e-9 }] })
})

t.test('a limit that is closed without Redis refuses as a store that is away, in time', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url, { whenStoreIsDown: { usd_month: 'closed' } })
  server.pause()
  await failsInTime(t, 300, () => limiter.reserve([limit('requests', 5), limit('usd_month', 100)]))
  await granted(limiter, limit('requests', 5))
  server.resume()
})

/** What is used of a limit by now, for good: asked for until it is so. */
async function comesToBe(
  limiter: RedisLimiter,
  name: 'requests' | 'tokens' | 'usd_day',
  used: number,
  server: RedisServer,
) {
  const key = `signalbox:limit:{limits}${name}:key:a`
  const field = name === 'usd_day' ? 'spent' : 'sum'
  await until(async () => (await server.ask('HGET', key, field)) === JSON.stringify(String(used)), `${name} ${used}`)
  return limiter
}

t.test('what was reserved before an outage is settled after it', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url)
  const limits = [limit('tokens', 100, 60), limit('usd_day', 100, 60)]
  const reservation = await granted(limiter, ...limits)
  server.pause()
  const settled = limiter.settle(reservation, { tokens: 10, usd: 10e-9, keyId: 'k' })
  await sleep(1000)
  server.resume()
  await settled
  await comesToBe(limiter, 'tokens', 10, server)
  await comesToBe(limiter, 'usd_day', 10, server)
  t.match(await limiter.usageOf('k'), { today: { requests: 1, tokens: 10 } }, 'once, whichever attempt it was')
})

t.test('what Redis did for nobody who heard of it, and nobody was served for, is undone', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url, { whenStoreIsDown: { concurrency: 'closed' } })
  await granted(limiter, limit('tokens', 100, 5), limit('requests', 9))
  server.pause()
  // It lies in the socket, and is done when Redis wakes up.
  await t.rejects(limiter.reserve([limit('tokens', 100, 60), limit('requests', 9), limit('concurrency', 9)]))
  server.resume()
  await comesToBe(limiter, 'tokens', 5, server)
  await until(async () => (await server.ask('ZCARD', 'signalbox:limit:{limits}open')) === '1', 'only the first is open')
  await comesToBe(limiter, 'requests', 1, server)
})

t.test('Redis that is slow, and not away: what it reserved stands, and is settled once', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server.port)
  const limiter = await opened(t, `redis://127.0.0.1:${proxy.port}`)
  const limits = [limit('tokens', 1000, 60), limit('usd_day', 1000, 60), limit('requests', 9)]
  await limiter.settle(await granted(limiter, ...limits), { tokens: 5, usd: 5e-9, keyId: 'k' })
  proxy.latencyMs = 250
  const reservation = await granted(limiter, ...limits)
  await comesToBe(limiter, 'usd_day', 65, server)
  await comesToBe(limiter, 'tokens', 65, server)
  const settled = limiter.settle(reservation, { tokens: 90, usd: 90e-9, keyId: 'k' })
  // Each try is done, and none is heard of.
  await sleep(1500)
  proxy.latencyMs = 0
  await settled
  await comesToBe(limiter, 'usd_day', 95, server)
  await comesToBe(limiter, 'tokens', 95, server)
  t.match(await limiter.usageOf('k'), { today: { requests: 2, tokens: 95, usd: 95e-9 } })
  await comesToBe(limiter, 'requests', 2, server)
})

t.test('what was spent in an outage is charged when it is over', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url)
  await granted(limiter, limit('usd_day', 100, 5))
  await server.kill()
  const local = await granted(limiter, limit('usd_day', 100, 60))
  const settled = limiter.settle(local, { tokens: 10, usd: 20e-9, keyId: 'k' })
  await server.restart()
  await settled
  await comesToBe(limiter, 'usd_day', 20, server)
  t.match(await limiter.usageOf('k'), { today: { requests: 1, tokens: 10, usd: 20e-9 } })
})

t.test('usage is not to be had while Redis is away', async (t) => {
  const server = await startRedis(t)
  const limiter = await opened(t, server.url)
  await server.kill()
  await failsInTime(t, 300, () => limiter.usageOf('k'))
})
