import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { Place, SortedIndex } from '../../src/index.ts'
import { boundedRuns } from '../bounded-runs.ts'

const place = (at: number, member: string): Place => ({ at, member })

/** All members, page by page. */
async function walk(index: SortedIndex, key: string, order: 'asc' | 'desc', limit = 2): Promise<string[]> {
  const members: string[] = []
  for (let after: Place | undefined; ; ) {
    const places = await index.page(key, { order, limit, after })
    members.push(...places.map(({ member }) => member))
    if (places.length < limit) return members
    after = places.at(-1)
  }
}

/** What every {@link SortedIndex} keeps. `open` makes one that is empty, and closes it with its test. */
export function keepsTheIndexContract(t: Test, open: (t: Test) => SortedIndex | Promise<SortedIndex>): void {
  t.test('members are in the order of their numbers, and then of their names, from either end', async (t) => {
    const index = await open(t)
    for (const [at, member] of [
      [3, 'c'],
      [1, 'b'],
      [1, 'a'],
      [2, 'z'],
      [10, 'd'],
    ] as const) {
      await index.add('k', place(at, member))
    }
    t.strictSame(await index.page('k', { order: 'asc', limit: 3 }), [place(1, 'a'), place(1, 'b'), place(2, 'z')])
    t.strictSame(await index.page('k', { order: 'desc', limit: 2 }), [place(10, 'd'), place(3, 'c')])
    for (const limit of [1, 2, 3, 5, 100]) {
      t.strictSame(await walk(index, 'k', 'asc', limit), ['a', 'b', 'z', 'c', 'd'])
      t.strictSame(await walk(index, 'k', 'desc', limit), ['d', 'c', 'z', 'b', 'a'])
    }
  })

  t.test('what was never filled is empty, and other keys are others', async (t) => {
    const index = await open(t)
    await index.add('a', place(1, 'x'))
    t.strictSame(await walk(index, 'b', 'asc'), [])
    t.strictSame(await index.page('b', { order: 'desc', limit: 5, after: place(1, 'x') }), [])
    t.equal(await index.remove('b', 'x'), false)
    t.strictSame(await walk(index, 'a', 'asc'), ['x'])
    t.strictSame(await walk(index, 'b', 'asc'), [], 'asking leaves nothing')
  })

  t.test('a page begins behind a place whose member is gone', async (t) => {
    const index = await open(t)
    for (const member of ['a', 'b', 'c', 'd']) await index.add('k', place(7, member))
    t.equal(await index.remove('k', 'b'), true)
    t.equal(await index.remove('k', 'b'), false)
    const after = place(7, 'b')
    t.strictSame(await index.page('k', { order: 'asc', limit: 5, after }), [place(7, 'c'), place(7, 'd')])
    t.strictSame(await index.page('k', { order: 'desc', limit: 5, after }), [place(7, 'a')])
    t.strictSame(await walk(index, 'k', 'asc'), ['a', 'c', 'd'])
  })

  t.test('a member is there once', async (t) => {
    const index = await open(t)
    await index.add('k', place(1, 'a'))
    await index.add('k', place(2, 'b'))
    await index.add('k', place(1, 'a'))
    t.strictSame(await walk(index, 'k', 'asc'), ['a', 'b'])
  })

  t.test('what is added at once is all there', async (t) => {
    const index = await open(t)
    const members = Array.from({ length: 100 }, (_, n) => `m${String(n).padStart(3, '0')}`)
    await Promise.all(members.map((member, n) => index.add('k', place(n % 7, member))))
    t.strictSame((await walk(index, 'k', 'asc', 9)).sort(), members)
    await Promise.all(members.slice(0, 50).map((member) => index.remove('k', member)))
    t.strictSame((await walk(index, 'k', 'desc', 9)).sort(), members.slice(50))
  })

  t.test('members that are older than the time go when another comes, and all when none does', async (t) => {
    const index = await open(t)
    const now = Date.now()
    await index.add('k', place(now - 60_000, 'old'), { ttlSeconds: 3600 })
    await index.add('k', place(now - 10_000, 'young'), { ttlSeconds: 3600 })
    t.strictSame(await walk(index, 'k', 'asc'), ['old', 'young'])
    await index.add('k', place(now, 'new'), { ttlSeconds: 30 })
    t.strictSame(await walk(index, 'k', 'asc'), ['young', 'new'])
    await index.add('short', place(now, 'a'), { ttlSeconds: 0.05 })
    await sleep(80)
    t.strictSame(await walk(index, 'short', 'asc'), [])
    await index.add('good', place(now, 'a'), { ttlSeconds: 0.05 })
    await index.add('good', place(now, 'b'))
    await sleep(80)
    t.ok((await walk(index, 'good', 'asc')).includes('b'), 'without a time it is kept for good')
    await t.rejects(async () => index.add('k', place(1, 'a'), { ttlSeconds: 0 }), RangeError)
  })

  t.test('pages of any size make up the whole, whatever was removed', async (t) => {
    const index = await open(t)
    let run = 0
    const members = fc.uniqueArray(fc.tuple(fc.nat({ max: 5 }), fc.stringMatching(/^[a-z0-9]{1,3}$/)), {
      selector: ([, member]) => member,
      maxLength: 12,
    })
    const property = fc.asyncProperty(members, fc.integer({ min: 1, max: 5 }), fc.nat(), async (all, limit, pick) => {
      const key = `p${run++}`
      for (const [at, member] of all) await index.add(key, place(at, member))
      const sorted = [...all].sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1)).map(([, member]) => member)
      const seen = await walk(index, key, 'asc', limit)
      const [at, member] = all[pick % Math.max(1, all.length)] ?? [0, 'a']
      await index.remove(key, member)
      const rest = await index.page(key, { order: 'asc', limit: 100, after: place(at, member) })
      const following = sorted.slice(sorted.indexOf(member) + 1)
      return (
        String(seen) === String(sorted) && (all.length === 0 || String(rest.map((p) => p.member)) === String(following))
      )
    })
    await t.resolves(fc.assert(property, boundedRuns(30)))
  })
}
