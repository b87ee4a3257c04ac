import { LRUCache } from 'lru-cache'
import type { Persistence } from './persistence.ts'
import { userKey } from './stored-key.ts'

export interface ResponseStoreOptions {
  /** Where responses are kept. Default: in this process's memory only. */
  persistence?: Persistence
  /** Before every key in the persistence. Default `response:`. */
  keyPrefix?: string
  /** How many responses stay in this process's memory; the least recently used go first. Default 10 000. */
  memoryCapacity?: number
}

/** Completed responses by (user, response id). A user never sees another's; the anonymous user is one of them. */
export class ResponseStore {
  readonly #persistence: Persistence | undefined
  readonly #keyPrefix: string
  readonly #memory: LRUCache<string, object>

  constructor({ persistence, keyPrefix = 'response:', memoryCapacity = 10_000 }: ResponseStoreOptions = {}) {
    this.#persistence = persistence
    this.#keyPrefix = keyPrefix
    this.#memory = new LRUCache({ max: memoryCapacity })
  }

  async get(userId: string | null, responseId: string): Promise<object | undefined> {
    const key = userKey(this.#keyPrefix, userId, responseId)
    const remembered = this.#memory.get(key)
    if (remembered) return remembered
    const stored = await this.#persistence?.get(key)
    if (typeof stored !== 'object' || stored === null) return undefined
    this.#memory.set(key, stored)
    return stored
  }

  async set(userId: string | null, responseId: string, response: object): Promise<void> {
    const key = userKey(this.#keyPrefix, userId, responseId)
    await this.#persistence?.set(key, response)
    this.#memory.set(key, response)
  }

  /** True when there was one. */
  async delete(userId: string | null, responseId: string): Promise<boolean> {
    const key = userKey(this.#keyPrefix, userId, responseId)
    const remembered = this.#memory.delete(key)
    const stored = (await this.#persistence?.delete(key)) ?? false
    return remembered || stored
  }
}
