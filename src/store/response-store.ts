import { LRUCache } from 'lru-cache'
import type { Persistence } from './persistence.ts'

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
    const key = this.#key(userId, responseId)
    const remembered = this.#memory.get(key)
    if (remembered) return remembered
    const stored = await this.#persistence?.get(key)
    if (typeof stored !== 'object' || stored === null) return undefined
    this.#memory.set(key, stored)
    return stored
  }

  async set(userId: string | null, responseId: string, response: object): Promise<void> {
    const key = this.#key(userId, responseId)
    await this.#persistence?.set(key, response)
    this.#memory.set(key, response)
  }

  /** True when there was one. */
  async delete(userId: string | null, responseId: string): Promise<boolean> {
    const key = this.#key(userId, responseId)
    const remembered = this.#memory.delete(key)
    const stored = (await this.#persistence?.delete(key)) ?? false
    return remembered || stored
  }

  /** Both parts are encoded, so that `a:b` + `c` and `a` + `b:c` never meet; no user is not the user "". */
  #key(userId: string | null, responseId: string): string {
    const user = userId === null ? 'anon' : `user:${encodeURIComponent(userId)}`
    return `${this.#keyPrefix}${user}:${encodeURIComponent(responseId)}`
  }
}
