import type { ResponseUsage } from 'openai/resources/responses/responses'
import type { Usage } from '../types.ts'

export { toChatUsage } from '../llm/chat-usage.ts'

/** The usage of a chat completion, as the Responses API counts it. */
export function toResponseUsage({ prompt_tokens, completion_tokens, total_tokens, ...details }: Usage): ResponseUsage {
  const { prompt_tokens_details: input, completion_tokens_details: output } = details
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: {
      cached_tokens: input?.cached_tokens ?? 0,
      cache_write_tokens: input?.cache_write_tokens ?? 0,
    },
    output_tokens: completion_tokens,
    output_tokens_details: { reasoning_tokens: output?.reasoning_tokens ?? 0 },
    total_tokens: total_tokens ?? prompt_tokens + completion_tokens,
  }
}
