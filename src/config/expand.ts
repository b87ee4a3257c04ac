import type { Environment } from '../env.ts'
import { isObject } from '../json.ts'

/** `${NAME}`, `${NAME:-fallback}`; `$${` is a literal `${`. */
const reference = /\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g

export interface Expansion {
  value: unknown
  /** One line for every variable that is not set. */
  problems: string[]
  /** JSON pointers of the values that came from the environment: text, even where a number is meant. */
  expanded: string[]
}

/** Replaces `${ENV}` in every string value of a parsed document. */
export function expandEnvironment(document: unknown, env: Environment): Expansion {
  const problems: string[] = []
  const expanded: string[] = []

  const expandText = (text: string, path: string[]): string => {
    let touched = false
    const result = text.replace(reference, (whole, escaped: string | undefined, name: string, fallback?: string) => {
      if (escaped) return escaped
      touched = true
      const value = env[name] || fallback
      if (value !== undefined) return value
      problems.push(`${path.join('.')}: the environment variable ${name} is not set`)
      return whole
    })
    if (touched) expanded.push(`/${path.join('/')}`)
    return result
  }

  const expand = (value: unknown, path: string[]): unknown => {
    if (typeof value === 'string') return expandText(value, path)
    if (Array.isArray(value)) return value.map((item, index) => expand(item, [...path, String(index)]))
    if (!isObject(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expand(item, [...path, key])]))
  }

  return { value: expand(document, []), problems, expanded }
}
