import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { type Lease, LeaseLost, RedisLeases, RedisPersistence, StoreUnavailable } from '../../src/index.ts'
import { Program } from '../process.ts'
import { startCluster, startRedis } from '../redis.ts'
import { until } from '../redis-server.ts'
import { keepsTheContract } from './leases-contract.ts'
import { connected, emptyPrefix, failsInTime, recovers } from './redis-outages.ts'

const worker = fileURLToPath(new URL('lease-worker.ts', import.meta.url))
const name = 'turn:{it}'

/** Another process that works on the same leases. */
const start = (t: Test, url: string, ...task: string[]): Program =>
  new Program(t, process.execPath, { args: ['--conditions=signalbox-source', worker, url, ...task] })

async function opened(t: Test, url: string, leaseMs?: number) {
  const connection = await connected(t, { url })
  const leases = new RedisLeases(connection, leaseMs === undefined ? {} : { leaseMs })
  return { connection, leases, store: new RedisPersistence(connection) }
}

async function taken(leases: RedisLeases, waitMs = 5000): Promise<Lease> {
  const lease = await leases.acquire(name, { waitMs })
  if (lease) return lease
  throw new Error('it took too long')
}

for (const [where, start] of Object.entries({ 'one server': startRedis, 'a cluster': startCluster })) {
  t.test(`as all leases, on ${where}`, async (t) => {
    const { url } = await start(t)
    keepsTheContract(t, async (t) => new RedisLeases(await connected(t, { url, keyPrefix: emptyPrefix() })))
  })
}

t.test('a lease time that is none is refused', async (t) => {
  const { url } = await startRedis(t)
  const connection = await connected(t, { url })
  for (const leaseMs of [0, 99, -1, 1000.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => new RedisLeases(connection, { leaseMs }), RangeError)
  }
})

t.test('a lease that is held is renewed, and not had by others', async (t) => {
  const { url } = await startRedis(t)
  const [one, other] = [await opened(t, url, 300), await opened(t, url, 300)]
  const lease = await taken(one.leases)
  t.equal(await other.leases.acquire(name, { waitMs: 1000 }), undefined)
  t.equal(lease.lost, false)
  await one.store.set('v:{it}', 1, { lease })
  lease.release()
  t.ok(await other.leases.acquire(name, { waitMs: 1000 }))
})

t.test('nothing is left of a lease that was released but its token, and of who waited', async (t) => {
  const server = await startRedis(t)
  const [one, other] = [await opened(t, server.url), await opened(t, server.url)]
  const lease = await taken(one.leases)
  t.equal(await other.leases.acquire(name, { waitMs: 50 }), undefined)
  const controller = new AbortController()
  const leaving = other.leases.acquire(name, { waitMs: 5000, signal: controller.signal })
  await sleep(50)
  controller.abort()
  await t.rejects(leaving)
  lease.release()
  await until(
    async () => (await server.ask('KEYS', '*')) === JSON.stringify([`signalbox:fence:${name}`]),
    'the rest to go',
  )
  t.ok(Number(await server.ask('PTTL', `signalbox:fence:${name}`)) > 0, 'and that goes, too')
})

t.test('a write that reaches the server after the release is refused there', async (t) => {
  const { url } = await startRedis(t)
  const { leases, store } = await opened(t, url)
  const lease = await taken(leases)
  const asSent = { name, token: lease.token, lost: false, release: () => {} }
  await store.set('value:{it}', 1, { lease: asSent })
  lease.release()
  await t.rejects(store.set('value:{it}', 2, { lease: asSent }), LeaseLost)
})

t.test('of two processes none has to wait until the other needs it no more', async (t) => {
  const { url } = await startRedis(t)
  const [one, other] = [await opened(t, url), await opened(t, url)]
  const order: string[] = []
  const turn = async (leases: RedisLeases, who: string): Promise<void> => {
    const lease = await taken(leases)
    order.push(who)
    await sleep(5)
    lease.release()
  }
  const many = Array.from({ length: 50 }, () => turn(one.leases, 'one'))
  await until(() => order.length > 2, 'the first turns')
  const before = order.length
  await turn(other.leases, 'other')
  t.ok(order.indexOf('other') - before < 10, `it came after ${order.indexOf('other') - before} more`)
  await Promise.all(many)
})

t.test('of 200 turns of two processes no two are at once, and each has a larger token', async (t) => {
  const { url } = await startRedis(t)
  const workers = [start(t, url, 'contend', '100'), start(t, url, 'contend', '100')]
  const results = await Promise.all(
    workers.map(async ({ exited }) => {
      const { code, stdout, stderr } = await exited
      t.equal(code, 0, stderr)
      return JSON.parse(stdout) as { overlaps: number; tokens: number[] }
    }),
  )
  for (const { overlaps, tokens } of results) {
    t.equal(overlaps, 0)
    t.equal(tokens.length, 100)
    t.strictSame(
      tokens,
      tokens.toSorted((a, b) => a - b),
    )
  }
  t.equal(new Set(results.flatMap(({ tokens }) => tokens)).size, 200)
})

t.test('a holder that was killed delays the next one by its lease at most', async (t) => {
  const { url } = await startRedis(t)
  const leaseMs = 1500
  const { leases, store } = await opened(t, url, leaseMs)
  const holder = start(t, url, 'hold', String(leaseMs))
  await holder.says(/held/)
  holder.kill('SIGKILL')
  const startedAt = performance.now()
  const lease = await taken(leases)
  const took = Math.round(performance.now() - startedAt)
  t.ok(took < leaseMs + 1000, `after ${took} ms`)
  await store.set('value:{it}', 'of the second', { lease })
  t.equal(await store.get('value:{it}'), 'of the second')
})

t.test('a holder that was paused for longer than its lease finds its write refused', async (t) => {
  const { url } = await startRedis(t)
  const { leases, store } = await opened(t, url, 500)
  const holder = start(t, url, 'hold', '500')
  await holder.says(/held/)
  holder.kill('SIGSTOP')
  const lease = await taken(leases)
  await store.set('value:{it}', 'of the second', { lease })
  holder.kill('SIGCONT')
  await holder.says(/LeaseLost|written/)
  t.match(holder.stdout, /LeaseLost/)
  t.equal((await holder.exited).code, 0)
  t.equal(await store.get('value:{it}'), 'of the second')
  await t.resolves(store.set('value:{it}', 'again', { lease }), 'and its release takes nothing from the next holder')
})

t.test('who is killed while waiting delays those behind it by a second or so', async (t) => {
  const { url } = await startRedis(t)
  const { leases } = await opened(t, url)
  const lease = await taken(leases)
  const waiter = start(t, url, 'wait', '15000')
  await waiter.says(/waits/)
  waiter.kill('SIGKILL')
  await waiter.exited
  lease.release()
  const startedAt = performance.now()
  await taken(leases)
  t.ok(performance.now() - startedAt < 2500)
})

t.test('in an outage', async (t) => {
  t.test('none is had, and afterwards it is', async (t) => {
    const server = await startRedis(t)
    const { leases } = await opened(t, server.url)
    await server.kill()
    await failsInTime(t, 1000, () => leases.acquire(name, { waitMs: 5000 }))
    await server.restart()
    await recovers(t, async () => (await taken(leases)).release())
  })

  t.test('an answer that came too late leaves nobody with the lease', async (t) => {
    const server = await startRedis(t)
    const { leases } = await opened(t, server.url)
    server.pause()
    await failsInTime(t, 1000, () => leases.acquire(name, { waitMs: 0 }))
    server.resume()
    await recovers(t, async () => {
      if (!(await leases.acquire(name, { waitMs: 1000 }))) throw new Error('somebody has it')
    })
  })

  t.test('a release is made up for', async (t) => {
    const server = await startRedis(t)
    const { leases } = await opened(t, server.url)
    const lease = await taken(leases)
    server.pause()
    lease.release()
    await sleep(1200)
    server.resume()
    await recovers(t, async () => {
      if (!(await leases.acquire(name, { waitMs: 1000 }))) throw new Error('it is still held')
    })
  })

  t.test('a holder may write as soon as it is over: nobody else has had the lease', async (t) => {
    const server = await startRedis(t)
    const { leases, store } = await opened(t, server.url, 300)
    const lease = await taken(leases)
    server.pause()
    await t.rejects(store.set('v:{it}', 1, { lease }), StoreUnavailable)
    await sleep(200)
    server.resume()
    await recovers(t, () => store.set('v:{it}', 2, { lease }))
    t.equal(lease.lost, false)
  })

  t.test('in which the server lost its memory, the lease is lost, and the holder learns it', async (t) => {
    const server = await startRedis(t)
    const { leases, store } = await opened(t, server.url, 300)
    const lease = await taken(leases)
    await server.kill()
    await server.restart()
    await until(() => lease.lost, 'the loss')
    await t.rejects(store.set('v:{it}', 1, { lease }), LeaseLost)
    t.ok(await leases.acquire('turn:{other}', { waitMs: 0 }))
    lease.release()
    t.ok((await taken(leases)).token > lease.token, 'tokens grow all the same')
  })
})
