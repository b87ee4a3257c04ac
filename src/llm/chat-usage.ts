import { isObject } from '../json.ts'
import type { Usage } from '../types.ts'

/** The usage of a response as chat completions count it; undefined where the provider counted nothing. */
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
