import type { StoreReport } from '../types.ts'
import type { EventLog } from './event-log.ts'
import { LeaseLost, type Leases } from './lease.ts'
import type { Persistence } from './persistence.ts'
import type { SortedIndex } from './sorted-index.ts'

/** Hears of everything that a store was asked for. */
export type StoreListener = (report: StoreReport) => void

/** A persistence that tells what it was asked for. */
export function observedPersistence(persistence: Persistence, tell: StoreListener): Persistence {
  const { add, getMany, versions } = persistence
  const timed = timedFor('values', tell)
  return {
    get: (key) => timed('get', () => persistence.get(key)),
    set: (key, value, options) => timed('set', () => persistence.set(key, value, options)),
    delete: (key) => timed('delete', () => persistence.delete(key)),
    ...(add && { add: (key, value, options) => timed('add', () => add.call(persistence, key, value, options)) }),
    ...(getMany && { getMany: (keys) => timed('get_many', () => getMany.call(persistence, keys)) }),
    ...(versions && { versions: (keys) => timed('versions', () => versions.call(persistence, keys)) }),
  }
}

/** Leases that tell who waited for them, and how long. */
export function observedLeases(leases: Leases, tell: StoreListener): Leases {
  const timed = timedFor('leases', tell)
  return { acquire: (name, options) => timed('acquire', () => leases.acquire(name, options)) }
}

/** An index that tells what it was asked for. */
export function observedIndex(index: SortedIndex, tell: StoreListener): SortedIndex {
  const timed = timedFor('index', tell)
  return {
    add: (key, place, options) => timed('add', () => index.add(key, place, options)),
    remove: (key, member) => timed('remove', () => index.remove(key, member)),
    page: (key, options) => timed('page', () => index.page(key, options)),
  }
}

/** A log that tells what was written to it. Reading goes on for as long as somebody follows: it is not told. */
export function observedEventLog(eventLog: EventLog, tell: StoreListener): EventLog {
  const timed = timedFor('events', tell)
  return {
    append: (key, at, events, options) => timed('append', () => eventLog.append(key, at, events, options)),
    read: (key, from, options) => eventLog.read(key, from, options),
    delete: (key) => timed('delete', () => eventLog.delete(key)),
  }
}

/** Runs what was asked for, and tells what came of it. */
function timedFor(part: StoreReport['part'], tell: StoreListener) {
  return async <Result>(operation: string, work: () => Promise<Result>): Promise<Result> => {
    const startedAt = performance.now()
    const end = (outcome: StoreReport['outcome']): void =>
      tell({ part, operation, outcome, durationMs: performance.now() - startedAt })
    try {
      const result = await work()
      end(part === 'leases' && result === undefined ? 'refused' : 'ok')
      return result
    } catch (error) {
      end(error instanceof LeaseLost ? 'refused' : 'failed')
      throw error
    }
  }
}
