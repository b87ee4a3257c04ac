/** Sole possession of something with a name, for a while. */
export interface Lease {
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
