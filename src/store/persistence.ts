/** A place for JSON values by key. Implementations are interchangeable. */
export interface Persistence {
  /** The value, or undefined when there is none or its time is over. */
  get(key: string): Promise<unknown>
  /** `ttlSeconds`: how long the value is kept. Default: for good. */
  set(key: string, value: unknown, options?: { ttlSeconds?: number }): Promise<void>
  /** True when there was a value. */
  delete(key: string): Promise<boolean>
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
