/** What has lasted too long: all of it, or a silence within it. */
export type Overdue = 'total' | 'silence'

/**
 * How long a call is waited for, as a whole and between two signs of life. One timer for both: what is heard is noted, and nothing is
 * set anew for it, since a stream is heard of thousands of times.
 */
export class Patience {
  readonly #onOverdue: (what: Overdue) => void
  readonly #endsAt: number
  readonly #shortest: number
  #timer: NodeJS.Timeout | undefined
  #silence = Number.POSITIVE_INFINITY
  #heardAt = 0
  #isPaused = false

  /**
   * @param total Milliseconds, from now.
   * @param shortest The shortest silence that will be told of, in milliseconds.
   */
  constructor(total: number, shortest: number, onOverdue: (what: Overdue) => void) {
    this.#onOverdue = onOverdue
    this.#endsAt = performance.now() + total
    this.#shortest = shortest
    this.#set(Math.min(total, shortest))
  }

  /** From now on nothing may be heard for so long, in milliseconds, but no longer. */
  listen(silence: number): void {
    this.#silence = silence
    this.heard()
  }

  heard(): void {
    this.#heardAt = performance.now()
  }

  /** What is not asked for is no silence. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.heard()
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #look(): void {
    const now = performance.now()
    const rest = this.#endsAt - now
    const silence = this.#isPaused ? this.#shortest : this.#heardAt + this.#silence - now
    // Timers count whole milliseconds, and may be early by a part of one.
    if (rest < 1) this.#onOverdue('total')
    else if (silence < 1) this.#onOverdue('silence')
    // Not later: a shorter silence may begin at any time.
    else this.#set(Math.min(rest, silence, Math.max(this.#shortest, 1)))
  }

  #set(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms)
  }
}
