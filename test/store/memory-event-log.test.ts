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
