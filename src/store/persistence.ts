import type { Lease } from './lease.ts'

export interface SetOptions {
  /** How long the value is kept. Default: for good. */
  ttlSeconds?: number
  /**
   * Writes only while this is the last lease of its name, so that a holder that was paused past its time does no harm. It must
   * be of the same store; where keys live on several servers, its name and the key need the same part in braces, which
   * `userKey` sees to.
   */
  lease?: Lease | undefined
}

/** A place for JSON values by key. Implementations are interchangeable. */
export interface Persistence {
  /** The value, or undefined when there is none or its time is over. */
  get(key: string): Promise<unknown>
  /** @throws LeaseLost when it comes with a lease that is not the last one of its name */
  set(key: string, value: unknown, options?: SetOptions): Promise<void>
  /** True when there was a value. */
  delete(key: string): Promise<boolean>
  /**
   * As {@link set} where the key has no value; of those who add at once, one does. True when it was this one. Default: not in one
   * step, {@link get} and then {@link set}.
   */
  add?(key: string, value: unknown, options?: Pick<SetOptions, 'ttlSeconds'>): Promise<boolean>
  /** The values of several keys, in their order, in one go. Default: {@link get} for each. */
  getMany?(keys: readonly string[]): Promise<unknown[]>
  /**
   * For each key a text that is another after every `set`, and never again one that it was before; undefined when there is no
   * value. For stores where that costs much less than the value: who remembers a value asks here whether it still holds. Without
   * it, nothing of the store is remembered.
   */
  versions?(keys: readonly string[]): Promise<(string | undefined)[]>
}

/** The values of several keys, by whichever way the store has. */
export const getMany = (store: Persistence, keys: readonly string[]): Promise<unknown[]> =>
  store.getMany ? store.getMany(keys) : Promise.all(keys.map((key) => store.get(key)))

/** {@link Persistence.add}, by whichever way the store has. */
export async function addTo(
  store: Persistence,
  key: string,
  value: unknown,
  options: Pick<SetOptions, 'ttlSeconds'>,
): Promise<boolean> {
  if (store.add) return store.add(key, value, options)
  if ((await store.get(key)) !== undefined) return false
  await store.set(key, value, options)
  return true
}
