import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type EventLog, EventsGoneError } from '../../src/store/event-log.ts'

const numbered = (from: number, to: number): { n: number }[] =>
  Array.from({ length: to - from + 1 }, (_, index) => ({ n: from + index }))

/** What there is from a number on, without waiting for more. */
async function present(log: EventLog, key: string, from = 0): Promise<unknown[]> {
  const events: unknown[] = []
  for await (const batch of log.read(key, from, { idleMs: 0 })) {
    if (batch.length === 0) break
    events.push(...batch)
  }
  return events
}

/** All events from a number on, up to the end of the log. */
async function followed(log: EventLog, key: string, from = 0): Promise<unknown[]> {
  const events: unknown[] = []
  for await (const batch of log.read(key, from, { idleMs: 20 })) events.push(...batch)
  return events
}

export interface EventLogBounds {
  ttlSeconds?: number
  maxEvents?: number
}

/** What every {@link EventLog} keeps. `open` makes one that is empty, with these bounds, and closes it with its test. */
export function keepsTheEventLogContract(
  t: Test,
  open: (t: Test, bounds: EventLogBounds) => EventLog | Promise<EventLog>,
): void {
  t.test('what was appended is read, from any number on', async (t) => {
    const log = await open(t, {})
    t.equal(await log.append('k', 0, numbered(0, 2)), true)
    t.equal(await log.append('k', 3, numbered(3, 3)), true)
    t.strictSame(await present(log, 'k'), numbered(0, 3))
    t.strictSame(await present(log, 'k', 2), numbered(2, 3))
    t.strictSame(await present(log, 'k', 4), [])
    t.strictSame(await present(log, 'k', Number.MAX_SAFE_INTEGER), [])
  })

  t.test('events come back as JSON says them, and no later change reaches them', async (t) => {
    const log = await open(t, {})
    const event = { text: 'привет 🔑\n', deep: { list: [1, null] }, left: undefined }
    await log.append('k', 0, [event])
    event.deep.list.push(2)
    t.strictSame(await present(log, 'k'), [{ text: 'привет 🔑\n', deep: { list: [1, null] } }])
  })

  t.test('logs of other keys are others', async (t) => {
    const log = await open(t, {})
    await log.append('a', 0, [{ of: 'a' }])
    await log.append('b', 0, [{ of: 'b' }])
    t.strictSame(await present(log, 'a'), [{ of: 'a' }])
    await log.delete('a')
    t.strictSame(await present(log, 'b'), [{ of: 'b' }])
  })

  t.test('an event has its number once: whoever writes what is there, or leaves a gap, is refused', async (t) => {
    const log = await open(t, {})
    t.equal(await log.append('k', 1, [{ n: 1 }]), false, 'a log begins with 0')
    await log.append('k', 0, numbered(0, 2))
    for (const at of [0, 2, 4]) t.equal(await log.append('k', at, [{ n: 'other' }]), false, `at ${at}`)
    t.strictSame(await present(log, 'k'), numbered(0, 2))
    const racing = await Promise.all(['a', 'b', 'c'].map((by) => log.append('k', 3, [{ by }])))
    t.equal(racing.filter(Boolean).length, 1, 'of several at once, one is let in')
    t.equal((await present(log, 'k')).length, 4)
  })

  t.test('nothing comes after the end', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, numbered(0, 1), { end: true })
    t.equal(await log.append('k', 2, [{ n: 2 }]), false)
    t.strictSame(await followed(log, 'k'), numbered(0, 1))
    t.strictSame(await followed(log, 'k', 2), [], 'and there is nothing to wait for')
    t.strictSame(await followed(log, 'k', 7), [])
  })

  t.test('readers follow: each gets every event once, in order, wherever it begins', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, numbered(0, 4))
    const early = Promise.all([followed(log, 'k'), followed(log, 'k', 3), followed(log, 'k', 5)])
    for (let n = 5; n < 100; n += 5) {
      await log.append('k', n, numbered(n, n + 4))
      if (n % 20 === 0) await sleep(1)
    }
    const middle = followed(log, 'k', 50)
    await log.append('k', 100, [{ n: 100 }], { end: true })
    const [all, fromThree, fromFive] = await early
    t.strictSame(all, numbered(0, 100))
    t.strictSame(fromThree, numbered(3, 100))
    t.strictSame(fromFive, numbered(5, 100))
    t.strictSame(await middle, numbered(50, 100))
  })

  t.test('a reader ahead of the log waits for its event', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, [{ n: 0 }])
    const reading = followed(log, 'k', 3)
    await log.append('k', 1, numbered(1, 4), { end: true })
    t.strictSame(await reading, numbered(3, 4))
  })

  t.test('silence is told', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, [{ n: 0 }])
    const batches = log.read('k', 0, { idleMs: 10 })[Symbol.asyncIterator]()
    t.strictSame((await batches.next()).value, [{ n: 0 }])
    t.strictSame((await batches.next()).value, [])
    t.strictSame((await batches.next()).value, [])
    await log.append('k', 1, [{ n: 1 }], { end: true })
    t.strictSame((await batches.next()).value, [{ n: 1 }])
    t.equal((await batches.next()).done, true)
  })

  t.test('a reader that is called off stops waiting', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, [{ n: 0 }])
    const controller = new AbortController()
    const batches = log.read('k', 1, { idleMs: 60_000, signal: controller.signal })[Symbol.asyncIterator]()
    const next = batches.next()
    controller.abort(new Error('the client left'))
    await t.rejects(next, { message: 'the client left' })
  })

  t.test('a reader that leaves by itself harms nobody', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, numbered(0, 9))
    for await (const _batch of log.read('k', 0, { idleMs: 10 })) break
    t.equal(await log.append('k', 10, [{ n: 10 }], { end: true }), true)
    t.strictSame(await followed(log, 'k'), numbered(0, 10))
  })

  t.test('what is not there is gone', async (t) => {
    const log = await open(t, {})
    await t.rejects(present(log, 'never'), EventsGoneError)
    await log.append('k', 0, [{ n: 0 }])
    t.equal(await log.delete('k'), true)
    t.equal(await log.delete('k'), false)
    await t.rejects(present(log, 'k'), EventsGoneError)
    t.equal(await log.append('k', 1, [{ n: 1 }]), false, 'and its writer is told')
  })

  t.test('readers of a log that is deleted do not wait for ever', async (t) => {
    const log = await open(t, {})
    await log.append('k', 0, [{ n: 0 }])
    const reading = followed(log, 'k')
    await sleep(5)
    await log.delete('k')
    await t.rejects(reading, EventsGoneError)
  })

  t.test('of a log that is too long the oldest events go, and nobody is given the rest as the whole', async (t) => {
    const log = await open(t, { maxEvents: 10 })
    for (let n = 0; n < 200; n++) await log.append('k', n, [{ n }])
    await t.rejects(present(log, 'k'), EventsGoneError)
    t.strictSame(await present(log, 'k', 195), numbered(195, 199))
    t.equal(await log.append('k', 200, [{ n: 200 }], { end: true }), true)
    t.strictSame(await followed(log, 'k', 196), numbered(196, 200))
  })

  t.test('a log goes some time after its last event', async (t) => {
    const log = await open(t, { ttlSeconds: 0.1 })
    await log.append('k', 0, [{ n: 0 }])
    await sleep(60)
    await log.append('k', 1, [{ n: 1 }])
    await sleep(60)
    t.strictSame(await present(log, 'k'), numbered(0, 1))
    await sleep(150)
    await t.rejects(present(log, 'k'), EventsGoneError)
  })
}
