/**
 * An integer beyond 2^53 or an exponent beyond the range of a double, on either side. `JSON.parse` would silently change these
 * (a 64-bit `seed`, `1e400` becoming `null`), and the gateway must pass on what it was given. The first pattern is a
 * cheap sieve for the second: every request and every chunk goes through it. (Sixteen digits written out cost a quarter of
 * `\d{16}`, which the engine does not skip ahead for.)
 */
const suspect = new RegExp(`${'\\d'.repeat(16)}|\\d[eE][+-]?\\d{3}`)
const fragileNumber = /[:,[\s]-?(?:\d{16,}|\d+(?:\.\d+)?[eE][+-]?\d{3,})/

interface RawJSON {
  rawJSON: (text: string) => unknown
  isRawJSON: (value: unknown) => boolean
}
const { rawJSON, isRawJSON = () => false } = JSON as typeof JSON & Partial<RawJSON>

const keepNumber = (_key: string, value: unknown, context?: { source?: string }): unknown => {
  if (typeof value !== 'number' || !context?.source) return value
  const vanished = value === 0 && /[1-9]/.test(context.source.split(/e/i, 1)[0] ?? '')
  if (Number.isSafeInteger(value) && !vanished) return value
  if (Number.isFinite(value) && !Number.isInteger(value)) return value
  return rawJSON ? rawJSON(context.source) : value
}

/** `JSON.parse` that loses no number: what a double cannot hold is kept as its source text (`JSON.rawJSON`). */
export function parseJSON(text: string): unknown {
  if (!suspect.test(text) || !fragileNumber.test(text)) return JSON.parse(text)
  return JSON.parse(text, keepNumber)
}

/** True when arrays and objects are nested at most `limit` deep, so that no recursive walk over the value can overflow. */
export function isWithinDepth(value: unknown, limit: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (limit === 0) return isRawJSON(value)
  for (const child of Array.isArray(value) ? value : Object.values(value)) {
    if (typeof child === 'object' && child !== null && !isWithinDepth(child, limit - 1)) return false
  }
  return true
}

/** Narrows to a plain JSON object. A number that is kept as text is none. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value)

/** A copy of a JSON value. (`structuredClone` refuses a number that is kept as text.) */
export function copyJSON<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || isRawJSON(value)) return value
  if (Array.isArray(value)) return value.map((child: unknown) => copyJSON(child)) as Value
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, copyJSON(child)])) as Value
}
