import type { AgentLoop } from '../agent/agent-loop.ts'
import { type CreateAgentOptions, createAgent } from '../agent/create-agent.ts'
import { HookBus } from '../hooks/hook-bus.ts'
import { type CreateLLMOptions, createLLM } from '../llm/create-llm.ts'
import { MemoryPersistence } from '../store/memory-persistence.ts'
import type { Persistence } from '../store/persistence.ts'
import type { LLMClient } from '../types.ts'
import { type Catalog, type CatalogOverrides, createCatalog } from './catalog.ts'

export interface EngineOptions {
  /**
   * Prices and context windows of models: `'defaults'` (the default) for those that are publicly known, entries by
   * `provider/model` that replace some of them, or a catalog of one's own.
   */
  catalog?: 'defaults' | CatalogOverrides | Catalog
  /** Keys by provider. Default: each provider's environment variable. */
  apiKeys?: Readonly<Record<string, string | undefined>>
  /** Where servers of this engine keep what must outlive a request. Default: in memory, at most 10 000 entries. */
  persistence?: Persistence
  /** Shared by all servers of this engine. Default: a fresh bus. */
  hooks?: HookBus
}

/** What several servers share: keys, prices, hooks, persistence. */
export interface Engine {
  readonly hooks: HookBus
  readonly persistence: Persistence
  readonly catalog: Catalog
  /** As `createLLM`, with the engine's key for the provider. */
  createLLM(options: CreateLLMOptions): LLMClient
  /** As `createAgent`, with the engine's key for the provider. */
  createAgent(options: CreateAgentOptions): AgentLoop
}

/** @throws Error naming what is wrong with the catalog's entries */
export function createEngine(options: EngineOptions = {}): Engine {
  const { catalog = 'defaults', apiKeys = {}, persistence, hooks } = options
  const engine: Engine = {
    hooks: hooks ?? new HookBus(),
    persistence: persistence ?? new MemoryPersistence(),
    catalog: catalogOf(catalog),
    createLLM(options) {
      const provider = options.model.slice(0, options.model.indexOf('/'))
      const apiKey = options.apiKey ?? (Object.hasOwn(apiKeys, provider) ? apiKeys[provider] : undefined)
      return createLLM(apiKey ? { ...options, apiKey } : options)
    },
    createAgent: (options) =>
      createAgent(
        'client' in options && options.client
          ? options
          : { ...options, client: engine.createLLM(options as CreateLLMOptions) },
      ),
  }
  return engine
}

function catalogOf(catalog: 'defaults' | CatalogOverrides | Catalog): Catalog {
  if (catalog === 'defaults') return createCatalog()
  return isCatalog(catalog) ? catalog : createCatalog(catalog)
}

const isCatalog = (catalog: CatalogOverrides | Catalog): catalog is Catalog => typeof catalog.cost === 'function'
