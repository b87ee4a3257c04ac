import t from 'tap'
import { MemoryLeases, MemoryPersistence } from '../../src/index.ts'
import { guardsWrites } from './fencing-contract.ts'
import { keepsTheContract } from './leases-contract.ts'

t.test('as all leases', async (t) => keepsTheContract(t, () => new MemoryLeases()))

t.test('they guard writes', async (t) => {
  guardsWrites(t, () => ({ leases: new MemoryLeases(), store: new MemoryPersistence() }))
})

t.test('nothing is left of a lease that nobody holds or waits for', async (t) => {
  const leases = new MemoryLeases()
  for (let n = 0; n < 100; n++) {
    const name = `conversation ${n}`
    const held = await leases.acquire(name, { waitMs: 0 })
    const controller = new AbortController()
    const leaving = leases.acquire(name, { waitMs: 1000, signal: controller.signal })
    const next = leases.acquire(name, { waitMs: 1000 })
    t.equal(await leases.acquire(name, { waitMs: 0 }), undefined)
    controller.abort()
    await t.rejects(leaving)
    held?.release()
    const lease = await next
    lease?.release()
  }
  t.equal(leases.size, 0)
})

t.test('it tells how many are taken', async (t) => {
  const leases = new MemoryLeases()
  const [a] = [await leases.acquire('a', { waitMs: 0 }), await leases.acquire('b', { waitMs: 0 })]
  t.equal(leases.size, 2)
  a?.release()
  t.equal(leases.size, 1)
})
