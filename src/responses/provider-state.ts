import { isObject } from '../json.ts'

/**
 * What a provider wants to see again beside its thoughts and calls (a signature) travels as the `encrypted_content` of an item,
 * which every client of the Responses API sends back unread. It is a text on all items: OpenAI's agents SDK writes the names in
 * objects that it does not know anew.
 */
const mark = 'signalbox.'

/** `extra_content` of chat completions as `encrypted_content`. */
export const sealed = (extra: object): string => mark + Buffer.from(JSON.stringify(extra)).toString('base64url')

/** The way back; undefined for what another server sealed. */
export function unsealed(encrypted: string | null | undefined): object | undefined {
  if (!encrypted?.startsWith(mark)) return undefined
  try {
    const extra: unknown = JSON.parse(Buffer.from(encrypted.slice(mark.length), 'base64url').toString())
    return isObject(extra) ? extra : undefined
  } catch {
    return undefined
  }
}

/** `extra_content` comes in pieces: objects are merged, and null takes back what came before. */
export function mergedState(before: object | null | undefined, more: unknown): object | null | undefined {
  if (more === null) return null
  if (!isObject(more)) return before
  const merged: Record<string, unknown> = { ...before }
  for (const [name, value] of Object.entries(more)) {
    const old = merged[name]
    merged[name] = isObject(old) && isObject(value) ? mergedState(old, value) : value
  }
  return merged
}
