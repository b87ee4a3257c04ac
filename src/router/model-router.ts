import { GatewayError } from '../server/errors.ts'
import type { LLMClient } from '../types.ts'

/** The registration of one model. */
export interface ServerEntry {
  /** The id that requests name. One that ends in `*` (`openai/*`, `*`) serves every id with that beginning. */
  model: string
  client: LLMClient
  /** Shown at `GET /v1/models`. */
  capabilities?: Readonly<Record<string, unknown>>
  /** Unix seconds, shown at `GET /v1/models`. Default 0: the same on every replica and after every restart. */
  created?: number
}

/** Where a requested model leads. */
export interface Route {
  entry: ServerEntry
  /** The model's name for the client: what a wildcard matched, else the requested id. */
  model: string
}

/** The registered models. The longest wildcard that fits wins, and an exact id wins over every wildcard. */
export class ModelRouter {
  readonly #exact = new Map<string, ServerEntry>()
  /** Longest prefix first. */
  #wildcards: ServerEntry[] = []

  /** @throws Error when the id is taken: swapping a live model is `unregister`, then `register`. */
  register(entry: ServerEntry): void {
    if (this.get(entry.model)) throw new Error(`model "${entry.model}" is already registered`)
    if (!entry.model.endsWith('*')) {
      this.#exact.set(entry.model, entry)
      return
    }
    this.#wildcards = [...this.#wildcards, entry].sort((a, b) => b.model.length - a.model.length)
  }

  /** Takes a model out of service; requests under way finish on it. Returns the entry, whose client is then the caller's. */
  unregister(model: string): ServerEntry | undefined {
    const entry = this.get(model)
    if (!entry) return undefined
    this.#exact.delete(model)
    this.#wildcards = this.#wildcards.filter((other) => other !== entry)
    return entry
  }

  /** The entry registered under exactly this id or pattern. */
  get(model: string): ServerEntry | undefined {
    return this.#exact.get(model) ?? this.#wildcards.find((entry) => entry.model === model)
  }

  /** @throws GatewayError `model_not_found` */
  resolve(model: string): Route {
    const route = this.find(model)
    if (route) return route
    throw new GatewayError('model_not_found', `model "${model}" not found`, { param: 'model' })
  }

  /** As {@link resolve}, undefined when no entry serves the model. */
  find(model: string): Route | undefined {
    const exact = this.#exact.get(model)
    if (exact) return { entry: exact, model }
    // A pattern is no model of the provider's.
    if (model.endsWith('*')) return undefined
    for (const entry of this.#wildcards) {
      const prefix = entry.model.slice(0, -1)
      if (model.startsWith(prefix) && model.length > prefix.length) return { entry, model: model.slice(prefix.length) }
    }
    return undefined
  }

  /** In the order of registration, exact ids first. */
  list(): ServerEntry[] {
    return [...this.#exact.values(), ...this.#wildcards]
  }
}
