import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import {
  type Lease,
  LeaseLost,
  RedisLeases,
  RedisPersistence,
  ResponseStore,
  StoreUnavailable,
} from '../../src/index.ts'
import { startCluster, startRedis, startSentinel } from '../redis.ts'
import { startProxy } from '../tcp-proxy.ts'
import { guardsWrites } from './fencing-contract.ts'
import { keepsTheContract } from './persistence-contract.ts'
import { connected, emptyPrefix, failsInTime } from './redis-outages.ts'

/** Stores and leases on one Redis, each for itself. */
const on = (url: string) => async (t: Test) => {
  const connection = await connected(t, { url, keyPrefix: emptyPrefix() })
  return { store: new RedisPersistence(connection), leases: new RedisLeases(connection) }
}

t.test('on one server', async (t) => {
  const server = await startRedis(t)
  const open = on(server.url)
  t.test('as every persistence', async (t) => keepsTheContract(t, async (t) => (await open(t)).store))
  t.test('leases guard its values', async (t) => guardsWrites(t, open))

  t.test('what one connection wrote, another reads', async (t) => {
    const keyPrefix = emptyPrefix()
    const [one, other] = await Promise.all([1, 2].map(() => connected(t, { url: server.url, keyPrefix })))
    if (!one || !other) throw new Error('there are two')
    for (let n = 0; n < 50; n++) {
      await new RedisPersistence(one).set('k', n)
      t.equal(await new RedisPersistence(other).get('k'), n)
    }
  })

  t.test('a value is the JSON that others can read, under a key with its name', async (t) => {
    const connection = await connected(t, { url: server.url, keyPrefix: 'plain:' })
    await new RedisPersistence(connection).set('conversation:{user:alice:c1}', { a: 'é' }, { ttlSeconds: 60 })
    const text = JSON.parse(await server.ask('GET', 'plain:value:conversation:{user:alice:c1}'))
    t.match(JSON.parse(text), { version: /^[\w-]{16}$/, value: { a: 'é' } })
    t.match(await server.ask('PTTL', 'plain:value:conversation:{user:alice:c1}'), /^(59|60)\d{3}$/)
  })

  t.test('a lease of something else guards nothing', async (t) => {
    const { store, leases } = await open(t)
    const lease = await leases.acquire('turn:{user:alice:c1}', { waitMs: 0 })
    await t.rejects(store.set('conversation:{user:bob:c1}', 1, { lease }), TypeError)
    t.equal(await store.get('conversation:{user:bob:c1}'), undefined)
  })

  t.test('a write of one who does not know that its lease is lost changes neither value nor version', async (t) => {
    const { store, leases } = await open(t)
    const lease = await leases.acquire('turn:{c1}', { waitMs: 0 })
    if (!lease) throw new Error('it is free')
    const { name, token } = lease
    await store.set('{c1}', 'in time', { lease })
    const [version] = await store.versions(['{c1}'])
    lease.release()
    const unaware: Lease = { name, token, lost: false, release() {} }
    await t.rejects(store.set('{c1}', 'late', { lease: unaware }), LeaseLost)
    t.equal(await store.get('{c1}'), 'in time')
    t.strictSame(await store.versions(['{c1}']), [version])
  })

  t.test('what is no value of ours is no value', async (t) => {
    const connection = await connected(t, { url: server.url, keyPrefix: 'foreign:' })
    const store = new RedisPersistence(connection)
    await store.set('{ours}', 1)
    await server.ask('LPUSH', 'foreign:value:{list}', 'x')
    await t.rejects(store.get('{list}'), StoreUnavailable)
    await t.rejects(store.getMany(['{ours}', '{list}']), StoreUnavailable)
    await t.rejects(store.versions(['{ours}', '{list}']), StoreUnavailable)
    for (const text of ['no JSON', '{"a":1}', '1', '{"version":"abc', '{"version":"0123456789abcdef"}']) {
      await server.ask('SET', 'foreign:value:{text}', text)
      await t.rejects(store.get('{text}'), SyntaxError)
      await t.rejects(store.getMany(['{ours}', '{text}']), SyntaxError)
      const responses = new ResponseStore({ persistence: store, keyPrefix: '' })
      await server.ask('SET', 'foreign:value:{anon:text}', text)
      for (let n = 0; n < 2; n++) await t.rejects(responses.get(null, 'text'), SyntaxError, 'and it is not remembered')
    }
    await store.set('{text}', 1)
    t.equal(await store.get('{text}'), 1)
  })

  t.test('a response that has not changed is read once', async (t) => {
    const { store } = await open(t)
    const responses = new ResponseStore({ persistence: store })
    const ids = Array.from({ length: 500 }, (_, n) => `resp_${n}`)
    await Promise.all(ids.map((id) => responses.set('alice', id, { id })))
    const reads = async (): Promise<number> =>
      Number(/cmdstat_get:calls=(\d+)/.exec(await server.ask('INFO', 'commandstats'))?.[1])
    const before = await reads()
    for (let n = 0; n < 3; n++) t.strictSame((await responses.getMany('alice', ids)).at(-1), { id: 'resp_499' })
    t.equal(await reads(), before + 500)
    await responses.set('alice', 'resp_7', { id: 'changed' })
    t.strictSame((await responses.getMany('alice', ids)).at(7), { id: 'changed' })
    t.equal(await reads(), before + 501)
  })

  t.test('a thousand keys are asked for within the time of one command', async (t) => {
    const proxy = await startProxy(t, server.port)
    const commandTimeoutMs = 300
    const connection = await connected(t, { url: `redis://127.0.0.1:${proxy.port}`, commandTimeoutMs })
    const store = new RedisPersistence(connection)
    const keys = Array.from({ length: 1000 }, (_, n) => `k${n}`)
    await Promise.all(keys.map((key) => store.set(key, key)))
    t.strictSame(await store.getMany(keys), keys)
    // Each batch of values would be in time.
    proxy.latencyMs = 50
    t.equal((await store.versions(keys)).filter(Boolean).length, 1000)
    await failsInTime(t, commandTimeoutMs, () => store.getMany(keys))
    proxy.blackHole = true
    await failsInTime(t, commandTimeoutMs, () => store.versions(keys))
    await failsInTime(t, commandTimeoutMs, () => store.getMany(keys))
  })
})

t.test('on a cluster', async (t) => {
  const { url, nodes } = await startCluster(t)
  const open = on(url)
  t.test('as every persistence', async (t) => keepsTheContract(t, async (t) => (await open(t)).store))
  t.test('leases guard its values', async (t) => guardsWrites(t, open))

  t.test('values are on all nodes', async (t) => {
    const { store } = await open(t)
    await Promise.all(Array.from({ length: 100 }, (_, n) => store.set(`conversation:{user:alice:${n}}`, n)))
    for (const node of nodes) t.ok(Number(await node.ask('DBSIZE')) > 10)
  })
})

t.test('on the master that sentinels name', async (t) => {
  const set = await startSentinel(t)
  const open = on(set.url)
  t.test('as every persistence', async (t) => keepsTheContract(t, async (t) => (await open(t)).store))
  t.test('leases guard its values', async (t) => guardsWrites(t, open))

  t.test('a sentinel that does not answer is passed over', async (t) => {
    const { sentinels } = set
    sentinels[0]?.pause()
    const connection = await connected(t, { url: set.url })
    sentinels[0]?.resume()
    t.equal(connection.status, 'ready')
  })

  t.test('a failover in the middle of writes loses nothing that was acknowledged and replicated', async (t) => {
    const { store, leases } = await open(t)
    const lease = await leases.acquire('turn:{user:alice:c1}', { waitMs: 0 })
    const acknowledged: number[] = []
    const failures: unknown[] = []
    let isOver = false
    const writing = (async () => {
      for (let n = 0; !isOver; n++) {
        await store.set(`k${n}`, n).then(
          () => acknowledged.push(n),
          (error: unknown) => failures.push(error),
        )
        await sleep(1)
      }
    })()
    const acknowledgedAfter = async (count: number): Promise<void> => {
      while (acknowledged.length < count) await sleep(5)
    }

    await acknowledgedAfter(100)
    const before = await set.master()
    const admin = new Redis(before.port, '127.0.0.1')
    const replicated = [...acknowledged]
    // Replication is in order: with this, everything before it has arrived.
    await admin.set('marker', 1)
    t.equal(await admin.wait(1, 5000), 1)
    admin.disconnect()
    await before.kill()
    const killedAt = performance.now()

    while (failures.length === 0) await sleep(5)
    const count = acknowledged.length
    await acknowledgedAfter(count + 100)
    t.ok(performance.now() - killedAt < 6000, `after ${Math.round(performance.now() - killedAt)} ms`)
    isOver = true
    await writing
    t.not((await set.master()).port, before.port)
    t.ok(replicated.length >= 100 && failures.length > 0)
    t.ok(failures.every((error) => error instanceof StoreUnavailable))
    const kept = await Promise.all(replicated.map((n) => store.get(`k${n}`)))
    t.strictSame(kept, replicated)

    await t.resolves(store.set('conversation:{user:alice:c1}', 1, { lease }), 'the lease is held on')
    const next = leases.acquire('turn:{user:alice:c1}', { waitMs: 1000 })
    lease?.release()
    t.ok(((await next)?.token ?? 0) > (lease?.token ?? 0))
  })
})
