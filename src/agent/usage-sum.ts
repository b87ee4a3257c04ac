import { isObject } from '../json.ts'
import type { Usage } from '../types.ts'

/** What several calls have used together, details included. Undefined when none of them told. */
export function sumUsage(usages: readonly (Usage | undefined)[]): Usage | undefined {
  const [first, ...rest] = usages.filter((usage) => usage !== undefined && usage !== null)
  return rest.reduce((sum, usage) => added(sum, usage) as Usage | undefined, first as Usage | undefined)
}

function added(a: unknown, b: unknown): unknown {
  if (typeof a === 'number' && typeof b === 'number') return a + b
  if (!isObject(a) || !isObject(b)) return a ?? b
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return Object.fromEntries(Array.from(names, (name) => [name, added(a[name], b[name])]))
}
