import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { KeyRecords, type KeyRecordsOptions } from '../../src/auth/key-records.ts'
import { digestOf, isKeyId, isStoredKey, newKeyId, opens, principalOf, stateOf } from '../../src/auth/stored-key.ts'
import {
  FilePersistence,
  MemoryLeases,
  MemoryPersistence,
  RedisLeases,
  RedisPersistence,
  StoreUnavailable,
} from '../../src/index.ts'
import { PersistedIndex } from '../../src/store/persisted-index.ts'
import { RedisIndex } from '../../src/store/redis-index.ts'
import { startCluster, startRedis } from '../redis.ts'
import { connected, emptyPrefix } from '../store/redis-outages.ts'

/** Two replicas on one empty store. */
type Open = (t: Test) => Promise<[KeyRecords, KeyRecords]>

const redis = await startRedis(t)
const inOneProcess = (persistence: KeyRecordsOptions['persistence']): [KeyRecords, KeyRecords] => {
  const store = { persistence, leases: new MemoryLeases(), index: new PersistedIndex(persistence) }
  return [new KeyRecords(store), new KeyRecords(store)]
}
const onRedis =
  (url: string): Open =>
  async (t) => {
    const keyPrefix = emptyPrefix()
    const open = async () => {
      const connection = await connected(t, { url, keyPrefix })
      return new KeyRecords({
        persistence: new RedisPersistence(connection),
        leases: new RedisLeases(connection),
        index: new RedisIndex(connection),
      })
    }
    return Promise.all([open(), open()])
  }

const stores: Record<string, Open> = {
  memory: async () => inOneProcess(new MemoryPersistence()),
  file: async (t) => inOneProcess(new FilePersistence({ directory: t.testdir() })),
  Redis: onRedis(redis.url),
  'a cluster of Redis': onRedis((await startCluster(t)).url),
}

for (const [kind, open] of Object.entries(stores)) {
  t.test(`in ${kind}`, async (t) => {
    t.test('a key that one has made is found by the other, by its digest and by its id', async (t) => {
      const [one, other] = await open(t)
      const settings = { name: 'shop', user: 'ann', models: ['openai/*'], limits: { requestsPerMinute: 3 } }
      const { key, record } = await one.create(settings)
      t.ok(isStoredKey(key))
      t.ok(isKeyId(record.id))
      t.strictSame(await other.find(digestOf(key)), record)
      t.strictSame(await other.get(record.id), record)
      t.match(record, settings)
      t.strictSame(principalOf(record), {
        userId: 'ann',
        keyId: record.id,
        limits: { requestsPerMinute: 3 },
        metadata: { models: ['openai/*'] },
      })
      t.equal(opens(record, digestOf(key)), true)
      t.equal(await other.find(digestOf('sk-sbx-other')), undefined)
      t.equal(await other.get(newKeyId()), undefined)
      t.notMatch(JSON.stringify(record), key, 'and is not in its record')
    })

    t.test('its owner is the key itself unless told', async (t) => {
      const [one] = await open(t)
      const { record } = await one.create({ name: 'shop' })
      t.strictSame(principalOf(record), { userId: record.id, keyId: record.id })
    })

    t.test('a change names what changes; null takes it away', async (t) => {
      const [one, other] = await open(t)
      const { record } = await one.create({ name: 'shop', models: ['a'], limits: { usdPerDay: 1 } })
      await other.update(record.id, { models: ['b'], name: 'new' })
      t.match(await one.get(record.id), { name: 'new', models: ['b'], limits: { usdPerDay: 1 } })
      await one.update(record.id, { models: null, limits: null })
      const { updatedAt = 0, ...changed } = (await other.get(record.id)) ?? {}
      const { models: _models, limits: _limits, updatedAt: _then, ...rest } = record
      t.strictSame(changed, { ...rest, name: 'new' })
      t.ok(updatedAt >= record.updatedAt)
      t.equal(await one.update(newKeyId(), { name: 'nobody' }), undefined)
    })

    t.test('of changes at once, on both, none is lost', async (t) => {
      const [one, other] = await open(t)
      const { record } = await one.create({ name: 'shop' })
      await Promise.all([
        one.update(record.id, { name: 'n' }),
        other.update(record.id, { user: 'u' }),
        one.update(record.id, { models: ['m'] }),
        other.update(record.id, { limits: { usdPerDay: 1 } }),
      ])
      t.match(await one.get(record.id), { name: 'n', user: 'u', models: ['m'], limits: { usdPerDay: 1 } })
    })

    t.test('a revoked key opens nothing, and nothing brings it back', async (t) => {
      const [one, other] = await open(t)
      const { key, record } = await one.create({ name: 'shop' })
      const revoked = await other.revoke(record.id)
      t.equal(revoked && stateOf(revoked), 'revoked')
      t.equal(revoked && opens(revoked, digestOf(key)), false)
      t.strictSame((await one.revoke(record.id))?.revokedAt, revoked?.revokedAt, 'again is no change')
      t.equal(await one.rotate(record.id, 1000), undefined)
      t.equal((await one.update(record.id, { expiresAt: null, name: 'new' }))?.name, 'shop')
      t.equal(await one.revoke(newKeyId()), undefined)
    })

    t.test('rotated, the old text and the new one open it until the overlap is over', async (t) => {
      const [one, other] = await open(t)
      const { key, record } = await one.create({ name: 'shop', user: 'ann' })
      const rotated = await other.rotate(record.id, 60_000)
      if (!rotated) throw new Error('there is such a key')
      t.not(rotated.key, key)
      t.equal(rotated.record.id, record.id)
      for (const text of [key, rotated.key]) {
        const found = await one.find(digestOf(text))
        t.equal(found && opens(found, digestOf(text)), true)
        t.equal(found && opens(found, digestOf(text), Date.now() + 61_000), text === rotated.key)
      }
      const again = await one.rotate(record.id, 0)
      const kept = await other.get(record.id)
      t.strictSame(
        [key, rotated.key, again?.key ?? ''].map((text) => kept && opens(kept, digestOf(text))),
        [false, false, true],
        'without an overlap only the newest is left',
      )
      t.equal(await one.rotate(newKeyId(), 0), undefined)
    })

    t.test('a second rotation does not lengthen the overlap of the first', async (t) => {
      const [one] = await open(t)
      const { key, record } = await one.create({ name: 'shop' })
      await one.rotate(record.id, 1000)
      const kept = (await one.rotate(record.id, 3_600_000))?.record
      t.equal(kept && opens(kept, digestOf(key), Date.now() + 2000), false)
    })

    t.test('two rotations at once: both texts open it', async (t) => {
      const [one, other] = await open(t)
      const { record } = await one.create({ name: 'shop' })
      const made = await Promise.all([one.rotate(record.id, 60_000), other.rotate(record.id, 60_000)])
      const kept = await one.get(record.id)
      t.strictSame(
        made.map((rotated) => kept && rotated && opens(kept, digestOf(rotated.key))),
        [true, true],
      )
    })

    t.test('they are listed in the order in which they were made, page by page', async (t) => {
      const [one, other] = await open(t)
      const ids: string[] = []
      for (let n = 0; n < 5; n++) {
        ids.push((await (n % 2 ? one : other).create({ name: String(n) })).record.id)
        await sleep(2)
      }
      await one.revoke(ids[1] ?? '')
      const first = await other.list({ order: 'asc', limit: 3 })
      const rest = await one.list({ order: 'asc', limit: 3, after: first.places.at(-1) })
      t.strictSame(
        [...first.records, ...rest.records].map(({ id }) => id),
        ids,
      )
      t.strictSame(
        (await one.list({ order: 'desc', limit: 2 })).records.map(({ id }) => id),
        ids.slice(-2).reverse(),
      )
    })
  })
}

t.test('nothing in Redis is the text of a key', async (t) => {
  const server = await startRedis(t)
  const [one] = await onRedis(server.url)(t)
  const { key, record } = await one.create({ name: 'shop' })
  const rotated = (await one.rotate(record.id, 60_000))?.key ?? ''
  const names: string[] = JSON.parse(await server.ask('KEYS', '*'))
  t.ok(names.length >= 4)
  const contents = names.map((name) =>
    /:index[:#]/.test(name) ? server.ask('ZRANGE', name, 0, -1) : server.ask('GET', name).catch(() => ''),
  )
  const kept = [...names, ...(await Promise.all(contents))].join()
  for (const text of [key, rotated]) t.notOk(kept.includes(text.slice(12)))
  t.ok(kept.includes(digestOf(key)), 'but its digest is in what was looked at')
})

t.test('a store that fails is told so', async (t) => {
  const persistence = new MemoryPersistence()
  persistence.get = async () => {
    throw new Error('the disk is gone')
  }
  const [one] = inOneProcess(persistence)
  await t.rejects(one.get(newKeyId()), StoreUnavailable)
  await t.rejects(one.revoke(newKeyId()), StoreUnavailable)
  await t.rejects(one.find(digestOf('k')), StoreUnavailable)
})
