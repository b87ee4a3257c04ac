import { isObject } from '../json.ts'

/**
 * What a model calls a tool with; undefined when it is no JSON object. A model that has nothing to say to a tool without
 * parameters often says nothing at all, or `null`.
 */
export function argumentsIn(text: unknown): Record<string, unknown> | undefined {
  const value = typeof text === 'string' ? (text.trim() ? parsed(text) : null) : (text ?? null)
  if (value === null) return {}
  return isObject(value) ? value : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
