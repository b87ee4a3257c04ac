import { LRUCache } from 'lru-cache'
import { parseJSON } from '../json.ts'
import type { Persistence } from './persistence.ts'
import { lifetimeOf, textOf } from './stored-value.ts'

export interface MemoryPersistenceOptions {
  /** How many values are kept; the least recently used go first. Default 10 000. */
  maxEntries?: number
}

/** Values in this process's memory: gone with it, and unknown to every other replica. */
export class MemoryPersistence implements Persistence {
  readonly #texts: LRUCache<string, string>

  constructor({ maxEntries = 10_000 }: MemoryPersistenceOptions = {}) {
    if (!Number.isSafeInteger(maxEntries) || maxEntries < 1) {
      throw new RangeError(`maxEntries must be a positive integer, not ${maxEntries}`)
    }
    this.#texts = new LRUCache({ max: maxEntries })
  }

  async get(key: string): Promise<unknown> {
    const text = this.#texts.get(key)
    return text === undefined ? undefined : parseJSON(text)
  }

  async set(key: string, value: unknown, { ttlSeconds }: { ttlSeconds?: number } = {}): Promise<void> {
    const ttl = lifetimeOf(ttlSeconds)
    this.#texts.set(key, textOf(value), ttl === undefined ? {} : { ttl })
  }

  async delete(key: string): Promise<boolean> {
    // A value whose time is over still lies in the cache, and does not count.
    const alive = this.#texts.has(key)
    this.#texts.delete(key)
    return alive
  }
}
