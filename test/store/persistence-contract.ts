import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { Persistence } from '../../src/index.ts'
import { parseJSON } from '../../src/json.ts'
import { getMany } from '../../src/store/persistence.ts'
import { boundedRuns } from '../bounded-runs.ts'

/** Keys that a file system, a protocol or an encoding may stumble over. No two are the same key. */
const keys = [
  '',
  '/',
  '.',
  '..',
  '../../etc/passwd',
  'a/b',
  'a\\b',
  'a\0b',
  'line\nbreak',
  'CON',
  'user:alice',
  'user:Alice',
  'USER:ALICE',
  'é',
  'e\u0301',
  'ключ',
  '会话',
  '🔑',
  '\ud800',
  '\udfff',
  '\ufffd',
  'x'.repeat(10_000),
  `${'x'.repeat(10_000)}y`,
  '__proto__',
  'constructor',
]

const values: unknown[] = [
  null,
  true,
  false,
  0,
  -1.5,
  '',
  'text',
  '\ud800 alone',
  [],
  {},
  [1, [2, [3, null]]],
  { role: 'user', content: [{ type: 'text', text: 'привет 🔑' }], nested: { deep: { deeper: [] } } },
  JSON.parse('{"__proto__": {"admin": true}}'),
  'x'.repeat(300_000),
]

/** What every {@link Persistence} keeps. `open` makes one that is empty, and closes it with its test. */
export function keepsTheContract(t: Test, open: (t: Test) => Persistence | Promise<Persistence>): void {
  t.test('what was set is got, by every key', async (t) => {
    const store = await open(t)
    for (const [index, key] of keys.entries()) await store.set(key, { index })
    for (const [index, key] of keys.entries())
      t.strictSame(await store.get(key), { index }, JSON.stringify(key.slice(0, 20)))
    for (const key of keys) t.equal(await store.delete(key), true)
    for (const key of keys) t.equal(await store.get(key), undefined)
  })

  t.test('every JSON value comes back as it was', async (t) => {
    const store = await open(t)
    for (const value of values) {
      await store.set('k', value)
      t.strictSame(await store.get('k'), value, JSON.stringify(value).slice(0, 40))
    }
    await store.set('k', { at: new Date(0), left: undefined, list: [undefined] })
    t.strictSame(await store.get('k'), { at: '1970-01-01T00:00:00.000Z', list: [null] }, 'and another as JSON says it')
    const property = fc.asyncProperty(fc.string({ unit: 'binary' }), fc.jsonValue(), async (key, value) => {
      await store.set(key, value)
      // -0 is 0 in JSON.
      return JSON.stringify(await store.get(key)) === JSON.stringify(value)
    })
    await t.resolves(fc.assert(property, boundedRuns(50)))
  })

  t.test('a number that a double cannot hold keeps its digits', async (t) => {
    const store = await open(t)
    const text = '{"seed":12345678901234567890,"weight":1e400}'
    await store.set('k', parseJSON(text))
    t.equal(JSON.stringify(await store.get('k')), text)
  })

  t.test('what JSON cannot say is refused, and the value before stays', async (t) => {
    const store = await open(t)
    await store.set('k', 'before')
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    for (const value of [undefined, () => 1, Symbol('s'), 1n, cycle]) await t.rejects(store.set('k', value), TypeError)
    t.equal(await store.get('k'), 'before')
  })

  t.test('a later change of the object does not reach the store', async (t) => {
    const store = await open(t)
    const value = { list: [1] }
    const setting = store.set('k', value)
    value.list.push(2)
    await setting
    value.list.push(3)
    const got = (await store.get('k')) as { list: number[] }
    t.strictSame(got, { list: [1] })
    got.list.push(4)
    t.strictSame(await store.get('k'), { list: [1] })
  })

  t.test('a value replaces the one before', async (t) => {
    const store = await open(t)
    await store.set('k', { a: 1, b: 2 })
    await store.set('k', { a: 3 })
    t.strictSame(await store.get('k'), { a: 3 })
  })

  t.test('delete tells whether there was a value', async (t) => {
    const store = await open(t)
    t.equal(await store.delete('k'), false)
    await store.set('k', null)
    t.equal(await store.delete('k'), true, 'null is one')
    t.equal(await store.delete('k'), false)
    t.equal(await store.get('k'), undefined)
  })

  t.test('of those who delete at once, one is told that there was a value', async (t) => {
    const store = await open(t)
    await store.set('k', 1)
    const told = await Promise.all(Array.from({ length: 5 }, () => store.delete('k')))
    t.equal(told.filter(Boolean).length, 1)
  })

  t.test('where it adds, a value that is there stays', async (t) => {
    const store = await open(t)
    if (!store.add) return
    t.equal(await store.add('k', { first: true }, { ttlSeconds: 60 }), true)
    t.equal(await store.add('k', { second: true }), false)
    t.strictSame(await store.get('k'), { first: true })
    await store.delete('k')
    t.equal(await store.add('k', { third: true }), true)
    t.strictSame(await store.get('k'), { third: true })
  })

  t.test('of those who add at once, one does', async (t) => {
    const store = await open(t)
    if (!store.add) return
    const added = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => ((await store.add?.('k', n)) ? [n] : [])),
    )
    t.equal(added.flat().length, 1)
    t.equal(await store.get('k'), added.flat()[0])
  })

  t.test('what was added has its time, after which another can be', async (t) => {
    const store = await open(t)
    if (!store.add) return
    await store.add('k', 1, { ttlSeconds: 0.02 })
    await sleep(60)
    t.equal(await store.get('k'), undefined)
    t.equal(await store.add('k', 2), true)
    t.equal(await store.get('k'), 2)
  })

  t.test('a value whose time is over is none', async (t) => {
    const store = await open(t)
    await store.set('short', 1, { ttlSeconds: 0.05 })
    await store.set('deleted', 1, { ttlSeconds: 0.05 })
    await store.set('long', 1, { ttlSeconds: 3600 })
    await store.set('for good', 1)
    t.equal(await store.get('long'), 1)
    await sleep(80)
    t.equal(await store.get('short'), undefined)
    t.equal(await store.delete('deleted'), false)
    t.equal(await store.get('long'), 1)
    t.equal(await store.get('for good'), 1)
  })

  t.test('a new value has the time of its own', async (t) => {
    const store = await open(t)
    await store.set('freed', 1, { ttlSeconds: 0.05 })
    await store.set('freed', 2)
    await store.set('limited', 1)
    await store.set('limited', 2, { ttlSeconds: 0.05 })
    await sleep(80)
    t.equal(await store.get('freed'), 2)
    t.equal(await store.get('limited'), undefined)
  })

  t.test('a time that is longer than anything lasts is for good', async (t) => {
    const store = await open(t)
    for (const ttlSeconds of [1e9, 1e13, Number.MAX_SAFE_INTEGER, 1e300, Number.MAX_VALUE]) {
      await store.set('k', `for ${ttlSeconds}`, { ttlSeconds })
      t.equal(await store.get('k'), `for ${ttlSeconds}`)
    }
  })

  t.test('a key whose time was over can be set again', async (t) => {
    const store = await open(t)
    await store.set('k', 1, { ttlSeconds: 0.02 })
    await sleep(40)
    await store.set('k', 2)
    t.equal(await store.get('k'), 2)
  })

  t.test('a time that is none is refused, and the value before stays', async (t) => {
    const store = await open(t)
    await store.set('k', 'before')
    for (const ttlSeconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await t.rejects(store.set('k', 'after', { ttlSeconds }), RangeError, String(ttlSeconds))
    }
    t.equal(await store.get('k'), 'before')
  })

  t.test('what is done to one key at once is done in the order of the calls', async (t) => {
    const store = await open(t)
    const seen: unknown[] = []
    const calls: Promise<unknown>[] = []
    for (let n = 0; n < 20; n++) {
      calls.push(store.set('k', n))
      calls.push(store.get('k').then((value) => seen.push(value)))
    }
    calls.push(store.delete('k').then((was) => seen.push(was)))
    calls.push(store.get('k').then((value) => seen.push(value)))
    calls.push(store.set('k', 'last'))
    await Promise.all(calls)
    t.strictSame(seen, [...Array(20).keys(), true, undefined])
    t.equal(await store.get('k'), 'last')
  })

  t.test('many keys at once', async (t) => {
    const store = await open(t)
    const numbers = Array.from({ length: 300 }, (_, n) => n)
    await Promise.all(numbers.map((n) => store.set(`k${n}`, n)))
    t.strictSame(await Promise.all(numbers.map((n) => store.get(`k${n}`))), numbers)
  })

  t.test('several values at once, in the order of their keys', async (t) => {
    const store = await open(t)
    await store.set('a', { n: 1 })
    await store.set('null', null)
    await store.set('short', 1, { ttlSeconds: 0.02 })
    await sleep(40)
    t.strictSame(await getMany(store, ['null', 'missing', 'a', 'short', 'a']), [
      null,
      undefined,
      { n: 1 },
      undefined,
      { n: 1 },
    ])
    t.strictSame(await getMany(store, []), [])
    const numbers = Array.from({ length: 300 }, (_, n) => n)
    await Promise.all(numbers.map((n) => store.set(`k${n}`, n)))
    const keys = numbers.map((n) => `k${n}`)
    t.strictSame(await getMany(store, keys), numbers)
  })

  t.test('several thousand values at once', async (t) => {
    const store = await open(t)
    const keys = Array.from({ length: 3000 }, (_, n) => `k${n}`)
    await Promise.all(keys.slice(0, 1000).map((key) => store.set(key, key)))
    const read = await getMany(store, keys)
    t.strictSame(read, [...keys.slice(0, 1000), ...Array<undefined>(2000)])
  })

  t.test('where it tells versions', async (t) => {
    /** The version of one key, in a store that has them. */
    const opened = async (t: Test) => {
      const store = await open(t)
      const version = async (key = 'k'): Promise<string | undefined> => (await store.versions?.([key]))?.[0]
      return { store, version, seen: new Set<string | undefined>([undefined]) }
    }
    if (!(await open(t)).versions) return

    t.test('each set makes one that never was', async (t) => {
      const { store, version, seen } = await opened(t)
      t.equal(await version(), undefined)
      for (const value of [1, 1, null, 'é', { a: 1 }, { a: 1 }, 'x'.repeat(100_000)]) {
        await store.set('k', value)
        const now = await version()
        t.equal(await version(), now, 'reading changes nothing')
        await store.get('k')
        t.equal(await version(), now)
        t.notOk(seen.has(now))
        seen.add(now)
      }
      await store.delete('k')
      t.equal(await version(), undefined)
      await store.set('k', 1)
      t.notOk(seen.has(await version()), 'also after it was deleted')
    })

    t.test('a value whose time is over has none, and the one after it another', async (t) => {
      const { store, version } = await opened(t)
      await store.set('k', 1, { ttlSeconds: 0.05 })
      const before = await version()
      t.type(before, 'string')
      await sleep(80)
      t.equal(await version(), undefined)
      await store.set('k', 1)
      t.not(await version(), before)
    })

    t.test('a set that is refused leaves it', async (t) => {
      const { store, version } = await opened(t)
      await store.set('k', 1)
      const before = await version()
      await t.rejects(store.set('k', undefined))
      await t.rejects(store.set('k', 2, { ttlSeconds: -1 }))
      t.equal(await version(), before)
    })

    t.test('of several keys, in their order, each its own', async (t) => {
      const { store, version } = await opened(t)
      t.strictSame(await store.versions?.([]), [])
      const keys = Array.from({ length: 1000 }, (_, n) => `k${n}`)
      await Promise.all(keys.filter((_, n) => n % 3 > 0).map((key) => store.set(key, key)))
      const versions = (await store.versions?.([...keys, 'k1'])) ?? []
      t.equal(versions.length, 1001)
      t.equal(versions[1000], versions[1], 'also of one that was asked for twice')
      t.equal(versions[500], await version('k500'))
      const wrong = keys.filter((_, n) => typeof versions[n] !== (n % 3 > 0 ? 'string' : 'undefined'))
      t.strictSame(wrong, [])
      await store.set('k500', 'k500')
      const after = (await store.versions?.(keys)) ?? []
      t.strictSame(
        keys.filter((_, n) => after[n] !== versions[n]),
        ['k500'],
      )
    })

    t.test('by every key', async (t) => {
      const { store } = await opened(t)
      for (const key of keys) await store.set(key, 1)
      const versions = (await store.versions?.(keys)) ?? []
      t.ok(versions.every((version) => typeof version === 'string'))
    })

    t.test('while others set, it never belongs to two values', async (t) => {
      const { store, version } = await opened(t)
      let isOver = false
      const setting = (async () => {
        for (let n = 0; n < 100; n++) {
          await Promise.all([store.set('k', 2 * n), store.set('k', 2 * n + 1)])
          await sleep(1)
        }
        isOver = true
      })()
      const values = new Map<string, unknown>()
      while (!isOver) {
        await sleep(0)
        const before = await version()
        const value = await store.get('k')
        // The value may be a later one: only where nothing came between is it the version's.
        if (before === undefined || before !== (await version())) continue
        t.equal(values.get(before) ?? value, value)
        values.set(before, value)
      }
      await setting
      t.ok(values.size > 1)
    })
  })
}
