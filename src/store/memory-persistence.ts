import { LRUCache } from 'lru-cache'
import { parseJSON } from '../json.ts'
import { assertHeld } from './lease.ts'
import type { Persistence, SetOptions } from './persistence.ts'
import { lifetimeOf, textOf } from './stored-value.ts'

export interface MemoryPersistenceOptions {
  /** How many values are kept; the least recently used go first. Default 10 000. */
  maxEntries?: number
  /** How many bytes they and their keys take as JSON, likewise. A value that alone is more is refused. Default 256 MiB. */
  maxBytes?: number
}

/** Values in this process's memory: gone with it, and unknown to every other replica. */
export class MemoryPersistence implements Persistence {
  readonly #texts: LRUCache<string, { text: string; version: string }>
  readonly #maxBytes: number
  #sets = 0

  constructor({ maxEntries = 10_000, maxBytes = 256 * 1024 * 1024 }: MemoryPersistenceOptions = {}) {
    for (const [name, bound] of Object.entries({ maxEntries, maxBytes })) {
      if (!Number.isSafeInteger(bound) || bound < 1)
        throw new RangeError(`${name} must be a positive integer, not ${bound}`)
    }
    this.#texts = new LRUCache({ max: maxEntries, maxSize: maxBytes })
    this.#maxBytes = maxBytes
  }

  async get(key: string): Promise<unknown> {
    const entry = this.#texts.get(key)
    return entry && parseJSON(entry.text)
  }

  async versions(keys: readonly string[]): Promise<(string | undefined)[]> {
    return keys.map((key) => this.#texts.get(key)?.version)
  }

  async set(key: string, value: unknown, { ttlSeconds, lease }: SetOptions = {}): Promise<void> {
    assertHeld(lease)
    const ttl = lifetimeOf(ttlSeconds)
    const text = textOf(value)
    const size = Buffer.byteLength(key) + Buffer.byteLength(text)
    if (size > this.#maxBytes) {
      throw new RangeError(`a value of ${size} bytes is more than this store holds, which is ${this.#maxBytes}`)
    }
    const version = String(++this.#sets)
    this.#texts.set(key, { text, version }, ttl === undefined ? { size } : { size, ttl })
  }

  async add(key: string, value: unknown, options: Pick<SetOptions, 'ttlSeconds'> = {}): Promise<boolean> {
    if (this.#texts.has(key)) return false
    await this.set(key, value, options)
    return true
  }

  async delete(key: string): Promise<boolean> {
    // A value whose time is over still lies in the cache, and does not count.
    const alive = this.#texts.has(key)
    this.#texts.delete(key)
    return alive
  }
}
