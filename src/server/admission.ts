export interface AdmissionLimits {
  /** Requests at work at a time. */
  maxInFlight: number
  /** Requests that wait for others to end. */
  maxQueue: number
  /** The longest wait, in milliseconds. */
  queueTimeoutMs: number
}

/** How a wait ended: with a place, in vain, or because the process is going away, or because the client has left. */
export type Admitted = 'admitted' | 'queue_timeout' | 'shutting_down' | 'left'

/** A request that waits for a place. */
export interface Waiting {
  readonly outcome: Promise<Admitted>
  /** The client waits no more. */
  leave(): void
}

/**
 * How much one process takes on: so many requests at work, so many more in a queue, first come, first served; whatever comes
 * on top is to be refused before anything is spent on it. What it holds is bounded by that, whatever arrives.
 */
export class Admission {
  readonly limits: AdmissionLimits
  readonly #queue = new Set<(outcome: Admitted) => void>()
  #inFlight = 0
  #isClosed = false

  constructor(limits: AdmissionLimits) {
    this.limits = limits
  }

  /** Requests at work. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Requests that wait. */
  get queued(): number {
    return this.#queue.size
  }

  /** There is no place at work, and none in the queue. */
  get isFull(): boolean {
    const { maxInFlight, maxQueue } = this.limits
    return this.#inFlight >= maxInFlight && (this.#queue.size >= maxQueue || this.#isClosed)
  }

  /** Takes a place at work if there is one; false when there is none, or others wait for it. Give it back with {@link leave}. */
  enter(): boolean {
    if (this.#inFlight >= this.limits.maxInFlight) return false
    this.#inFlight += 1
    return true
  }

  /** Takes a place in the queue; undefined when it is full. Who is admitted has a place at work, and gives that back. */
  wait(): Waiting | undefined {
    if (this.isFull) return undefined
    const { promise, resolve } = Promise.withResolvers<Admitted>()
    const end = (outcome: Admitted): void => {
      clearTimeout(timer)
      this.#queue.delete(end)
      resolve(outcome)
    }
    const timer = setTimeout(end, this.limits.queueTimeoutMs, 'queue_timeout')
    this.#queue.add(end)
    return {
      outcome: promise,
      leave: () => {
        if (this.#queue.has(end)) end('left')
      },
    }
  }

  /** A request is over: its place is the next one's. */
  leave(): void {
    const [next] = this.#queue
    if (next) next('admitted')
    else this.#inFlight -= 1
  }

  /** The process is going away: who waits, and who comes to wait from now on, does so in vain. */
  close(): void {
    this.#isClosed = true
    for (const end of [...this.#queue]) end('shutting_down')
  }
}

/** A place at work. It is given back once its request is over, and whatever goes on after its answer with it. */
export class Place {
  readonly #admission: Admission
  #holders = 1

  constructor(admission: Admission) {
    this.#admission = admission
  }

  /** Something goes on after the answer. A place that was given back stays so: its client had left before this began. */
  readonly keepFor = (work: Promise<unknown>): void => {
    if (this.#holders === 0) return
    this.#holders += 1
    work.then(this.end, this.end)
  }

  /** The connection has been answered, or is gone. */
  readonly end = (): void => {
    this.#holders -= 1
    if (this.#holders === 0) this.#admission.leave()
  }
}
