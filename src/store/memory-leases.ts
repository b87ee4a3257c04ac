import type { AcquireOptions, Lease, Leases } from './lease.ts'

/** A timer for longer would go off at once. */
const longestTimerMs = 2 ** 31 - 1

/** Leases within this process. They end with it, so none needs to expire: one is lost when it is released, not before. */
export class MemoryLeases implements Leases {
  /** Who waits for a lease that is taken, in the order of arrival. */
  readonly #queues = new Map<string, Set<() => void>>()
  #granted = 0

  /** How many leases are taken. */
  get size(): number {
    return this.#queues.size
  }

  async acquire(name: string, { waitMs, signal }: AcquireOptions): Promise<Lease | undefined> {
    signal?.throwIfAborted()
    const queue = this.#queues.get(name)
    if (!queue) {
      this.#queues.set(name, new Set())
      return this.#lease(name)
    }
    const { promise, resolve, reject } = Promise.withResolvers<boolean>()
    const isNext = (): void => resolve(true)
    // Whoever goes must be out of the queue at once: a lease that was passed to it would never come back.
    const onAbort = (): void => {
      queue.delete(isNext)
      reject(signal?.reason)
    }
    const giveUp = (): void => {
      queue.delete(isNext)
      resolve(false)
    }
    const timer = setTimeout(giveUp, Math.min(waitMs, longestTimerMs))
    signal?.addEventListener('abort', onAbort, { once: true })
    queue.add(isNext)
    try {
      return (await promise) ? this.#lease(name) : undefined
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #lease(name: string): Lease {
    let released = false
    this.#granted += 1
    return {
      name,
      token: this.#granted,
      get lost() {
        return released
      },
      release: () => {
        if (released) return
        released = true
        this.#pass(name)
      },
    }
  }

  #pass(name: string): void {
    const [next] = this.#queues.get(name) ?? []
    if (!next) {
      this.#queues.delete(name)
      return
    }
    this.#queues.get(name)?.delete(next)
    next()
  }
}
