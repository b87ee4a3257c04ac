import t from 'tap'
import { MemoryPersistence } from '../../src/index.ts'
import { keepsTheContract } from './persistence-contract.ts'

t.test('as every persistence', async (t) => keepsTheContract(t, () => new MemoryPersistence()))

t.test('it is bounded: the least recently used go first', async (t) => {
  const store = new MemoryPersistence({ maxEntries: 2 })
  await store.set('a', 1)
  await store.set('b', 2)
  await store.get('a')
  await store.set('c', 3)
  t.equal(await store.get('b'), undefined)
  t.equal(await store.get('a'), 1)
  t.equal(await store.get('c'), 3)
})

t.test('by default it holds 10 000', async (t) => {
  const store = new MemoryPersistence()
  for (let n = 0; n <= 10_000; n++) await store.set(`k${n}`, n)
  t.equal(await store.get('k0'), undefined)
  t.equal(await store.get('k1'), 1)
  t.equal(await store.get('k10000'), 10_000)
})

t.test('it is bounded by bytes, too: a few large values take the place of many small ones', async (t) => {
  const store = new MemoryPersistence({ maxBytes: 1000 })
  await store.set('a', 'x'.repeat(400))
  await store.set('b', 'x'.repeat(400))
  await store.set('c', 'é'.repeat(200))
  t.equal(await store.get('a'), undefined)
  t.equal(await store.get('b'), 'x'.repeat(400))
  t.equal(await store.get('c'), 'é'.repeat(200))

  const tooLarge = new RangeError('a value of 1005 bytes is more than this store holds, which is 1000')
  await t.rejects(store.set('key', 'x'.repeat(1000)), tooLarge)
  t.equal(await store.get('b'), 'x'.repeat(400), 'and takes the place of none')
})

t.test('a bound that is none is refused', async (t) => {
  for (const bound of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const name of ['maxEntries', 'maxBytes']) {
      const reason = new RangeError(`${name} must be a positive integer, not ${bound}`)
      t.throws(() => new MemoryPersistence({ [name]: bound }), reason)
    }
  }
})

t.test('two of them share nothing', async (t) => {
  const [one, other] = [new MemoryPersistence(), new MemoryPersistence()]
  await one.set('k', 1)
  t.equal(await other.get('k'), undefined)
})
