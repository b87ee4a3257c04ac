export interface RetryBudgetOptions {
  /** Retries for each request, at most. Default 0.2. */
  ratio?: number
  /** Retries per second that may be in any case, so that little traffic has some, too. Default 1. */
  perSecond?: number
  /** The clock, in milliseconds. */
  now?: () => number
}

/** Seconds. */
const windowLength = 10

/**
 * What retries may add to the requests of the last ten seconds: an outage, in which everything fails, is not multiplied by them. One
 * for all that ask the same provider.
 */
export class RetryBudget {
  readonly #ratio: number
  readonly #least: number
  readonly #now: () => number
  readonly #requests = new Uint32Array(windowLength)
  readonly #retries = new Uint32Array(windowLength)
  #requestsInWindow = 0
  #retriesInWindow = 0
  #second: number

  constructor({ ratio = 0.2, perSecond = 1, now = () => performance.now() }: RetryBudgetOptions = {}) {
    this.#ratio = ratio
    this.#least = perSecond * windowLength
    this.#now = now
    this.#second = this.#thisSecond()
  }

  /** A request has come. */
  request(): void {
    const slot = this.#slot()
    this.#requests[slot] = (this.#requests[slot] ?? 0) + 1
    this.#requestsInWindow++
  }

  /** Takes a retry out of the budget; false when it is spent. */
  take(): boolean {
    const slot = this.#slot()
    if (this.#retriesInWindow + 1 > this.#least + this.#ratio * this.#requestsInWindow) return false
    this.#retries[slot] = (this.#retries[slot] ?? 0) + 1
    this.#retriesInWindow++
    return true
  }

  #thisSecond(): number {
    return Math.floor(this.#now() / 1000)
  }

  /** The place of this second, after those that have left the window were forgotten. */
  #slot(): number {
    const second = this.#thisSecond()
    const passed = Math.min(windowLength, second - this.#second)
    for (let n = 1; n <= passed; n++) {
      const slot = (this.#second + n) % windowLength
      this.#requestsInWindow -= this.#requests[slot] ?? 0
      this.#retriesInWindow -= this.#retries[slot] ?? 0
      this.#requests[slot] = 0
      this.#retries[slot] = 0
    }
    this.#second = Math.max(second, this.#second)
    return this.#second % windowLength
  }
}
