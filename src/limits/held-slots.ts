/** So many are held with one command. */
const mostAtOnce = 1000

/** The reservations of this process that are under way: while it lives, it says so of all of them, again and again. */
export class HeldSlots {
  readonly #held = new Map<string, readonly string[]>()
  readonly #everyMs: number
  readonly #hold: (slots: ReadonlyMap<string, readonly string[]>) => Promise<void>
  #timer: NodeJS.Timeout | undefined

  /** @param hold Is given ids, and where each of them has slots. */
  constructor(everyMs: number, hold: (slots: ReadonlyMap<string, readonly string[]>) => Promise<void>) {
    this.#everyMs = everyMs
    this.#hold = hold
  }

  hold(id: string, slots: readonly string[]): void {
    this.#held.set(id, slots)
    this.#timer ??= setInterval(() => void this.#tick(), this.#everyMs).unref()
  }

  release(id: string): void {
    this.#held.delete(id)
    if (this.#held.size === 0) this.close()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  async #tick(): Promise<void> {
    const ids = [...this.#held.keys()]
    for (let n = 0; n < ids.length; n += mostAtOnce) {
      // What has been released meanwhile is not taken again: what was sent for that comes first.
      const rest = ids.slice(n, n + mostAtOnce).flatMap((id) => {
        const slots = this.#held.get(id)
        return slots ? [[id, slots] as const] : []
      })
      if (rest.length > 0) await this.#hold(new Map(rest))
    }
  }
}
