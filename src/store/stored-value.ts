/**
 * A value as the text that is kept, so that every store copies alike and no later change of the caller's object reaches it.
 *
 * @throws TypeError for what JSON has no text for: undefined, a function, a symbol, a bigint, a cycle.
 */
export function textOf(value: unknown): string {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`a value of type ${typeof value} is no JSON value and cannot be stored`)
  return text
}

/**
 * A lifetime in whole milliseconds, at least one; undefined for a value that is kept for good.
 *
 * @throws RangeError unless it is a positive, finite number of seconds.
 */
export function lifetimeOf(ttlSeconds: number | undefined): number | undefined {
  if (ttlSeconds === undefined) return undefined
  if (!Number.isFinite(ttlSeconds) || ttlSeconds <= 0) {
    throw new RangeError(`ttlSeconds must be a positive number, not ${ttlSeconds}`)
  }
  return Math.ceil(ttlSeconds * 1000)
}
