import { GatewayError } from '../server/errors.ts'
import type { LLMClient } from '../types.ts'
import type { ServerEntry } from './model-router.ts'

/** Where a requested model leads. */
export interface Route {
  entry: ServerEntry
  /** The entry's client, with the entry's tools. */
  client: LLMClient
  /** The model's name for the client: what a wildcard matched, else the requested id. */
  model: string
}

export interface Registration {
  entry: ServerEntry
  client: LLMClient
}

/** Registered models at one moment: they never change. The longest wildcard that fits wins, and an exact id wins over every wildcard. */
export class Routes {
  readonly #exact: ReadonlyMap<string, Registration>
  /** Longest prefix first. */
  readonly #wildcards: readonly Registration[]

  constructor(registrations: Iterable<Registration> = []) {
    const all = [...registrations]
    const isWildcard = ({ entry }: Registration): boolean => entry.model.endsWith('*')
    this.#exact = new Map(all.filter((one) => !isWildcard(one)).map((one) => [one.entry.model, one]))
    this.#wildcards = all.filter(isWildcard).sort((a, b) => b.entry.model.length - a.entry.model.length)
  }

  /** @throws Error when an id is taken */
  with(registrations: readonly Registration[]): Routes {
    const taken = new Set(this.list().map(({ model }) => model))
    for (const { entry } of registrations) {
      if (taken.has(entry.model)) throw new Error(`model "${entry.model}" is already registered`)
      taken.add(entry.model)
    }
    return new Routes([...this.#all(), ...registrations])
  }

  without(entries: readonly ServerEntry[]): Routes {
    const gone = new Set(entries)
    return new Routes(this.#all().filter(({ entry }) => !gone.has(entry)))
  }

  /** The entry registered under exactly this id or pattern. */
  get(model: string): ServerEntry | undefined {
    return (this.#exact.get(model) ?? this.#wildcards.find(({ entry }) => entry.model === model))?.entry
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
    if (exact) return { ...exact, model }
    // A pattern is no model of the provider's.
    if (model.endsWith('*')) return undefined
    for (const registration of this.#wildcards) {
      const prefix = registration.entry.model.slice(0, -1)
      if (model.startsWith(prefix) && model.length > prefix.length) {
        return { ...registration, model: model.slice(prefix.length) }
      }
    }
    return undefined
  }

  /** In the order of registration, exact ids first. */
  list(): ServerEntry[] {
    return this.#all().map(({ entry }) => entry)
  }

  #all(): Registration[] {
    return [...this.#exact.values(), ...this.#wildcards]
  }
}
