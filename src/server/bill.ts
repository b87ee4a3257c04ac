import type { ChatRequest, Target, Usage } from '../types.ts'

/** What calls cost: the part of a catalog that a server needs. */
export interface Prices {
  /** USD; undefined when it is not known. */
  cost(provider: string, model: string, usage: Usage): number | undefined
}

/** What one request costs: the calls that it took, each at the price of whom it was sent to. */
export class Bill {
  readonly #prices: Prices | undefined
  readonly #calls: { usage: Usage | undefined; target: Target }[] = []

  /** What was last sent to a provider, until its usage is known. */
  open: ChatRequest | undefined

  constructor(prices: Prices | undefined) {
    this.#prices = prices
  }

  /** One call of several. */
  add(usage: Usage | undefined, target: Target): void {
    this.#calls.push({ usage, target })
    this.open = undefined
  }

  /** What a usage would cost; undefined when that is not known. */
  costOf({ provider, model }: Target, usage: Usage): number | undefined {
    return this.#prices?.cost(provider, model, usage)
  }

  /** The usages of the calls so far. */
  get usages(): (Usage | undefined)[] {
    return this.#calls.map(({ usage }) => usage)
  }

  /** Of the calls; or, where there was but one, of the usage that its answer told. */
  total(usage: Usage | undefined, target: Target | undefined): number | 'unknown' {
    const calls = this.#calls.length > 0 ? this.#calls : [{ usage, target }]
    let sum = 0
    for (const call of calls) {
      const cost = call.usage && call.target && this.#prices?.cost(call.target.provider, call.target.model, call.usage)
      if (cost === undefined) return 'unknown'
      sum += cost
    }
    return sum
  }
}
