import type { Exchange } from './exchange.ts'

/** Waits for exchanges that were open at some time, however many come after them. */
export class Settling {
  /** Resolves when the last of them has ended. */
  readonly over: Promise<void>
  readonly #open: Set<Exchange>
  readonly #resolve: () => void

  constructor(open: Iterable<Exchange>) {
    this.#open = new Set(open)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.over = promise
    this.#resolve = resolve
    if (this.#open.size === 0) resolve()
  }

  /** To be told of every exchange. */
  ended(exchange: Exchange): void {
    if (this.#open.delete(exchange) && this.#open.size === 0) this.#resolve()
  }
}
