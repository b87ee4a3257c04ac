import type { CompletionUsage } from '../hooks/events.ts'
import type { ChatRequest } from '../types.ts'

/** English text has about four characters a token; good enough for an answer whose provider never said. */
const charactersPerToken = 4

/**
 * The usage of an answer that broke off before its provider told it. Providers send about one token per chunk, so the
 * chunks that arrived are counted; the prompt is measured by its text.
 */
export function estimateUsage(request: ChatRequest, chunks: number): CompletionUsage {
  const prompt_tokens = Math.ceil(JSON.stringify(request.messages).length / charactersPerToken)
  return { prompt_tokens, completion_tokens: chunks, total_tokens: prompt_tokens + chunks, estimated: true }
}
