/** What can be ended before its time. */
interface Run {
  cancel(): void
  abort(reason: unknown): void
}

/** The responses that this process makes in the background. */
export class BackgroundRuns {
  readonly #runs = new Map<string, { run: Run; over: Promise<void> }>()

  get size(): number {
    return this.#runs.size
  }

  add(key: string, run: Run, work: Promise<unknown>): void {
    const forget = (): void => {
      this.#runs.delete(key)
    }
    this.#runs.set(key, { run, over: work.then(forget, forget) })
  }

  /** Ends one as cancelled; resolves when that is stored. False when there is none. */
  async cancel(key: string): Promise<boolean> {
    const found = this.#runs.get(key)
    found?.run.cancel()
    await found?.over
    return found !== undefined
  }

  /** Breaks off all of them, for a reason that those who wait are told. */
  abort(reason: unknown): void {
    for (const { run } of this.#runs.values()) run.abort(reason)
  }

  /** Resolves when those that there are now are over. */
  async settledSoFar(): Promise<void> {
    await Promise.all([...this.#runs.values()].map(({ over }) => over))
  }

  /** Resolves when none is left. */
  async settled(): Promise<void> {
    while (this.#runs.size > 0) await this.settledSoFar()
  }
}
