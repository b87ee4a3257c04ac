import t from 'tap'
import { Detached } from '../../src/server/detached.ts'
import { eventually } from '../core.ts'

async function* numbers(to: number, made: number[] = [], error?: Error) {
  for (let n = 1; n <= to; n++) {
    made.push(n)
    yield { n }
  }
  if (error) throw error
}

/** For readers that never fall far behind. */
const detached = (items: AsyncIterator<{ n: number }>): Detached<{ n: number }> =>
  new Detached(items, () => {
    throw new Error('nothing is kept elsewhere')
  })

async function read(items: Detached<{ n: number }>): Promise<number[]> {
  const seen: number[] = []
  for (let next = await items.next(); !next.done; next = await items.next()) seen.push(next.value.n)
  return seen
}

t.test('items are made without a reader, and wait for one', async (t) => {
  const made: number[] = []
  const items = detached(numbers(5, made))
  await items.over
  t.strictSame(made, [1, 2, 3, 4, 5])
  t.strictSame(await read(items), made)
  t.match(await items.next(), { done: true })
})

t.test('a reader gets them as they come', async (t) => {
  const gate = Promise.withResolvers<void>()
  async function* slow() {
    yield { n: 1 }
    await gate.promise
    yield { n: 2 }
  }
  const items = detached(slow())
  t.match(await items.next(), { value: { n: 1 } })
  const second = items.next()
  gate.resolve()
  t.match(await second, { value: { n: 2 } })
  t.match(await items.next(), { done: true })
})

t.test('a failure comes after what was made before it', async (t) => {
  const items = detached(numbers(2, [], new Error('broken')))
  t.match(await items.next(), { value: { n: 1 } })
  t.match(await items.next(), { value: { n: 2 } })
  await t.rejects(items.next(), { message: 'broken' })
  await t.rejects(items.over, { message: 'broken' })
})

t.test('they go on without the reader that leaves, also to a failure that nobody hears', async (t) => {
  const gate = Promise.withResolvers<void>()
  let isOver = false
  async function* slow() {
    yield { n: 1 }
    await gate.promise
    isOver = true
    throw new Error('unheard')
  }
  const items = detached(slow())
  await items.next()
  t.match(await items.return(), { done: true })
  gate.resolve()
  await eventually(() => isOver)
})

t.test('nothing is kept for a reader that has left', async (t) => {
  const items = detached(numbers(5))
  await items.return()
  await items.over
  t.match(await items.next(), { done: true })
})

/** Each is 100 KB. */
async function* large(to: number, from = 1) {
  for (let n = from; n <= to; n++) yield { n, text: 'x'.repeat(100_000) }
}

t.test('a reader that falls far behind gets the rest from where it is kept, each item once', async (t) => {
  const asked: number[] = []
  const items = new Detached<{ n: number }>(large(20), (from) => {
    asked.push(from)
    return large(20, from + 1)
  })
  t.match(await items.next(), { value: { n: 1 } })
  t.equal(items.isBehind, false)
  await items.over
  t.equal(items.isBehind, true, 'it has not read what has come since')
  const seen = await read(items)
  t.strictSame(asked, [1])
  t.strictSame(
    seen,
    Array.from({ length: 19 }, (_, i) => i + 2),
  )
})

t.test('of what is kept nothing is asked for a reader that does not read, and none of it waits', async (t) => {
  let asked = 0
  const items = new Detached<{ n: number }>(large(500), () => {
    asked += 1
    return large(0)
  })
  await items.over
  t.equal(items.isBehind, true)
  t.equal(asked, 0)
  await items.return()
})

t.test('a reader that is behind hears that what is kept cannot be read', async (t) => {
  const items = new Detached<{ n: number }>(large(10), () => ({ next: () => Promise.reject(new Error('gone')) }))
  await items.over
  await t.rejects(items.next(), { message: 'gone' })
})

t.test('one that leaves lets go of what is kept, too', async () => {
  let isLeft = false
  const kept = async function* () {
    try {
      yield* large(20)
    } finally {
      isLeft = true
    }
  }
  const items = new Detached<{ n: number }>(large(20), kept)
  await items.over
  await items.next()
  await items.return()
  await eventually(() => isLeft)
})
