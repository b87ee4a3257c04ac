import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { Lease, Leases } from '../store/lease.ts'
import { MemoryLeases } from '../store/memory-leases.ts'
import { bounded } from './bounded.ts'

export interface TurnLocksOptions {
  /** Where turns wait for each other. Default: in this process. */
  leases?: Leases | undefined
  /** Milliseconds that a turn waits for the one before it; then it is refused with 409. Default 10 000. */
  lockTimeoutMs?: number | undefined
  /** Milliseconds that a write may take. */
  writeTimeoutMs: number
}

/** One turn at a time of each conversation. */
export class TurnLocks {
  readonly #leases: Leases
  readonly #lockTimeoutMs: number
  readonly #writeTimeoutMs: number

  constructor({ leases, lockTimeoutMs = 10_000, writeTimeoutMs }: TurnLocksOptions) {
    this.#leases = leases ?? new MemoryLeases()
    this.#lockTimeoutMs = lockTimeoutMs
    this.#writeTimeoutMs = writeTimeoutMs
  }

  /** @throws GatewayError `conversation_locked`, `store_unavailable`, or `client_closed` when the signal ends the waiting */
  async take(name: string, signal?: AbortSignal): Promise<TurnLock> {
    try {
      const lease = await this.#leases.acquire(name, { waitMs: this.#lockTimeoutMs, signal })
      if (lease) return new TurnLock(lease, this.#writeTimeoutMs)
    } catch (error) {
      throw signal?.aborted ? abortedCall(signal.reason) : conversationsUnavailable(error)
    }
    throw new GatewayError('conversation_locked', 'another turn of this conversation is in progress', { retryAfter: 1 })
  }
}

/** How many times as long as it may take a write is waited for that nobody waits for any more. */
const patience = 12

/** A conversation in the hands of one turn, until it is released. */
export class TurnLock {
  readonly #lease: Lease
  readonly #timeoutMs: number
  #writing: Promise<unknown> | undefined

  constructor(lease: Lease, timeoutMs: number) {
    this.#lease = lease
    this.#timeoutMs = timeoutMs
  }

  /** Fails as the work does, or with a TimeoutError when it takes too long. */
  async write(work: (lease: Lease) => Promise<unknown>): Promise<void> {
    const writing = work(this.#lease)
    const forget = (): void => {
      if (this.#writing === writing) this.#writing = undefined
    }
    this.#writing = writing
    writing.then(forget, forget)
    await bounded(this.#timeoutMs, () => writing)
  }

  /** Lets the next turn begin, after what is being written: that must not come after what the next one writes. */
  release(): void {
    const release = (): void => this.#lease.release()
    if (this.#writing) bounded(patience * this.#timeoutMs, () => this.#writing).then(release, release)
    else release()
  }
}

export const conversationsUnavailable = (cause: unknown): GatewayError =>
  new GatewayError('store_unavailable', 'the store of conversations cannot be reached', { cause, retryAfter: 1 })
