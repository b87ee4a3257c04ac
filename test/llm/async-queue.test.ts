import fc from 'fast-check'
import t from 'tap'
import { AsyncQueue } from '../../src/llm/async-queue.ts'

/** A producer that notes what it is told. */
function producer() {
  const told: string[] = []
  return {
    told,
    pause: () => told.push('pause'),
    resume: () => told.push('resume'),
    cancel: () => told.push('cancel'),
  }
}

function queueOf(highWaterMark?: number) {
  const { told, ...handle } = producer()
  return { told, queue: new AsyncQueue<number>(handle, highWaterMark) }
}

async function drain(queue: AsyncQueue<number>): Promise<number[]> {
  const items: number[] = []
  for await (const item of queue) items.push(item)
  return items
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

t.test('items come out in the order in which they went in', async (t) => {
  const { queue, told } = queueOf()
  queue.push(1)
  queue.push(2)
  const items = drain(queue)
  await nextTurn()
  queue.push(3)
  queue.push(4)
  await nextTurn()
  queue.push(5)
  queue.end()
  t.strictSame(await items, [1, 2, 3, 4, 5])
  t.strictSame(told, [])
})

t.test('a consumer that waits is given the next item at once', async (t) => {
  const { queue } = queueOf()
  const next = queue.next()
  queue.push(1)
  t.strictSame(await next, { done: false, value: 1 })
})

t.test('the end', async (t) => {
  t.test('comes after the items before it, and stays', async (t) => {
    const { queue } = queueOf()
    queue.push(1)
    queue.end()
    t.strictSame(await queue.next(), { done: false, value: 1 })
    for (let i = 0; i < 2; i++) t.strictSame(await queue.next(), { done: true, value: undefined })
  })

  t.test('reaches a consumer that waits', async (t) => {
    const { queue } = queueOf()
    const next = queue.next()
    queue.end()
    t.strictSame(await next, { done: true, value: undefined })
  })

  t.test('is final: what is pushed after it, or a second end, is nothing', async (t) => {
    const { queue, told } = queueOf(1)
    queue.end()
    queue.push(1)
    queue.end(new Error('too late'))
    t.strictSame(await queue.next(), { done: true, value: undefined })
    t.strictSame(told, [])
  })
})

t.test('an error', async (t) => {
  const broken = new Error('broken')

  t.test('is met after the items that came before it, once', async (t) => {
    const { queue } = queueOf()
    queue.push(1)
    queue.push(2)
    queue.end(broken)
    t.strictSame(await queue.next(), { done: false, value: 1 })
    t.strictSame(await queue.next(), { done: false, value: 2 })
    await t.rejects(queue.next(), broken)
    t.strictSame(await queue.next(), { done: true, value: undefined })
  })

  t.test('reaches a consumer that waits, once', async (t) => {
    const { queue } = queueOf()
    const next = queue.next()
    queue.end(broken)
    await t.rejects(next, broken)
    t.strictSame(await queue.next(), { done: true, value: undefined })
  })

  t.test('breaks off a loop', async (t) => {
    const { queue } = queueOf()
    queue.push(1)
    queue.end(broken)
    await t.rejects(drain(queue), broken)
  })

  t.test('that nobody comes for is no unhandled rejection', async (t) => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', note)
    t.teardown(() => process.off('unhandledRejection', note))
    queueOf().queue.end(broken)
    await nextTurn()
    t.strictSame(unhandled, [])
  })
})

t.test('a slow consumer', async (t) => {
  t.test('pauses the producer when enough items wait, and resumes it when they are gone', async (t) => {
    const { queue, told } = queueOf(3)
    queue.push(1)
    queue.push(2)
    t.strictSame(told, [])
    queue.push(3)
    t.strictSame(told, ['pause'])
    queue.push(4)
    t.strictSame(told, ['pause'], 'what was under way still comes, and is not said twice')
    for (const value of [1, 2, 3, 4]) t.strictSame(await queue.next(), { done: false, value })
    t.strictSame(told, ['pause', 'resume'])
    queue.push(5)
    queue.push(6)
    queue.push(7)
    t.strictSame(told, ['pause', 'resume', 'pause'], 'and again')
  })

  t.test('pauses by the size of what waits, at 64 Ki unless it is said otherwise', async (t) => {
    const { queue, told } = queueOf()
    queue.push(1, 64 * 1024 - 1)
    t.strictSame(told, [])
    queue.push(2)
    t.strictSame(told, ['pause'])
    await queue.next()
    t.strictSame(told, ['pause'])
    await queue.next()
    t.strictSame(told, ['pause', 'resume'])
    queue.push(3, 64 * 1024)
    t.strictSame(told, ['pause', 'resume', 'pause'], 'one large item is enough')
  })

  t.test('whatever the interleaving, items keep their order and the producer is never left paused', async (t) => {
    const step = fc.constantFrom('push', 'push', 'next' as const)
    const property = fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, mark) => {
        const { queue, told } = queueOf(mark)
        const taken: Promise<IteratorResult<number>>[] = []
        let pushed = 0
        for (const step of steps) {
          if (step === 'push') queue.push(++pushed)
          else if (taken.length < pushed) taken.push(queue.next())
        }
        while (taken.length < pushed) taken.push(queue.next())
        const values = (await Promise.all(taken)).map(({ value }) => value)
        const expected = Array.from({ length: pushed }, (_, index) => index + 1)
        const alternates = told.every((event, index) => event === (index % 2 === 0 ? 'pause' : 'resume'))
        return JSON.stringify(values) === JSON.stringify(expected) && alternates && told.length % 2 === 0
      },
    )
    await t.resolves(fc.assert(property, { numRuns: 300 }))
  })
})

t.test('a consumer that has had enough', async (t) => {
  t.test('cancels the producer, and what waits is dropped', async (t) => {
    const { queue, told } = queueOf()
    for (const item of [1, 2, 3]) queue.push(item)
    for await (const item of queue) {
      t.equal(item, 1)
      break
    }
    t.strictSame(told, ['cancel'])
    queue.push(4)
    queue.end(new Error('too late'))
    t.strictSame(await queue.next(), { done: true, value: undefined })
  })

  t.test('is let go from its wait', async (t) => {
    const { queue, told } = queueOf()
    const next = queue.next()
    await queue.return()
    t.strictSame(await next, { done: true, value: undefined })
    t.strictSame(told, ['cancel'])
  })

  t.test('cancels nothing that has ended', async (t) => {
    for (const error of [undefined, new Error('broken')]) {
      const { queue, told } = queueOf()
      queue.push(1)
      queue.end(error)
      await queue.return()
      await queue.return()
      t.strictSame(told, [])
      t.strictSame(await queue.next(), { done: true, value: undefined })
    }
  })
})
