import { HookBus } from '../hooks/hook-bus.ts'
import { type CreateLLMOptions, createLLM } from '../llm/create-llm.ts'
import type { Persistence } from '../store/persistence.ts'
import type { LLMClient } from '../types.ts'

export interface EngineOptions {
  /** Which providers are known. `'defaults'`, the only catalog there is: those of the README's list. */
  catalog?: 'defaults'
  /** Keys by provider. Default: each provider's environment variable. */
  apiKeys?: Readonly<Record<string, string | undefined>>
  /** Where servers of this engine keep what must outlive a request. Default: in memory. */
  persistence?: Persistence
  /** Shared by all servers of this engine. Default: a fresh bus. */
  hooks?: HookBus
}

/** What several servers share: keys, hooks, persistence. */
export interface Engine {
  readonly hooks: HookBus
  readonly persistence: Persistence | undefined
  /** As `createLLM`, with the engine's key for the provider. */
  createLLM(options: CreateLLMOptions): LLMClient
}

export function createEngine({ apiKeys = {}, persistence, hooks = new HookBus() }: EngineOptions = {}): Engine {
  return {
    hooks,
    persistence,
    createLLM(options) {
      const apiKey = options.apiKey ?? apiKeys[options.model.slice(0, options.model.indexOf('/'))]
      return createLLM(apiKey ? { ...options, apiKey } : options)
    },
  }
}
