import t from 'tap'
import { Admission, Place } from '../../src/server/admission.ts'

const admission = (limits: Partial<Admission['limits']> = {}): Admission =>
  new Admission({ maxInFlight: 2, maxQueue: 2, queueTimeoutMs: 60_000, ...limits })

t.test('so many are admitted at once, and one more whenever one is over', async (t) => {
  const work = admission()
  t.ok(work.enter())
  t.ok(work.enter())
  t.notOk(work.enter())
  t.equal(work.inFlight, 2)
  work.leave()
  t.equal(work.inFlight, 1)
  t.ok(work.enter())
})

t.test('the others wait, and are admitted in the order in which they came', async (t) => {
  const work = admission()
  while (work.enter());
  const order: string[] = []
  const first = work.wait()?.outcome.then((outcome) => order.push(`first ${outcome}`))
  const second = work.wait()?.outcome.then((outcome) => order.push(`second ${outcome}`))
  t.equal(work.queued, 2)
  work.leave()
  await first
  t.strictSame(order, ['first admitted'])
  t.notOk(work.enter(), 'a place goes to who waits')
  work.leave()
  await second
  t.strictSame(order, ['first admitted', 'second admitted'])
  t.equal(work.inFlight, 2, 'they have the places of those that are over')
  t.equal(work.queued, 0)
})

t.test('when the queue is full, nobody else may wait', async (t) => {
  const work = admission({ maxQueue: 1 })
  while (work.enter());
  t.equal(work.isFull, false)
  const waiting = work.wait()
  t.equal(work.isFull, true)
  t.equal(work.wait(), undefined)
  work.leave()
  t.equal(await waiting?.outcome, 'admitted')
  t.equal(work.isFull, false)
  t.equal(admission({ maxInFlight: 1, maxQueue: 0 }).isFull, false, 'without a queue there is room all the same')
})

t.test('nobody waits for longer than the timeout', async (t) => {
  const work = admission({ queueTimeoutMs: 10 })
  while (work.enter());
  t.equal(await work.wait()?.outcome, 'queue_timeout')
  t.equal(work.queued, 0)
  work.leave()
  t.equal(work.inFlight, 1, 'its place is not taken')
})

t.test('who leaves the queue frees its place there', async (t) => {
  const work = admission({ maxQueue: 1 })
  while (work.enter());
  const waiting = work.wait()
  waiting?.leave()
  t.equal(await waiting?.outcome, 'left')
  t.equal(work.queued, 0)
  work.leave()
  waiting?.leave()
  t.equal(work.inFlight, 1)
})

t.test('when the process goes away, nobody waits any more', async (t) => {
  const work = admission()
  while (work.enter());
  const waiting = [work.wait(), work.wait()]
  work.close()
  for (const each of waiting) t.equal(await each?.outcome, 'shutting_down')
  t.equal(work.wait(), undefined)
  work.leave()
  t.ok(work.enter(), 'what can be served at once still is')
})

t.test('a place is kept for what goes on after the answer', async (t) => {
  const work = admission()
  work.enter()
  const place = new Place(work)
  const { promise, resolve } = Promise.withResolvers<void>()
  place.keepFor(promise)
  place.keepFor(Promise.reject(new Error('it failed')))
  place.end()
  await Promise.resolve()
  t.equal(work.inFlight, 1)
  resolve()
  await promise
  t.equal(work.inFlight, 0)
})

t.test('a place that was given back is not given back again', async (t) => {
  const work = admission()
  work.enter()
  const place = new Place(work)
  place.end()
  t.equal(work.inFlight, 0)
  place.keepFor(Promise.resolve())
  await new Promise(setImmediate)
  t.equal(work.inFlight, 0, 'what its client left before it began takes none')
})
