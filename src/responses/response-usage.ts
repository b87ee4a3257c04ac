import type { ResponseUsage } from 'openai/resources/responses/responses'
import { isObject } from '../json.ts'
import type { Usage } from '../types.ts'

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

/** The way back, for those who count: undefined where the provider counted nothing. */
export function toChatUsage(usage: unknown): Usage | undefined {
  if (!isObject(usage) || typeof usage.input_tokens !== 'number' || typeof usage.output_tokens !== 'number') {
    return undefined
  }
  const { input_tokens: prompt_tokens, output_tokens: completion_tokens, total_tokens } = usage
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: typeof total_tokens === 'number' ? total_tokens : prompt_tokens + completion_tokens,
    ...(isObject(usage.input_tokens_details) ? { prompt_tokens_details: usage.input_tokens_details } : {}),
    ...(isObject(usage.output_tokens_details) ? { completion_tokens_details: usage.output_tokens_details } : {}),
  }
}
