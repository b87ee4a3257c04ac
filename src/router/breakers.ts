import { LRUCache } from 'lru-cache'
import type { BreakerChange } from '../types.ts'
import { Breaker, type BreakerOptions } from './breaker.ts'

/** Of the models of a provider that no configuration names, those that are remembered. */
const mostUnnamed = 200

/** The breakers of one provider, one for each of its models: all who ask for the same model share it. */
export class Breakers {
  readonly #provider: string
  readonly #options: BreakerOptions
  #onChange: (change: BreakerChange) => void
  readonly #named = new Map<string, Breaker>()
  readonly #others = new LRUCache<string, Breaker>({ max: mostUnnamed })

  constructor(provider: string, options: BreakerOptions, onChange: (change: BreakerChange) => void = () => undefined) {
    this.#provider = provider
    this.#options = options
    this.#onChange = onChange
  }

  /** Of a model that the configuration names: it stays. */
  named(model: string): Breaker {
    const breaker = this.#named.get(model) ?? this.#create(model)
    this.#named.set(model, breaker)
    return breaker
  }

  /** Of any model, if there is one. */
  find(model: string): Breaker | undefined {
    return this.#named.get(model) ?? this.#others.get(model)
  }

  /** Of any model. What nobody asks for any more is forgotten. */
  of(model: string): Breaker {
    const known = this.find(model)
    if (known) return known
    const breaker = this.#create(model)
    this.#others.set(model, breaker)
    return breaker
  }

  /** Tells that those which are not closed are no more, and then nothing. */
  retire(): void {
    for (const [model, breaker] of [...this.#named, ...this.#others.entries()]) {
      if (breaker.state !== 'closed') this.#onChange({ target: { provider: this.#provider, model }, state: 'closed' })
    }
    this.#onChange = () => undefined
  }

  #create(model: string): Breaker {
    const target = { provider: this.#provider, model }
    return new Breaker(this.#options, (state) => this.#onChange({ target, state }))
  }
}
