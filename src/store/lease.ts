/** Sole possession of something with a name, for a while. */
export interface Lease {
  /** What it is of. */
  readonly name: string
  /** Of two leases of one name, the later one has the larger token. A safe integer. */
  readonly token: number
  /**
   * True once it is known not to be the holder's any more: it was released, or ran out and went to somebody else. A process
   * that was paused does not know yet; a store that is given the lease with a write does.
   */
  readonly lost: boolean
  /** Lets the next one have it. A second time does nothing. Never throws. */
  release(): void
}

export interface AcquireOptions {
  /** Milliseconds to wait for it at most. */
  waitMs: number
  /** Ends the waiting. */
  signal?: AbortSignal | undefined
}

/** Leases by name: who asks first has it first. */
export interface Leases {
  /** Undefined when it was not to be had in time. @throws the signal's reason when that ended the waiting */
  acquire(name: string, options: AcquireOptions): Promise<Lease | undefined>
}

/** A write was refused: the lease that it came with is no longer the last one of its name. Nothing was written. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'

  constructor(lease: Pick<Lease, 'name'>) {
    super(`the lease of ${JSON.stringify(lease.name.slice(0, 200))} has been lost`)
  }
}

/** @throws LeaseLost for a lease that is known to be lost */
export function assertHeld(lease: Lease | undefined): void {
  if (lease?.lost) throw new LeaseLost(lease)
}
