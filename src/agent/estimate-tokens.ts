import { isObject } from '../json.ts'
import type { ChatMessage } from '../types.ts'

/**
 * A token is about four bytes of UTF-8: four letters of English, somewhat more than one Chinese character. A message's own
 * field names stand for the few tokens that every message costs beside its text.
 */
const bytesPerToken = 4

/** What an image of ordinary size, or a short recording or document, costs: its base64 says nothing of that. */
const tokensPerAttachment = 1000

const attachments = new Set<unknown>(['image_url', 'input_audio', 'file'])

/** Roughly how many tokens messages are, for any model: good enough to stay well within a limit, not to bill. */
export function estimateTokens(messages: readonly ChatMessage[]): number {
  return messages.reduce((sum, message) => sum + tokensOf(message), 0)
}

function tokensOf(message: ChatMessage): number {
  let attached = 0
  const text = JSON.stringify(message, (_key, value: unknown) => {
    // A message is none, whatever fields it has.
    if (value === message || !isObject(value) || !attachments.has(value.type)) return value
    attached += 1
    return undefined
  })
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken) + attached * tokensPerAttachment
}
