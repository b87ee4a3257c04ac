import t, { type Test } from 'tap'
import { UsageRecords } from '../../src/admin/usage-records.ts'
import { newKeyId } from '../../src/auth/stored-key.ts'
import {
  FilePersistence,
  HookBus,
  MemoryLeases,
  MemoryPersistence,
  RedisLeases,
  RedisPersistence,
  StoreUnavailable,
} from '../../src/index.ts'
import type { LeasedStore } from '../../src/store/leased-value.ts'
import { startRedis } from '../redis.ts'
import { connected, emptyPrefix } from '../store/redis-outages.ts'

const redis = await startRedis(t)

/** Answers of a model to a key. */
function answer(hooks: HookBus, keyId: string | undefined, tokens: number, costUsd: number | 'unknown'): void {
  hooks.emit('onCompletion', {
    ...{ requestId: 'r', userId: 'ann', model: 'm', provider: 'p', stream: false, durationMs: 1, costUsd },
    ...(keyId === undefined ? {} : { keyId }),
    usage: { prompt_tokens: tokens, completion_tokens: 1, total_tokens: tokens + 1 },
  })
}

/** A replica, which adds to the store only when it is told to. */
function replica(t: Test, store: LeasedStore) {
  const hooks = new HookBus()
  const usage = new UsageRecords({ ...store, hooks, flushMs: 3_600_000 })
  t.teardown(() => usage.close())
  return { hooks, usage }
}

const stores: Record<string, (t: Test) => Promise<[LeasedStore, LeasedStore]>> = {
  async memory() {
    const store = { persistence: new MemoryPersistence(), leases: new MemoryLeases() }
    return [store, store]
  },
  async file(t) {
    const store = { persistence: new FilePersistence({ directory: t.testdir() }), leases: new MemoryLeases() }
    return [store, store]
  },
  async Redis(t) {
    const keyPrefix = emptyPrefix()
    const open = async () => {
      const connection = await connected(t, { url: redis.url, keyPrefix })
      return { persistence: new RedisPersistence(connection), leases: new RedisLeases(connection) }
    }
    return Promise.all([open(), open()])
  },
}

for (const [kind, open] of Object.entries(stores)) {
  t.test(`in ${kind}: what both have counted is added up`, async (t) => {
    const [a, b] = await open(t)
    const [one, other] = [replica(t, a), replica(t, b)]
    const id = newKeyId()
    for (let n = 0; n < 10; n++) answer(n % 2 ? one.hooks : other.hooks, id, 9, 0.25)
    answer(one.hooks, id, 9, 'unknown')
    answer(one.hooks, newKeyId(), 1, 1)
    answer(one.hooks, 'a key of the configuration', 1, 1)
    answer(one.hooks, undefined, 1, 1)
    await Promise.all([one.usage.flush(), other.usage.flush()])
    const counted = { requests: 11, tokens: 110, usd: 2.5, unpriced: 1 }
    for (const { usage } of [one, other]) {
      const { date, today, thisMonth } = await usage.usageOf(id)
      t.equal(date, new Date().toISOString().slice(0, 10))
      t.strictSame({ today, thisMonth }, { today: counted, thisMonth: counted })
    }
    t.match(await one.usage.usageOf(newKeyId()), { today: { requests: 0 }, thisMonth: { usd: 0 } })
  })
}

t.test('days are those of UTC, and a month begins anew', async (t) => {
  const { hooks, usage } = replica(t, { persistence: new MemoryPersistence(), leases: new MemoryLeases() })
  const id = newKeyId()
  const now = t.capture(Date, 'now', () => Date.UTC(2026, 0, 30, 23, 59))
  answer(hooks, id, 9, 1)
  await usage.flush()
  now.restore()
  const next = t.capture(Date, 'now', () => Date.UTC(2026, 0, 31, 0, 1))
  answer(hooks, id, 9, 2)
  t.match(await usage.usageOf(id), { date: '2026-01-31', today: { usd: 2 }, thisMonth: { usd: 3, requests: 2 } })
  next.restore()
  const later = t.capture(Date, 'now', () => Date.UTC(2026, 1, 1, 0, 1))
  t.match(await usage.usageOf(id), { date: '2026-02-01', today: { usd: 0 }, thisMonth: { usd: 0 } })
  answer(hooks, id, 9, 4)
  t.match(await usage.usageOf(id), { today: { usd: 4 }, thisMonth: { usd: 4, requests: 1 } })
  later.restore()
})

t.test('what the store did not take is added when it is back', async (t) => {
  const persistence = new MemoryPersistence()
  const { hooks, usage } = replica(t, { persistence, leases: new MemoryLeases() })
  const id = newKeyId()
  const { get } = persistence
  persistence.get = async () => {
    throw new Error('away')
  }
  answer(hooks, id, 9, 1)
  await usage.flush()
  await t.rejects(usage.usageOf(id), StoreUnavailable)
  answer(hooks, id, 9, 1)
  persistence.get = get
  t.match(await usage.usageOf(id), { today: { requests: 2, usd: 2 } })
})

t.test('closed, it has added what it had counted, and counts no more', async (t) => {
  const store = { persistence: new MemoryPersistence(), leases: new MemoryLeases() }
  const { hooks, usage } = replica(t, store)
  const id = newKeyId()
  answer(hooks, id, 9, 1)
  await usage.close()
  answer(hooks, id, 9, 1)
  t.match(await replica(t, store).usage.usageOf(id), { today: { requests: 1 } })
})
