import { closest, distance } from 'fastest-levenshtein'
import { isObject } from '../json.ts'

export interface Violation {
  keyword: string
  schemaPath: string
  instancePath: string
  message: string
}

/** A schema violation in a person's words: `server.prot: unknown key; did you mean "port"?` */
export function explain(violation: Violation, schema: unknown): string | undefined {
  const parts = parsePointer(violation.instancePath)
  const path = parts.join('.') || '(top level)'
  switch (violation.keyword) {
    case 'boolean':
      return `${path}: unknown key${suggestion(parts, schema)}`
    case 'additionalProperties':
      return undefined // told by the 'boolean' violation of each unknown key
    case 'anyOf':
      return `${path}: must be one of ${choices(at(parts, schema)).join(', ')}`
    case 'const':
      return undefined // told by the anyOf around it
    case 'pattern':
      return `${path}: ${violation.message}${example(at(parts, schema))}`
    default:
      return `${path}: ${violation.message}`
  }
}

/** The parts of a JSON pointer (RFC 6901). */
export const parsePointer = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))

function suggestion(parts: string[], schema: unknown): string {
  const key = parts.at(-1) ?? ''
  const parent = at(parts.slice(0, -1), schema)
  const known = isObject(parent) && isObject(parent.properties) ? Object.keys(parent.properties) : []
  if (known.length === 0) return ''
  const nearest = closest(key, known)
  if (distance(key, nearest) <= Math.max(2, key.length / 2)) return `; did you mean "${nearest}"?`
  return `; known keys: ${known.join(', ')}`
}

/** The part of the schema that describes the value at a path. */
export function at(parts: readonly string[], schema: unknown): unknown {
  let node = schema
  for (const part of parts) {
    if (!isObject(node)) return undefined
    if (isObject(node.properties) && Object.hasOwn(node.properties, part)) node = node.properties[part]
    else if (isObject(node.patternProperties)) node = Object.values(node.patternProperties)[0]
    else node = node.items
  }
  return node
}

const choices = (schema: unknown): string[] =>
  isObject(schema) && Array.isArray(schema.anyOf)
    ? schema.anyOf.map((branch) => String(isObject(branch) ? (branch.const ?? branch.type) : branch))
    : []

const example = (schema: unknown): string =>
  isObject(schema) && typeof schema.default === 'string' ? `, for example ${schema.default}` : ''
