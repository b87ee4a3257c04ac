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

/** Some 100 000 years. A time beyond is one that a double, a clock or another store may not hold. */
const longestLifetime = 2 ** 52 - 1

/**
 * A lifetime in whole milliseconds, at least one; undefined for a value that is kept for good, also because its lifetime is
 * longer than anything lasts.
 *
 * @throws RangeError unless it is a positive, finite number of seconds.
 */
export function lifetimeOf(ttlSeconds: number | undefined): number | undefined {
  if (ttlSeconds === undefined) return undefined
  if (!Number.isFinite(ttlSeconds) || ttlSeconds <= 0) {
    throw new RangeError(`ttlSeconds must be a positive number, not ${ttlSeconds}`)
  }
  const lifetime = Math.ceil(ttlSeconds * 1000)
  return lifetime > longestLifetime ? undefined : lifetime
}
