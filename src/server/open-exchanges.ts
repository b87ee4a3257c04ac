import type { Exchange } from './exchange.ts'

/**
 * The exchanges that are not over yet, in no order. Not a Set: its table is copied every few requests, and what the copies
 * hold outlives its requests in the old generation, which makes every garbage collection dear.
 */
export class OpenExchanges {
  readonly #list: Exchange[] = []

  get size(): number {
    return this.#list.length
  }

  /** To be called once for an exchange. */
  add(exchange: Exchange): void {
    exchange.place = this.#list.length
    this.#list.push(exchange)
  }

  /** The last one takes the place. To be called once for an exchange that was added. */
  remove(exchange: Exchange): void {
    const last = this.#list.pop()
    if (!last || last === exchange) return
    last.place = exchange.place
    this.#list[last.place] = last
  }

  /** All at this moment. */
  all(): Exchange[] {
    return [...this.#list]
  }
}
