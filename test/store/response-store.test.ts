import fc from 'fast-check'
import t from 'tap'
import { LeaseLost, MemoryLeases, MemoryPersistence, type Persistence, ResponseStore } from '../../src/index.ts'
import { userKey } from '../../src/store/stored-key.ts'

/** A persistence that can be looked into. */
function persistence() {
  const values = new Map<string, unknown>()
  const reads: string[] = []
  const store: Persistence = {
    async get(key) {
      reads.push(key)
      return values.get(key)
    },
    async set(key, value) {
      values.set(key, structuredClone(value))
    },
    async delete(key) {
      return values.delete(key)
    },
  }
  return { values, reads, store }
}

const answer = { id: 'resp_1', output: ['hello'] }

t.test('keeps a response, and forgets it when told to', async (t) => {
  const store = new ResponseStore()
  t.equal(await store.get('alice', 'resp_1'), undefined)
  await store.set('alice', 'resp_1', answer)
  t.strictSame(await store.get('alice', 'resp_1'), answer)
  t.equal(await store.delete('alice', 'resp_1'), true)
  t.equal(await store.get('alice', 'resp_1'), undefined)
  t.equal(await store.delete('alice', 'resp_1'), false)
})

t.test('a response is replaced', async (t) => {
  const { store: backing, values } = persistence()
  const store = new ResponseStore({ persistence: backing })
  await store.set('alice', 'resp_1', answer)
  await store.set('alice', 'resp_1', { id: 'resp_1', output: ['changed'] })
  t.strictSame(await store.get('alice', 'resp_1'), { id: 'resp_1', output: ['changed'] })
  t.equal(values.size, 1)
})

t.test("nobody sees another user's, and no user is not a user without a name", async (t) => {
  const store = new ResponseStore()
  const users = ['alice', 'bob', null, '', 'anon', 'user:alice']
  for (const user of users) await store.set(user, 'resp_1', { of: user })
  for (const user of users) t.strictSame(await store.get(user, 'resp_1'), { of: user }, String(user))
  await store.delete('alice', 'resp_1')
  t.strictSame(await store.get('bob', 'resp_1'), { of: 'bob' })
})

t.test('two owners and ids never share a key, whatever they consist of', async (t) => {
  const user = fc.option(fc.oneof(fc.string({ unit: fc.constantFrom(':', '/', '%', 'a', 'é', '3A') }), fc.string()))
  const id = fc.string({ unit: fc.constantFrom(':', '/', '%', 'b', '3A') })
  const property = fc.asyncProperty(user, id, user, id, async (user, id, otherUser, otherId) => {
    fc.pre(user !== otherUser || id !== otherId)
    const store = new ResponseStore()
    await store.set(user, id, answer)
    return (await store.get(otherUser, otherId)) === undefined
  })
  await t.resolves(fc.assert(property, { numRuns: 500 }))
  const store = new ResponseStore()
  await store.set('org', 'alice:c1', answer)
  t.equal(await store.get('org:alice', 'c1'), undefined)
})

t.test('with a persistence', async (t) => {
  t.test('what one process wrote, another reads', async (t) => {
    const { store: shared } = persistence()
    await new ResponseStore({ persistence: shared }).set('alice', 'resp_1', answer)
    const other = new ResponseStore({ persistence: shared })
    t.strictSame(await other.get('alice', 'resp_1'), answer)
    t.equal(await other.delete('alice', 'resp_1'), true)
    t.equal(await new ResponseStore({ persistence: shared }).get('alice', 'resp_1'), undefined)
  })

  t.test(
    'a persistence that cannot tell versions is asked every time: another replica may have changed the value',
    async (t) => {
      const { store: shared, reads } = persistence()
      const [one, other] = [new ResponseStore({ persistence: shared }), new ResponseStore({ persistence: shared })]
      await one.set('alice', 'resp_1', answer)
      t.strictSame(await one.get('alice', 'resp_1'), answer)
      await other.set('alice', 'resp_1', { id: 'changed' })
      t.strictSame(await one.get('alice', 'resp_1'), { id: 'changed' })
      await other.delete('alice', 'resp_1')
      t.equal(await one.get('alice', 'resp_1'), undefined)
      t.equal(reads.length, 3)
    },
  )

  t.test('what is remembered is only served as long as the persistence has that version', async (t) => {
    const shared = new MemoryPersistence()
    let reads = 0
    const counting: Persistence = {
      get(key) {
        reads += 1
        return shared.get(key)
      },
      set: (key, value, options) => shared.set(key, value, options),
      delete: (key) => shared.delete(key),
      versions: (keys) => shared.versions(keys),
    }
    const [one, other] = [new ResponseStore({ persistence: counting }), new ResponseStore({ persistence: counting })]
    await one.set('alice', 'resp_1', answer)
    for (let n = 0; n < 3; n++) t.strictSame(await one.get('alice', 'resp_1'), answer)
    t.equal(reads, 1, 'the value is read once')
    await other.set('alice', 'resp_1', { id: 'changed' })
    t.strictSame(await one.get('alice', 'resp_1'), { id: 'changed' })
    await other.set('alice', 'resp_1', answer)
    t.strictSame(await one.get('alice', 'resp_1'), answer, 'also when it is changed back')
    await other.delete('alice', 'resp_1')
    t.equal(await one.get('alice', 'resp_1'), undefined)
    await other.set('alice', 'resp_1', { id: 'anew' })
    t.strictSame(await one.get('alice', 'resp_1'), { id: 'anew' })
    t.equal(reads, 4)
  })

  t.test('a value that changes between version and reading is not taken for the older version', async (t) => {
    const shared = new MemoryPersistence()
    const other = new ResponseStore({ persistence: shared })
    let between: (() => Promise<void>) | undefined
    const store = new ResponseStore({
      persistence: {
        async get(key) {
          await between?.()
          between = undefined
          return shared.get(key)
        },
        set: (key, value) => shared.set(key, value),
        delete: (key) => shared.delete(key),
        versions: (keys) => shared.versions(keys),
      },
    })
    await other.set('alice', 'resp_1', { n: 1 })
    between = () => other.set('alice', 'resp_1', { n: 2 })
    t.strictSame(await store.get('alice', 'resp_1'), { n: 2 })
    await other.set('alice', 'resp_1', { n: 3 })
    t.strictSame(await store.get('alice', 'resp_1'), { n: 3 })
  })

  t.test('what is read pushes nothing out of its own answer', async (t) => {
    const store = new ResponseStore({ memoryCapacity: 2, persistence: new MemoryPersistence() })
    const ids = ['a', 'b', 'c', 'd']
    for (const id of ids) await store.set('alice', id, { id })
    await store.getMany('alice', ['a', 'b'])
    t.strictSame(
      await store.getMany('alice', ids),
      ids.map((id) => ({ id })),
    )
  })

  t.test('what is remembered is bounded by its size, too', async (t) => {
    const shared = new MemoryPersistence()
    const reads: string[] = []
    const store = new ResponseStore({
      memoryCharacters: 1000,
      persistence: {
        get(key) {
          reads.push(key.slice(-2, -1))
          return shared.get(key)
        },
        set: (key, value) => shared.set(key, value),
        delete: (key) => shared.delete(key),
        versions: (keys) => shared.versions(keys),
      },
    })
    for (const [id, length] of Object.entries({ a: 400, b: 400, c: 2000, d: 400 })) {
      await store.set('alice', id, { text: 'x'.repeat(length) })
    }
    for (const id of ['a', 'b', 'c', 'a', 'b', 'c', 'd', 'b', 'a']) t.ok(await store.get('alice', id))
    t.equal(reads.join(''), 'abccda', 'one that alone is more takes the place of none')
  })

  t.test('several at once are read at once, each user’s own', async (t) => {
    for (const withVersions of [true, false]) {
      const shared = new MemoryPersistence()
      const asked: number[] = []
      const store = new ResponseStore({
        persistence: {
          get: () => Promise.reject(new Error('one by one')),
          set: (key, value) => shared.set(key, value),
          delete: (key) => shared.delete(key),
          async getMany(keys) {
            asked.push(keys.length)
            return Promise.all(keys.map((key) => shared.get(key)))
          },
          ...(withVersions ? { versions: (keys: readonly string[]) => shared.versions(keys) } : {}),
        },
      })
      for (const id of ['a', 'b', 'c']) await store.set('alice', id, { id })
      t.strictSame(await store.getMany('alice', ['b', 'x', 'a']), [{ id: 'b' }, undefined, { id: 'a' }])
      t.strictSame(await store.getMany('alice', ['a', 'b', 'c']), [{ id: 'a' }, { id: 'b' }, { id: 'c' }])
      t.strictSame(asked, withVersions ? [2, 1] : [3, 3], 'and what is remembered not again')
      t.strictSame(await store.getMany('bob', ['a', 'b']), [undefined, undefined])
    }
  })

  t.test('it is kept for 30 days, or as long as one says', async (t) => {
    const told: (number | undefined)[] = []
    const backing: Persistence = {
      ...persistence().store,
      async set(_key, _value, options) {
        told.push(options?.ttlSeconds)
      },
    }
    await new ResponseStore({ persistence: backing }).set('alice', 'resp_1', answer)
    const store = new ResponseStore({ persistence: backing, ttlSeconds: 60 })
    await store.set('alice', 'resp_1', answer)
    await store.set('alice', 'resp_1', answer, { ttlSeconds: 5 })
    t.strictSame(told, [2_592_000, 60, 5])
  })

  t.test('a write that comes with a lease needs it', async (t) => {
    const store = new ResponseStore()
    const lease = await new MemoryLeases().acquire(userKey('turn:', 'alice', 'resp_1'), { waitMs: 0 })
    await store.set('alice', 'resp_1', answer, { lease })
    lease?.release()
    t.type(await t.rejects(store.set('alice', 'resp_1', { id: 'late' }, { lease })), LeaseLost)
    t.strictSame(await store.get('alice', 'resp_1'), answer)
  })

  t.test('keys begin with the prefix', async (t) => {
    const { store: backing, values } = persistence()
    await new ResponseStore({ persistence: backing }).set('alice', 'resp_1', answer)
    await new ResponseStore({ persistence: backing, keyPrefix: 'tenant-7/' }).set(null, 'resp_2', answer)
    const [first, second] = [...values.keys()]
    t.match(first, /^response:/)
    t.match(second, /^tenant-7\//)
  })

  t.test('a write that fails is told, and nothing pretends to be kept', async (t) => {
    const { store: backing } = persistence()
    const store = new ResponseStore({
      persistence: { ...backing, set: () => Promise.reject(new Error('the store is down')) },
    })
    await t.rejects(store.set('alice', 'resp_1', answer), { message: 'the store is down' })
    t.equal(await store.get('alice', 'resp_1'), undefined)
  })

  t.test('what is no object there is no response', async (t) => {
    const { store: backing } = persistence()
    for (const value of ['text', 7, null, undefined, true]) {
      const store = new ResponseStore({ persistence: { ...backing, get: async () => value } })
      t.equal(await store.get('alice', 'resp_1'), undefined, String(value))
    }
  })
})

t.test('memory is bounded: the least recently used go first', async (t) => {
  const store = new ResponseStore({ memoryCapacity: 2 })
  await store.set('a', '1', { n: 1 })
  await store.set('a', '2', { n: 2 })
  await store.get('a', '1')
  await store.set('a', '3', { n: 3 })
  t.equal(await store.get('a', '2'), undefined)
  t.strictSame(await store.get('a', '1'), { n: 1 })
  t.strictSame(await store.get('a', '3'), { n: 3 })

  const { store: backing } = persistence()
  const backed = new ResponseStore({ memoryCapacity: 1, persistence: backing })
  await backed.set('a', '1', { n: 1 })
  await backed.set('a', '2', { n: 2 })
  t.strictSame(await backed.get('a', '1'), { n: 1 }, 'and with a persistence nothing is lost')
})
