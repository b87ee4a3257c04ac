import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type KeyRecord, newKeyId, newSecret } from '../../src/auth/stored-key.ts'
import { StoredKeyAuth, type StoredKeyAuthOptions } from '../../src/auth/stored-key-auth.ts'
import { BearerKeyAuth, GatewayError } from '../../src/index.ts'
import { StoreUnavailable } from '../../src/store/store-unavailable.ts'

const bearer = (key: string): Headers => new Headers({ authorization: `Bearer ${key}` })

/** A store of keys that counts how often it is asked, and can be made to fail or to wait. */
function keys() {
  const records = new Map<string, KeyRecord>()
  const store = {
    asked: 0,
    fails: false,
    waits: Promise.resolve(),
    make(settings: Partial<KeyRecord> = {}) {
      const { key, secret } = newSecret()
      const record: KeyRecord = {
        ...{ version: 1, id: newKeyId(), name: 'n', user: 'ann', secrets: [secret], createdAt: 1, updatedAt: 1 },
        ...settings,
      }
      records.set(secret.sha256, record)
      return { key, record, secret }
    },
    change(record: KeyRecord, changes: Partial<KeyRecord>) {
      for (const { sha256 } of record.secrets) records.set(sha256, { ...record, ...changes })
    },
    async find(sha256: string) {
      store.asked++
      await store.waits
      if (store.fails) throw new StoreUnavailable(new Error('away'))
      return records.get(sha256)
    },
  }
  return store
}

const times = { freshMs: 100, refreshMs: 200, staleMs: 5000 }
const authOf = (store: ReturnType<typeof keys>, options: Partial<StoredKeyAuthOptions> = {}) =>
  new StoredKeyAuth({ records: store, ...times, ...options })

/** The status that a client would get. */
const statusOf = async (auth: StoredKeyAuth, key: string): Promise<number> => {
  try {
    await auth.verify(bearer(key))
    return 200
  } catch (error) {
    return error instanceof GatewayError ? error.status : 401
  }
}

t.test('a key of the store brings its user, id, limits and models', async (t) => {
  const store = keys()
  const { key, record } = store.make({ limits: { usdPerDay: 1 }, models: ['m'] })
  t.strictSame(await authOf(store).verify(bearer(key)), {
    userId: 'ann',
    keyId: record.id,
    limits: { usdPerDay: 1 },
    metadata: { models: ['m'] },
  })
})

t.test('the configured keys are asked first, and alone for what cannot be a key of the store', async (t) => {
  const store = keys()
  const { key } = store.make()
  const auth = authOf(store, { configured: new BearerKeyAuth({ keys: { 'sk-configured': 'bob' } }) })
  t.strictSame(await auth.verify(bearer('sk-configured')), { userId: 'bob' })
  t.equal(await statusOf(auth, 'sk-wrong'), 401)
  t.equal(store.asked, 0)
  t.equal((await auth.verify(bearer(key))).userId, 'ann')
  await t.rejects(auth.verify(new Headers()), { message: /no API key was sent/ })
  await t.rejects(authOf(store).verify(new Headers()), { message: /no API key was sent/ })
})

t.test('the store is asked once for all who come with one key at once, and not again for a while', async (t) => {
  const store = keys()
  const { key } = store.make()
  const auth = authOf(store, { freshMs: 60_000 })
  await Promise.all(Array.from({ length: 50 }, () => auth.verify(bearer(key))))
  await auth.verify(bearer(key))
  t.equal(store.asked, 1)
})

t.test('nor for a key that there is not', async (t) => {
  const store = keys()
  const auth = authOf(store, { freshMs: 60_000 })
  const { key } = newSecret()
  for (let n = 0; n < 5; n++) t.equal(await statusOf(auth, key), 401)
  t.equal(store.asked, 1)
})

t.test('keys that somebody makes up push out none that is known', async (t) => {
  const store = keys()
  const { key } = store.make()
  const auth = authOf(store, { freshMs: 60_000, maxKeys: 3 })
  await auth.verify(bearer(key))
  for (let n = 0; n < 20; n++) t.equal(await statusOf(auth, newSecret().key), 401)
  const { asked } = store
  await auth.verify(bearer(key))
  t.equal(store.asked, asked)
})

t.test('a revoked key is refused once what was known is too old, however often it is used', async (t) => {
  const store = keys()
  const { key, record } = store.make()
  const auth = authOf(store)
  t.equal(await statusOf(auth, key), 200)
  store.change(record, { revokedAt: Date.now() })
  const end = performance.now() + times.refreshMs
  while (performance.now() < end) {
    await statusOf(auth, key)
    await sleep(10)
  }
  t.equal(await statusOf(auth, key), 401)
})

t.test('and one that nobody used for long at once', async (t) => {
  const store = keys()
  const { key, record } = store.make()
  const auth = authOf(store)
  t.equal(await statusOf(auth, key), 200)
  await sleep(times.refreshMs + 2)
  store.change(record, { revokedAt: Date.now() })
  t.equal(await statusOf(auth, key), 401)
})

t.test('a key in use is asked for in the background: nobody waits', async (t) => {
  const store = keys()
  const { key } = store.make()
  const auth = authOf(store, { refreshMs: 60_000 })
  await auth.verify(bearer(key))
  // A timer may be early by a part of a millisecond.
  await sleep(times.freshMs + 2)
  const gate = Promise.withResolvers<void>()
  store.waits = gate.promise
  t.equal(await statusOf(auth, key), 200)
  t.equal(await statusOf(auth, key), 200)
  t.equal(store.asked, 2)
  gate.resolve()
})

t.test('expiry and the end of an overlap count from their moment on, whatever is remembered', async (t) => {
  const store = keys()
  const ends = store.make({ expiresAt: Date.now() + 60 })
  const { secret } = ends
  const rotated = store.make()
  store.change(rotated.record, { secrets: [{ ...rotated.secret, expiresAt: Date.now() + 60 }, secret] })
  const auth = authOf(store, { freshMs: 60_000 })
  t.strictSame([await statusOf(auth, ends.key), await statusOf(auth, rotated.key)], [200, 200])
  await sleep(70)
  t.strictSame([await statusOf(auth, ends.key), await statusOf(auth, rotated.key)], [401, 401])
  t.equal(store.asked, 2)
})

t.test('while the store is away', async (t) => {
  const store = keys()
  const { key } = store.make()
  const other = store.make()
  const auth = authOf(store, { staleMs: 1000 })
  t.equal(await statusOf(auth, key), 200)
  const { key: wrong } = newSecret()
  t.equal(await statusOf(auth, wrong), 401)
  await sleep(times.refreshMs + 2)
  store.fails = true

  t.equal(await statusOf(auth, key), 200, 'a known key works on')
  t.equal(await statusOf(auth, other.key), 503, 'of one that is not known nobody can say whether it is good')
  t.equal(await statusOf(auth, wrong), 503, 'nor of one that was wrong a while ago')

  const gate = Promise.withResolvers<void>()
  store.waits = gate.promise
  t.equal(await statusOf(auth, key), 200, 'and does not wait for it')
  gate.resolve()

  await sleep(1000)
  t.equal(await statusOf(auth, key), 503, 'for the stated time')
  store.fails = false
  store.waits = Promise.resolve()
  t.strictSame([await statusOf(auth, key), await statusOf(auth, other.key)], [200, 200], 'back, all is as before')
})

t.test('a plugin of the host that is in trouble itself is not overruled for its own keys', async (t) => {
  const store = keys()
  const { key } = store.make()
  const configured = {
    verify() {
      throw new GatewayError('store_unavailable', 'the directory is down')
    },
  }
  const auth = authOf(store, { configured })
  t.equal(await statusOf(auth, 'jwt'), 503)
  t.equal(await statusOf(auth, key), 200)
})
