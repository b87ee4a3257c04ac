import type { Persistence } from './persistence.ts'
import type { IndexPageOptions, Place, SortedIndex } from './sorted-index.ts'
import { lifetimeOf } from './stored-value.ts'
import { Turns } from './turns.ts'

export interface PersistedIndexOptions {
  /** How many members a key has; the oldest go first. Default 10 000: each addition writes all of them. */
  maxMembers?: number
}

/** A place as it is kept. */
type Entry = [at: number, member: string]

/**
 * An index as one value a key, in a persistence that only this process writes to, through this one object: additions wait for each
 * other here.
 */
export class PersistedIndex implements SortedIndex {
  readonly #persistence: Persistence
  readonly #maxMembers: number
  readonly #turns = new Turns(16)

  constructor(persistence: Persistence, { maxMembers = 10_000 }: PersistedIndexOptions = {}) {
    this.#persistence = persistence
    this.#maxMembers = maxMembers
  }

  async add(key: string, { at, member }: Place, options: { ttlSeconds?: number } = {}): Promise<void> {
    const lifetime = lifetimeOf(options.ttlSeconds)
    await this.#turns.take(key, async () => {
      const oldest = lifetime === undefined ? Number.NEGATIVE_INFINITY : Date.now() - lifetime
      const others = (await this.#read(key)).filter((entry) => entry[0] > oldest && entry[1] !== member)
      const entries = [...others, [at, member] satisfies Entry].sort(compare)
      await this.#persistence.set(key, entries.slice(-this.#maxMembers), options)
    })
  }

  remove(key: string, member: string): Promise<boolean> {
    return this.#turns.take(key, async () => {
      const entries = await this.#read(key)
      const left = entries.filter((entry) => entry[1] !== member)
      if (left.length === entries.length) return false
      // Without a time: the next addition gives it one.
      if (left.length > 0) await this.#persistence.set(key, left)
      else await this.#persistence.delete(key)
      return true
    })
  }

  async page(key: string, { after, order, limit }: IndexPageOptions): Promise<Place[]> {
    const entries = await this.#read(key)
    const sign = order === 'asc' ? 1 : -1
    if (order === 'desc') entries.reverse()
    const from = after ? entries.findIndex((entry) => sign * compare(entry, [after.at, after.member]) > 0) : 0
    return from < 0 ? [] : entries.slice(from, from + limit).map(([at, member]) => ({ at, member }))
  }

  async #read(key: string): Promise<Entry[]> {
    const value = await this.#persistence.get(key)
    return Array.isArray(value) ? value.filter(isEntry) : []
  }
}

const isEntry = (value: unknown): value is Entry =>
  Array.isArray(value) && typeof value[0] === 'number' && typeof value[1] === 'string'

const compare = ([at, member]: Entry, [otherAt, other]: Entry): number =>
  at - otherAt || (member < other ? -1 : member > other ? 1 : 0)
