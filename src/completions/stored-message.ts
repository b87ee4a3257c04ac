import { isObject } from '../json.ts'
import type { ChatMessage } from '../types.ts'

/** A message of a request as the list of a stored completion shows it. What is not told here is as it was sent. */
export interface StoredMessage {
  id: string
  role: ChatMessage['role']
  /** The text; of a message in parts that of all of them. Null when there is none. */
  content: string | null
  refusal: string | null
  /** The parts, if it was sent in parts. */
  content_parts: object[] | null
}

/** `place`: among the messages of the completion, from 0. */
export function toStoredMessage(message: ChatMessage, completionId: string, place: number): StoredMessage {
  const refusal = 'refusal' in message ? (message.refusal ?? null) : null
  const id = `${completionId}-${place}`
  if (!Array.isArray(message.content)) {
    return { ...message, id, content: message.content ?? null, refusal, content_parts: null }
  }
  const texts = message.content.flatMap((part) => ('text' in part && typeof part.text === 'string' ? [part.text] : []))
  const content = texts.length > 0 ? texts.join('') : null
  return { ...message, id, content, refusal, content_parts: message.content.filter(isObject) }
}
