import { GatewayError } from '../server/errors.ts'
import { LeaseLost, type Leases } from './lease.ts'
import type { Persistence, SetOptions } from './persistence.ts'
import { StoreUnavailable } from './store-unavailable.ts'

/** How often a write is tried whose lease was lost meanwhile. */
const attempts = 3

/** How long it is waited for others who change it, in milliseconds. */
const waitMs = 5000

export interface LeasedStore {
  persistence: Persistence
  leases: Leases
}

/**
 * Changes a value by what it is now, so that of changes at once, on any replica, none is lost. `change` returns the value to be
 * kept, or undefined to leave it as it is; it may be called again. Returns what is kept then.
 *
 * @throws StoreUnavailable when it cannot be reached, or the others did not let go of it in time
 */
export async function changeValue(
  { persistence, leases }: LeasedStore,
  key: string,
  change: (value: unknown) => unknown,
  { ttlSeconds }: Pick<SetOptions, 'ttlSeconds'> = {},
): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    const lease = await reached(() => leases.acquire(key, { waitMs }))
    if (!lease) throw new StoreUnavailable(new Error('another change takes too long'))
    try {
      const value = await reached(() => persistence.get(key))
      const changed = change(value)
      if (changed === undefined) return value
      await reached(() => persistence.set(key, changed, { lease, ...(ttlSeconds && { ttlSeconds }) }))
      return changed
    } catch (error) {
      if (!(error instanceof LeaseLost)) throw error
      if (attempt === attempts) throw new StoreUnavailable(error)
    } finally {
      lease.release()
    }
  }
}

/** Whatever a store fails with, nothing was wrong with what it was asked. @throws StoreUnavailable */
export async function reached<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof GatewayError || error instanceof LeaseLost) throw error
    throw new StoreUnavailable(error)
  }
}
