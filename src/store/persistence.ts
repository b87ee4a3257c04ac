/** A place for JSON values by key. Implementations are interchangeable. */
export interface Persistence {
  /** The value, or undefined when there is none or its time is over. */
  get(key: string): Promise<unknown>
  /** `ttlSeconds`: how long the value is kept. Default: for good. */
  set(key: string, value: unknown, options?: { ttlSeconds?: number }): Promise<void>
  /** True when there was a value. */
  delete(key: string): Promise<boolean>
}
