import { isObject, parseJSON } from '../json.ts'

/** Far deeper than the gateway takes a request, and far from where a recursive walk overflows. */
const deepest = 1000

/** Not JSON as it stands: what `JSON.stringify` leaves out, calls or changes. */
class NotPlain extends Error {}

/**
 * The object as JSON would give it back, frozen throughout. Strings are shared and not copied, however long they are.
 *
 * @throws TypeError when it contains itself or is nested too deeply, and for what JSON refuses.
 */
export function frozenCopy(value: object): unknown {
  try {
    return frozen(value, 0)
  } catch (error) {
    if (!(error instanceof NotPlain)) throw error
    const text: string | undefined = JSON.stringify(value)
    // Not `structuredClone`, which would take a number that is kept as text for an object.
    return text === undefined ? undefined : frozenInPlace(parseJSON(text))
  }
}

function frozen(value: unknown, depth: number): unknown {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
  // Minus zero is zero in JSON.
  if (typeof value === 'number' && Number.isFinite(value)) return value + 0
  if (typeof value !== 'object') throw new NotPlain()
  if (depth > deepest) throw new TypeError('it contains itself, or is nested too deeply')
  if (Array.isArray(value)) return Object.freeze(Array.from(value, (child: unknown) => frozen(child, depth + 1)))
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new NotPlain()
  // Spread and then replaced: a name like __proto__ stays a name, and the engine clones an object of a known form at once.
  const copy: Record<string, unknown> = { ...value }
  for (const name of Object.keys(copy)) {
    const child = copy[name]
    if (typeof child !== 'string') copy[name] = frozen(child, depth + 1)
  }
  return Object.freeze(copy)
}

/** Of what was just parsed, which nobody else holds. */
function frozenInPlace(value: unknown): unknown {
  if (!Array.isArray(value) && !isObject(value)) return value
  for (const child of Object.values(value)) frozenInPlace(child)
  return Object.freeze(value)
}
