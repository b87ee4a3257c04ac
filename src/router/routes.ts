import type { TruncateLimits } from '../agent/conversation-history.ts'
import type { AgentTool } from '../agent/tool.ts'
import type { KeyLimits } from '../auth/auth-plugin.ts'
import { GatewayError } from '../server/errors.ts'
import type { LLMClient, Target } from '../types.ts'

/** The registration of one model. */
export interface ServerEntry {
  /** The id that requests name. One that ends in `*` (`openai/*`, `*`) serves every id with that beginning. */
  model: string
  /** A provider, clients that wrap clients, or an agent. */
  client: LLMClient
  /** Tools that the gateway runs for this model; its callers see neither them nor their results. Default none. */
  internalTools?: readonly AgentTool[]
  /** False to ignore the tools that callers send. Default true. */
  allowExternalTools?: boolean
  /** What of a conversation with it is sent and kept; false when it has none. Default: everything. */
  conversation?: TruncateLimits | false
  /** What all requests for it together may use. Default: no limits of its own. */
  limits?: KeyLimits | undefined
  /** Of an agent: the model that it asks, whose limits hold for it, too. */
  asks?: Pick<ServerEntry, 'model' | 'limits'> | undefined
  /** Whom it may ask, for an estimate of what a request will cost; `*` for the model that is asked for. Default: its client. */
  targets?: readonly Target[] | undefined
  /** Shown at `GET /v1/models`, beside what is known. */
  capabilities?: Readonly<Record<string, unknown>>
  /** Tokens of prompt and answer together, shown at `GET /v1/models`: of what a wildcard has matched, else of the id. */
  contextWindow?(model: string): number | undefined
  /** Unix seconds, shown at `GET /v1/models`. Default 0: the same on every replica and after every restart. */
  created?: number
}

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
