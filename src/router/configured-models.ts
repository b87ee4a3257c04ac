import type { Config, ProviderConfig } from '../config/schema.ts'
import { milliseconds } from '../config/schema.ts'
import { createLLM } from '../llm/create-llm.ts'
import { createDemo } from '../llm/demo.ts'
import type { LLMClient } from '../types.ts'
import type { ServerEntry } from './model-router.ts'
import { pinned } from './pinned.ts'
import { weighted } from './weighted.ts'

export interface ConfiguredModels {
  entries: ServerEntry[]
  /** Lets running calls finish, then closes the connections to the providers. */
  close(): Promise<void>
}

/**
 * The models of a configuration, each with the client that it is composed of. Without any provider: the demo model.
 *
 * @throws Error naming the provider and what it lacks
 */
export function configuredModels({ providers, models }: Pick<Config, 'providers' | 'models'>): ConfiguredModels {
  const names = Object.keys(providers)
  if (names.length === 0) {
    const demo = { model: 'demo/echo', client: createDemo(), capabilities: { demo: true } }
    return { entries: [demo], close: async () => {} }
  }
  const clients = new Map(Object.entries(providers).map(([name, provider]) => [name, clientOf(name, provider)]))
  const clientFor = (target: string): LLMClient => {
    const slash = target.indexOf('/')
    const client = clients.get(target.slice(0, slash))
    if (!client) throw new Error(`provider of "${target}" is not configured`)
    const model = target.slice(slash + 1)
    return model === '*' ? client : pinned(client, model)
  }
  const plans: NonNullable<Config['models']> =
    models ?? Object.fromEntries(names.map((name) => [`${name}/*`, { targets: [{ model: `${name}/*` }] }]))
  const entries = Object.entries(plans).map(([model, { targets, capabilities }]) => ({
    model,
    client: weighted(targets.map(({ model: target, weight = 1 }) => ({ client: clientFor(target), weight }))),
    ...(capabilities ? { capabilities } : {}),
  }))
  return {
    entries,
    async close() {
      await Promise.all([...clients.values()].map((client) => client.close?.()))
    },
  }
}

/** One client, and so one pool of connections, for all models of a provider. */
function clientOf(name: string, { timeouts, ...provider }: ProviderConfig): LLMClient {
  const inMilliseconds = Object.entries(timeouts ?? {}).map(([phase, duration]) => [phase, milliseconds(duration)])
  return createLLM({ model: `${name}/*`, ...provider, timeouts: Object.fromEntries(inMilliseconds) })
}
