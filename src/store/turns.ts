/**
 * What is done to one thing is done in the order of the calls, one after the other; to different things at once, but only
 * `atOnce` of them: who opens a thousand files in one moment may open none.
 */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /** Resolves or fails as `work` does; a failure does not stop the turns after it. */
  take<Result>(thing: string, work: () => Promise<Result>): Promise<Result> {
    const turn = this.#after(this.#last.get(thing), work)
    this.#last.set(thing, turn)
    const forget = (): void => {
      if (this.#last.get(thing) === turn) this.#last.delete(thing)
    }
    turn.then(forget, forget)
    return turn
  }

  async #after<Result>(before: Promise<unknown> | undefined, work: () => Promise<Result>): Promise<Result> {
    await Promise.allSettled([before])
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resume) => this.#waiting.push(resume))
    try {
      return await work()
    } finally {
      // The place goes to the next one directly, so that nobody who comes just now takes it before.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free += 1
    }
  }
}
