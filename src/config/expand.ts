import type { Environment } from '../env.ts'
import { isObject } from '../json.ts'

/** `${NAME}`, `${NAME:-fallback}`; `$${` is a literal `${`. */
const reference = /\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g

export type Path = readonly string[]

export interface Expansion {
  value: unknown
  /** Where a variable is not set, and its name. */
  missing: { path: Path; name: string }[]
}

/** Turns text that came from the environment into what is wanted in its place: a number, a boolean. */
export type Convert = (text: string, path: Path) => unknown

/** Replaces `${ENV}` in every string value of a parsed document. What lacks its variable stays as it is. */
export function expandEnvironment(document: unknown, env: Environment, convert: Convert = (text) => text): Expansion {
  const missing: Expansion['missing'] = []

  const expandText = (text: string, path: Path): unknown => {
    let replaced = false
    let whole = true
    const result = text.replace(reference, (match, escaped: string | undefined, name: string, fallback?: string) => {
      if (escaped) return escaped
      const value = env[name] || fallback
      if (value === undefined) {
        missing.push({ path, name })
        whole = false
        return match
      }
      replaced = true
      return value
    })
    return replaced && whole ? convert(result, path) : result
  }

  const expand = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return expandText(value, path)
    if (Array.isArray(value)) return value.map((item, index) => expand(item, [...path, String(index)]))
    if (!isObject(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expand(item, [...path, key])]))
  }

  return { value: expand(document, []), missing }
}
