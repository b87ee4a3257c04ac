import t from 'tap'
import { FilePersistence, MemoryPersistence, PersistedIndex } from '../../src/index.ts'
import { keepsTheIndexContract } from './sorted-index-contract.ts'

t.test('as every index, in memory', async (t) => {
  keepsTheIndexContract(t, () => new PersistedIndex(new MemoryPersistence()))
})

t.test('as every index, in files', async (t) => {
  keepsTheIndexContract(t, (t) => new PersistedIndex(new FilePersistence({ directory: t.testdir() })))
})

t.test('the next process has what this one added', async (t) => {
  const directory = t.testdir()
  await new PersistedIndex(new FilePersistence({ directory })).add('k', { at: 1, member: 'a' })
  const next = new PersistedIndex(new FilePersistence({ directory }))
  t.strictSame(await next.page('k', { order: 'asc', limit: 5 }), [{ at: 1, member: 'a' }])
})

t.test('it is bounded: the oldest go first', async (t) => {
  const index = new PersistedIndex(new MemoryPersistence(), { maxMembers: 2 })
  for (const [at, member] of [
    [2, 'b'],
    [3, 'c'],
    [1, 'a'],
  ] as const)
    await index.add('k', { at, member })
  t.strictSame(await index.page('k', { order: 'asc', limit: 5 }), [
    { at: 2, member: 'b' },
    { at: 3, member: 'c' },
  ])
})

t.test('what is no index of ours is empty', async (t) => {
  const persistence = new MemoryPersistence()
  await persistence.set('k', { not: 'a list' })
  const index = new PersistedIndex(persistence)
  t.strictSame(await index.page('k', { order: 'asc', limit: 5 }), [])
})
