import { milliseconds } from '../config/duration.ts'
import type { Config } from '../config/schema.ts'
import type { Persistence } from '../store/persistence.ts'
import type { LLMClient } from '../types.ts'
import { cached } from './cached.ts'

type Model = NonNullable<Config['models']>[string]

/** The client of a model, with its cache if it has one. */
export function withCache(
  client: LLMClient,
  id: string,
  { targets, cache }: Model,
  providers: Config['providers'],
  store: Persistence,
): LLMClient {
  if (!cache) return client
  const { ttl, scope, maxBytes } = cache
  // What a provider's name stands for may change as well; how often a target is asked makes no other answers.
  const places = targets
    .filter(({ weight }) => weight !== 0)
    .map(({ model }) => {
      const { kind, baseURL, headers } = providers[model.slice(0, model.indexOf('/'))] ?? {}
      return [model, kind, baseURL, headers]
    })
  return cached(client, {
    store,
    ttlSeconds: milliseconds(ttl) / 1000,
    scope,
    maxBytes,
    plan: JSON.stringify([id, places]),
  })
}
