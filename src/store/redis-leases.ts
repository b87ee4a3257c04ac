import { setTimeout as sleep } from 'node:timers/promises'
import type { AcquireOptions, Lease, Leases } from './lease.ts'
import { MemoryLeases } from './memory-leases.ts'
import type { RedisConnection } from './redis-connection.ts'
import { RedisLease } from './redis-lease.ts'

export interface RedisLeasesOptions {
  /** How long a lease lasts when its holder is gone, in milliseconds. Held, it is renewed every third of that. Default 15 000. */
  leaseMs?: number
}

/** Who has not asked for so long, in milliseconds, does not wait any more. */
const patienceMs = 1000

/** Between two attempts to have a lease, in milliseconds: at first, and when it takes long. */
const shortestPauseMs = 10
const longestPauseMs = 100

/**
 * Leases for all who are connected to one Redis. In one process, who asks first has it first. Of each process the first one
 * asks Redis again and again, and these are served in the order in which they came: between two processes it takes a lease
 * up to a tenth of a second to change hands.
 *
 * A holder that is killed delays the next one by what is left of its lease; one that is killed while it waits, by a second.
 */
export class RedisLeases implements Leases {
  readonly #connection: RedisConnection
  readonly #leaseMs: number
  readonly #turns = new MemoryLeases()

  /** @throws RangeError for a lease time that is not a whole number of milliseconds, 100 at least */
  constructor(connection: RedisConnection, { leaseMs = 15_000 }: RedisLeasesOptions = {}) {
    if (!Number.isSafeInteger(leaseMs) || leaseMs < 100) {
      throw new RangeError(`leaseMs must be an integer of 100 or more, not ${leaseMs}`)
    }
    this.#connection = connection
    this.#leaseMs = leaseMs
  }

  /** @throws StoreUnavailable */
  async acquire(name: string, { waitMs, signal }: AcquireOptions): Promise<Lease | undefined> {
    const until = performance.now() + waitMs
    const turn = await this.#turns.acquire(name, { waitMs, signal })
    if (!turn) return undefined
    const lease = new RedisLease(this.#connection, name, this.#leaseMs, () => turn.release())
    try {
      if (await this.#granted(lease, until, signal)) return lease
    } catch (error) {
      lease.release()
      throw error
    }
    lease.release()
    return undefined
  }

  async #granted(lease: RedisLease, until: number, signal: AbortSignal | undefined): Promise<boolean> {
    for (let pause = shortestPauseMs; ; pause = Math.min(1.5 * pause, longestPauseMs)) {
      const left = until - performance.now()
      const granted = await lease.ask({ patienceMs, waits: left > 0 })
      signal?.throwIfAborted()
      if (granted || left <= 0) return granted
      // Not all at the same moment.
      const jitter = 0.5 + Math.random() / 2
      await sleep(Math.min(pause * jitter, left), undefined, signal && { signal }).catch(() => signal?.throwIfAborted())
    }
  }
}
