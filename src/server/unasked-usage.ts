import { sourceOf, withSource } from '../source.ts'
import type { ChatCompletionChunk } from '../types.ts'

/** The gateway asked for usage on its own account: what a client that did not ask would not have seen is taken out. */
export function withoutUnaskedUsage(chunk: ChatCompletionChunk): object | undefined {
  if (chunk.usage === undefined) return chunk
  if (chunk.usage === null) {
    const text = textWithoutUsage(sourceOf(chunk))
    if (text !== undefined) return withSource({}, text)
    const { usage: _usage, ...rest } = chunk
    return rest
  }
  if (chunk.choices?.length !== 0) return chunk
  const { usage: _usage, ...rest } = chunk
  return Object.keys(rest).every((field) => usageChunkFields.has(field)) ? undefined : rest
}

/**
 * Nearly every chunk goes this way, and is spared to be written anew. Where the name stands only once, it stands at the top;
 * within a text of JSON its quotes would be escaped.
 */
function textWithoutUsage(text: string | undefined): string | undefined {
  const at = text?.indexOf(unusedUsage) ?? -1
  if (text === undefined || at === -1) return undefined
  const isOnly = text.indexOf('"usage"') === at + 1 && text.indexOf('"usage"', at + unusedUsage.length) === -1
  return isOnly ? text.slice(0, at) + text.slice(at + unusedUsage.length) : undefined
}

const unusedUsage = ',"usage":null'

/** Of a chunk that is there for its usage only; with anything else in it, it says more than that. */
const usageChunkFields = new Set(['id', 'object', 'created', 'model', 'service_tier', 'system_fingerprint', 'choices'])
