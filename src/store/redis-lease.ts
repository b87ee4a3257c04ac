import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from './lease.ts'
import type { RedisConnection } from './redis-connection.ts'
import { redisKey } from './redis-key.ts'

/** How long after its lease has run out a holder may still write, if nobody has had it since. In milliseconds: an hour. */
const graceMs = 3_600_000

/** Milliseconds between two attempts to give a lease back. */
const retryMs = 250

/** One acquisition: it asks for the lease, keeps it up, gives it back. */
export class RedisLease implements Lease {
  readonly name: string
  readonly #connection: RedisConnection
  readonly #leaseMs: number
  /** Tells this acquisition from all others. */
  readonly #id = randomUUID()
  readonly #keys: [lease: string, fence: string, queue: string, seen: string]
  readonly #onRelease: () => void
  #renewal: NodeJS.Timeout | undefined
  #token = 0
  #lost = false
  #released = false

  constructor(connection: RedisConnection, name: string, leaseMs: number, onRelease: () => void) {
    this.name = name
    this.#connection = connection
    this.#leaseMs = leaseMs
    this.#onRelease = onRelease
    this.#keys = [redisKey('lease', name), redisKey('fence', name), redisKey('queue', name), redisKey('seen', name)]
  }

  get token(): number {
    return this.#token
  }

  get lost(): boolean {
    return this.#lost || this.#released
  }

  /** True when it was granted. Who waits and does not ask again for `patienceMs` has left the queue. */
  async ask({ patienceMs, waits }: { patienceMs: number; waits: boolean }): Promise<boolean> {
    const times = [this.#leaseMs, this.#leaseMs + graceMs, patienceMs] as const
    const token = await this.#connection.run((redis) =>
      redis.signalboxAcquire(...this.#keys, this.#id, ...times, waits ? 1 : 0),
    )
    if (token === null) return false
    this.#token = Number(token)
    this.#renewal = setInterval(() => this.#renew(), this.#leaseMs / 3).unref()
    return true
  }

  /** Gives the lease back, or the place in the queue; also when it is not known whether it was granted. */
  release(): void {
    if (this.#released) return
    this.#released = true
    clearInterval(this.#renewal)
    void this.#giveBack()
    this.#onRelease()
  }

  /** An outage must not cost the next one the whole lease: it is tried on until that has run out by itself. */
  async #giveBack(): Promise<void> {
    const until = performance.now() + this.#leaseMs
    do {
      try {
        await this.#connection.run((redis) => redis.signalboxRelease(...this.#keys, this.#id))
        return
      } catch {
        await sleep(retryMs, undefined, { ref: false })
      }
    } while (performance.now() < until && this.#connection.status !== 'closed')
  }

  async #renew(): Promise<void> {
    const [lease, fence] = this.#keys
    try {
      const times = [this.#leaseMs, this.#leaseMs + graceMs] as const
      const renewed = await this.#connection.run((redis) =>
        redis.signalboxRenew(lease, fence, this.#id, this.#token, ...times),
      )
      if (renewed === 1) return
      this.#lost = true
      clearInterval(this.#renewal)
    } catch {
      // In an outage nobody else can have it, either; the next renewal tells.
    }
  }
}
