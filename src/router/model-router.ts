import { AgentLoop } from '../agent/agent-loop.ts'
import { withoutTools } from '../agent/without-tools.ts'
import type { LLMClient } from '../types.ts'
import { type Registration, type Route, Routes, type ServerEntry } from './routes.ts'

export type { Route, ServerEntry } from './routes.ts'

/** An entry's client with the entry's tools, and without its callers' where those are not wanted. */
function composed({ model, client, internalTools = [], allowExternalTools = true }: ServerEntry): LLMClient {
  const { agent } = client
  if (internalTools.length > 0 && agent && (agent.keepsHistory || !agent.allowExternalTools)) {
    const why = agent.keepsHistory ? 'with a history of its own' : 'that takes no tools from outside'
    throw new Error(`model "${model}" is an agent ${why}: give it its tools when it is made`)
  }
  const twice = internalTools.find(({ name }) => agent?.toolNames.includes(name))
  if (twice) throw new Error(`model "${model}" is an agent that has a tool "${twice.name}" already`)
  if (internalTools.length > 0) return new AgentLoop({ client, tools: internalTools, allowExternalTools })
  return allowExternalTools ? client : withoutTools(client)
}

/** The registered models. The longest wildcard that fits wins, and an exact id wins over every wildcard. */
export class ModelRouter {
  #routes = new Routes()

  /** As they are now: what is registered later is not among them. A request keeps those that it began with. */
  get routes(): Routes {
    return this.#routes
  }

  /** @throws Error when the id is taken (swapping a live model is `unregister`, then `register`), or a tool is ill-formed */
  register(entry: ServerEntry): void {
    this.#routes = this.#routes.with([registrationOf(entry)])
  }

  /** Takes a model out of service; requests under way finish on it. Returns the entry, whose client is then the caller's. */
  unregister(model: string): ServerEntry | undefined {
    const entry = this.get(model)
    if (entry) this.#routes = this.#routes.without([entry])
    return entry
  }

  /**
   * Prepares to put entries in the place of others, and changes nothing. The function that it returns does so at once: no request
   * finds the one half and not the other.
   *
   * @throws Error as {@link register}
   */
  replacing(entries: readonly ServerEntry[], by: readonly ServerEntry[]): () => void {
    const registrations = by.map(registrationOf)
    const swapped = (): Routes => this.#routes.without(entries).with(registrations)
    swapped()
    return () => {
      this.#routes = swapped()
    }
  }

  /** The entry registered under exactly this id or pattern. */
  get(model: string): ServerEntry | undefined {
    return this.#routes.get(model)
  }

  /** @throws GatewayError `model_not_found` */
  resolve(model: string): Route {
    return this.#routes.resolve(model)
  }

  /** As {@link resolve}, undefined when no entry serves the model. */
  find(model: string): Route | undefined {
    return this.#routes.find(model)
  }

  /** In the order of registration, exact ids first. */
  list(): ServerEntry[] {
    return this.#routes.list()
  }
}

const registrationOf = (entry: ServerEntry): Registration => ({ entry, client: composed(entry) })
