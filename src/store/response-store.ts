import { LRUCache } from 'lru-cache'
import { MemoryPersistence } from './memory-persistence.ts'
import { addTo, getMany, type Persistence, type SetOptions } from './persistence.ts'
import { userKey } from './stored-key.ts'
import { textOf } from './stored-value.ts'

export interface ResponseStoreOptions {
  /** Where responses are kept. Default: in this process's memory only. */
  persistence?: Persistence
  /** Before every key in the persistence. Default `response:`. */
  keyPrefix?: string
  /** How many entries stay in this process's memory; the least recently used go first. Default 10 000. */
  memoryCapacity?: number
  /** How many characters what is remembered of the persistence has as JSON, likewise. Default 33 554 432: 32 Mi. */
  memoryCharacters?: number
  /** How long they are kept. Default 2 592 000: 30 days, as at OpenAI. */
  ttlSeconds?: number
}

/** What was read, and the version that it had. Not to be changed: whoever asks gets the same object. */
interface Remembered {
  version: string
  value: object
}

/**
 * Responses by (user, response id). A user never sees another's; the anonymous user is one of them.
 *
 * Replicas may share the persistence: what is remembered of it is only served after it has confirmed that this is still the
 * version it has. One that cannot tell versions is asked for the value every time.
 */
export class ResponseStore {
  readonly #persistence: Persistence
  readonly #keyPrefix: string
  /** How long an entry is kept, unless it has a time of its own. */
  readonly ttlSeconds: number
  readonly #memory: LRUCache<string, Remembered>

  constructor(options: ResponseStoreOptions = {}) {
    const { persistence, keyPrefix = 'response:', memoryCapacity = 10_000, ttlSeconds = 30 * 86_400 } = options
    const { memoryCharacters = 32 * 1024 * 1024 } = options
    this.#persistence = persistence ?? new MemoryPersistence({ maxEntries: memoryCapacity })
    this.#keyPrefix = keyPrefix
    this.ttlSeconds = ttlSeconds
    this.#memory = new LRUCache({ max: memoryCapacity, maxSize: memoryCharacters })
  }

  async get(userId: string | null, id: string): Promise<object | undefined> {
    const [value] = await this.getMany(userId, [id])
    return value
  }

  /** Of several, in their order, in one go. */
  async getMany(userId: string | null, ids: readonly string[]): Promise<(object | undefined)[]> {
    const keys = ids.map((id) => userKey(this.#keyPrefix, userId, id))
    const store = this.#persistence
    if (!store.versions) return (await getMany(store, keys)).map(objectIn)
    const versions = new Map(zip(keys, await store.versions(keys)))
    const found = new Map<string, object | undefined>()
    for (const [key, version] of versions) {
      const remembered = this.#memory.get(key)
      if (version === undefined) found.set(key, undefined)
      else if (remembered?.version === version) found.set(key, remembered.value)
    }
    const unknown = [...versions.keys()].filter((key) => !found.has(key))
    const values = unknown.length > 0 ? (await getMany(store, unknown)).map(objectIn) : []
    for (const [key, value] of zip(unknown, values)) {
      found.set(key, value)
      const version = versions.get(key)
      // The version was read first: of a value that has changed since, it is one that never comes again.
      if (version !== undefined && value) this.#memory.set(key, { version, value }, { size: textOf(value).length })
    }
    return keys.map((key) => found.get(key))
  }

  /**
   * `ttlSeconds`: default that of the store. `lease`: one of a name that `userKey` makes of the same user and id.
   *
   * @throws LeaseLost when it comes with a lease that is not the last one of its name
   */
  async set(userId: string | null, id: string, value: object, options: SetOptions = {}): Promise<void> {
    const { ttlSeconds = this.ttlSeconds, lease } = options
    await this.#persistence.set(userKey(this.#keyPrefix, userId, id), value, { ttlSeconds, lease })
  }

  /** As {@link set}, where there is none. True when it was this one, and of those at once only one. */
  add(
    userId: string | null,
    id: string,
    value: object,
    { ttlSeconds = this.ttlSeconds }: Pick<SetOptions, 'ttlSeconds'> = {},
  ): Promise<boolean> {
    return addTo(this.#persistence, userKey(this.#keyPrefix, userId, id), value, { ttlSeconds })
  }

  /** True when there was one. */
  async delete(userId: string | null, id: string): Promise<boolean> {
    const key = userKey(this.#keyPrefix, userId, id)
    this.#memory.delete(key)
    return this.#persistence.delete(key)
  }
}

const objectIn = (value: unknown): object | undefined =>
  typeof value === 'object' && value !== null ? value : undefined

const zip = <A, B>(keys: readonly A[], values: readonly B[]): [A, B][] =>
  keys.map((key, index) => [key, values[index] as B])
