import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type Lease, LeaseLost, type Leases, type Persistence } from '../../src/index.ts'
import { userKey } from '../../src/store/stored-key.ts'

export interface Guarded {
  leases: Leases
  store: Persistence
}

const name = userKey('turn:', 'alice', 'c1')
const key = userKey('conversation:', 'alice', 'c1')

/** What leases and a persistence of one kind keep together. `open` makes them empty, and closes them with their test. */
export function guardsWrites(t: Test, open: (t: Test) => Guarded | Promise<Guarded>): void {
  t.test('the holder writes as if nothing were guarded', async (t) => {
    const { leases, store } = await open(t)
    const lease = await taken(leases)
    await store.set(key, { n: 1 }, { lease })
    t.strictSame(await store.get(key), { n: 1 })
    await store.set(key, 2, { lease, ttlSeconds: 0.05 })
    t.equal(await store.get(key), 2)
    await sleep(80)
    t.equal(await store.get(key), undefined)
    await t.rejects(store.set(key, 3, { lease, ttlSeconds: -1 }), RangeError)
    await t.rejects(store.set(key, undefined, { lease }), TypeError)
  })

  t.test('who has released it writes no more', async (t) => {
    const { leases, store } = await open(t)
    const lease = await taken(leases)
    await store.set(key, 'before', { lease })
    lease.release()
    await t.rejects(store.set(key, 'after', { lease }), LeaseLost)
    t.equal(await store.get(key), 'before')
  })

  t.test('what was written before the release is written', async (t) => {
    const { leases, store } = await open(t)
    const lease = await taken(leases)
    const writing = store.set(key, 'last', { lease })
    lease.release()
    await writing
    t.equal(await store.get(key), 'last')
  })

  t.test('the next holder writes, the one before does not', async (t) => {
    const { leases, store } = await open(t)
    const first = await taken(leases)
    first.release()
    const second = await taken(leases)
    await store.set(key, 'of the second', { lease: second })
    await t.rejects(store.set(key, 'of the first', { lease: first }), LeaseLost)
    second.release()
    await t.rejects(store.set(key, 'of the first', { lease: first }), LeaseLost)
    t.equal(await store.get(key), 'of the second')
  })

  t.test('a write makes a new version, where there are versions, and one that is refused makes none', async (t) => {
    const { leases, store } = await open(t)
    const version = async (): Promise<string | undefined> => (await store.versions?.([key]))?.[0]
    if (!store.versions) return
    const first = await taken(leases)
    await store.set(key, 1, { lease: first })
    const before = await version()
    t.type(before, 'string')
    await store.set(key, 1, { lease: first })
    const after = await version()
    t.not(after, before)
    first.release()
    const second = await taken(leases)
    await t.rejects(store.set(key, 2, { lease: first }), LeaseLost)
    t.equal(await version(), after)
    await store.set(key, 1, { lease: second })
    t.not(await version(), after)
  })

  t.test('names and keys of any kind, as long as they are of one thing', async (t) => {
    const { leases, store } = await open(t)
    for (const [user, id] of [
      ['{', '}'],
      [null, ''],
      ['\ud800', 'é'],
      ['x'.repeat(600), 'y'],
    ] as const) {
      const lease = await taken(leases, userKey('turn:', user, id))
      await store.set(userKey('conversation:', user, id), id, { lease })
      t.equal(await store.get(userKey('conversation:', user, id)), id)
    }
    for (const both of ['', 'plain', '}', '{}', '{}{a}', 'a{b', '{a}{b}', 'x'.repeat(10_000), `{${'y'.repeat(600)}}`]) {
      const lease = await taken(leases, both)
      await store.set(both, both, { lease })
      t.equal(await store.get(both), both)
    }
  })
}

async function taken(leases: Leases, of = name): Promise<Lease> {
  const lease = await leases.acquire(of, { waitMs: 1000 })
  if (lease) return lease
  throw new Error('the lease should have been free')
}
