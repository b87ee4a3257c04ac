import { createHash } from 'node:crypto'
import { isObject } from '../json.ts'
import type { Config } from './schema.ts'

/** Twelve hex digits that are the same for the same configuration, whatever the order of its keys. */
export const revisionOf = (config: Config): string =>
  createHash('sha256')
    .update(JSON.stringify(sorted(config)))
    .digest('hex')
    .slice(0, 12)

/** The order of models and agents is the order in which they are listed, but no two replicas differ by it. */
const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isObject(value)) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, item]) => [name, sorted(item)]))
}
