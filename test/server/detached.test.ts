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

async function read(items: Detached<{ n: number }>): Promise<number[]> {
  const seen: number[] = []
  for (let next = await items.next(); !next.done; next = await items.next()) seen.push(next.value.n)
  return seen
}

t.test('items are made without a reader, and wait for one', async (t) => {
  const made: number[] = []
  const items = new Detached(numbers(5, made))
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
  const items = new Detached(slow())
  t.match(await items.next(), { value: { n: 1 } })
  const second = items.next()
  gate.resolve()
  t.match(await second, { value: { n: 2 } })
  t.match(await items.next(), { done: true })
})

t.test('a failure comes after what was made before it', async (t) => {
  const items = new Detached(numbers(2, [], new Error('broken')))
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
  const items = new Detached(slow())
  await items.next()
  t.match(await items.return(), { done: true })
  gate.resolve()
  await eventually(() => isOver)
})

t.test('nothing is kept for a reader that has left', async (t) => {
  const items = new Detached(numbers(5))
  await items.return()
  await items.over
  t.match(await items.next(), { done: true })
})
