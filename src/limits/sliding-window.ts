/** A window has so many steps, and one more: the oldest counts as a whole. */
export const steps = 60

/** What was taken within a window of time, by steps of it. */
export class SlidingWindow {
  readonly #stepMs: number
  readonly #taken = new Map<number, number>()
  #sum = 0

  constructor(stepMs: number) {
    this.#stepMs = stepMs
  }

  used(now: number): number {
    const oldest = this.#stepOf(now) - steps
    // In the order in which they were begun; what is left out of it by a clock that went back goes a little later.
    for (const [step, amount] of this.#taken) {
      if (step >= oldest) break
      this.#taken.delete(step)
      this.#sum -= amount
    }
    return this.#sum
  }

  /** Returns the step that it is counted in. */
  take(now: number, amount: number): number {
    const step = this.#stepOf(now)
    this.#taken.set(step, (this.#taken.get(step) ?? 0) + amount)
    this.#sum += amount
    return step
  }

  /** Gives back what was taken in a step, unless that has left the window; takes what is more in the step of now. */
  correct(now: number, step: number, difference: number): void {
    this.used(now)
    if (difference > 0) {
      this.take(now, difference)
      return
    }
    const taken = this.#taken.get(step)
    if (taken === undefined) return
    this.#taken.set(step, taken + difference)
    this.#sum += difference
  }

  /** Milliseconds until there is room for that much. */
  waitFor(now: number, amount: number, cap: number): number {
    let excess = this.used(now) + amount - cap
    if (excess <= 0) return 0
    for (const [step, taken] of this.#taken) {
      excess -= taken
      if (excess <= 0) return (step + steps + 1) * this.#stepMs - now
    }
    return Math.max(1, this.resetMs(now))
  }

  /** Milliseconds until nothing is taken, if nothing more is. */
  resetMs(now: number): number {
    if (this.used(now) <= 0) return 0
    return (Math.max(...this.#taken.keys()) + steps + 1) * this.#stepMs - now
  }

  #stepOf(now: number): number {
    return Math.floor(now / this.#stepMs)
  }
}
