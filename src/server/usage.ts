import type { CompletionUsage } from '../hooks/events.ts'
import type { ChatRequest } from '../types.ts'

/** English text has about four characters a token; good enough for an answer whose provider never said. */
const charactersPerToken = 4

/** The part of a request that is estimated by. */
export type Prompt = Pick<ChatRequest, 'messages'>

/**
 * The usage of an answer that broke off before its provider told it. Providers send about one token per chunk, so the
 * chunks that arrived are counted; the prompt is measured by its text.
 */
export function estimateUsage(request: Prompt, chunks: number): CompletionUsage {
  const characters = request.messages.reduce((sum, message) => sum + charactersOf(message), 0)
  const prompt_tokens = Math.ceil(characters / charactersPerToken)
  return { prompt_tokens, completion_tokens: chunks, total_tokens: prompt_tokens + chunks, estimated: true }
}

/** The text of a message: an image or a sound is no text, however long it is as base64. */
function charactersOf(message: ChatRequest['messages'][number]): number {
  const { content } = message
  const calls = 'tool_calls' in message && message.tool_calls ? JSON.stringify(message.tool_calls).length : 0
  if (typeof content === 'string') return content.length + calls
  const parts: readonly object[] = Array.isArray(content) ? content : []
  return parts.reduce((sum, part) => sum + ('text' in part ? String(part.text).length : 0), calls)
}
