import t from 'tap'
import { EventsGoneError, MemoryEventLog } from '../../src/index.ts'
import { keepsTheEventLogContract } from './event-log-contract.ts'

t.test('as every log of events', async (t) => keepsTheEventLogContract(t, (_t, bounds) => new MemoryEventLog(bounds)))

t.test('all logs together are bounded by bytes: the least recently used goes first', async (t) => {
  const log = new MemoryEventLog({ maxBytes: 1000 })
  const text = 'x'.repeat(400)
  await log.append('a', 0, [{ text }])
  await log.append('b', 0, [{ text }])
  await log.append('c', 0, [{ text }])
  await t.rejects(log.read('a', 0, { idleMs: 0 })[Symbol.asyncIterator]().next(), EventsGoneError)
  t.strictSame((await log.read('c', 0, { idleMs: 0 })[Symbol.asyncIterator]().next()).value, [{ text }])
  t.equal(await log.append('a', 1, [{ text }]), false, 'its writer is told')
})

t.test('logs that grow count with all that they have', async (t) => {
  const log = new MemoryEventLog({ maxBytes: 1000 })
  const text = 'x'.repeat(200)
  for (let at = 0; at < 3; at++) await log.append('a', at, [{ text }])
  for (let at = 0; at < 3; at++) await log.append('b', at, [{ text }])
  await t.rejects(log.read('a', 0, { idleMs: 0 })[Symbol.asyncIterator]().next(), EventsGoneError)
  t.strictSame((await log.read('b', 2, { idleMs: 0 })[Symbol.asyncIterator]().next()).value, [{ text }])
})

t.test('what is long is read in pieces: they wait in the memory of whoever reads slowly', async (t) => {
  const log = new MemoryEventLog()
  const text = 'x'.repeat(30_000)
  const events = Array.from({ length: 10 }, (_, n) => ({ n, text }))
  await log.append('a', 0, events, { end: true })
  const batches: (readonly object[])[] = []
  for await (const batch of log.read('a', 0, { idleMs: 0 })) batches.push(batch)
  t.ok(batches.every(({ length }) => length <= 3))
  t.strictSame(batches.flat(), events)
})
