import t from 'tap'
import { LeaseLost } from '../../src/store/lease.ts'
import { MemoryEventLog } from '../../src/store/memory-event-log.ts'
import { MemoryLeases } from '../../src/store/memory-leases.ts'
import { MemoryPersistence } from '../../src/store/memory-persistence.ts'
import { observedEventLog, observedIndex, observedLeases, observedPersistence } from '../../src/store/observed-store.ts'
import { PersistedIndex } from '../../src/store/persisted-index.ts'
import type { StoreReport } from '../../src/types.ts'
import { keepsTheContract } from './persistence-contract.ts'

function recording() {
  const reports: StoreReport[] = []
  return {
    tell: (report: StoreReport) => void reports.push(report),
    told: () => reports.splice(0).map(({ part, operation, outcome }) => `${part} ${operation} ${outcome}`),
    reports,
  }
}

keepsTheContract(t, () => observedPersistence(new MemoryPersistence(), () => {}))

t.test('values: every question is told, with what came of it', async (t) => {
  const { tell, told, reports } = recording()
  const store = observedPersistence(new MemoryPersistence(), tell)
  await store.set('a', 1)
  t.equal(await store.get('a'), 1)
  t.strictSame(await store.versions?.(['b']), [undefined])
  t.equal(await store.delete('a'), true)
  t.ok(reports.every(({ durationMs }) => durationMs >= 0))
  t.strictSame(told(), ['values set ok', 'values get ok', 'values versions ok', 'values delete ok'])
})

t.test('what fails is told, and fails all the same', async (t) => {
  const { tell, told } = recording()
  const down = Promise.reject(new Error('down'))
  down.catch(() => {})
  const lost = Promise.reject(new LeaseLost({ name: 'x' }))
  lost.catch(() => {})
  const store = observedPersistence({ get: () => down, set: () => lost, delete: async () => false }, tell)
  await t.rejects(store.get('a'), { message: 'down' })
  await t.rejects(store.set('a', 1), { name: 'LeaseLost' })
  t.equal(store.getMany, undefined)
  t.strictSame(told(), ['values get failed', 'values set refused'])
})

t.test('an index', async (t) => {
  const { tell, told } = recording()
  const index = observedIndex(new PersistedIndex(new MemoryPersistence()), tell)
  await index.add('k', { at: 1, member: 'a' })
  t.strictSame(await index.page('k', { order: 'asc', limit: 1 }), [{ at: 1, member: 'a' }])
  t.equal(await index.remove('k', 'a'), true)
  t.strictSame(told(), ['index add ok', 'index page ok', 'index remove ok'])
})

t.test('leases and events', async (t) => {
  const { tell, told } = recording()
  const leases = observedLeases(new MemoryLeases(), tell)
  const lease = await leases.acquire('a', { waitMs: 1 })
  t.equal(await leases.acquire('a', { waitMs: 1 }), undefined)
  lease?.release()
  const log = observedEventLog(new MemoryEventLog(), tell)
  t.equal(await log.append('a', 0, [{ n: 0 }], { end: true }), true)
  for await (const batch of log.read('a', 0, { idleMs: 0 })) t.strictSame(batch, [{ n: 0 }])
  t.equal(await log.delete('a'), true)
  t.strictSame(told(), ['leases acquire ok', 'leases acquire refused', 'events append ok', 'events delete ok'])
})
