import type { ChatCompletion, ChatCompletionChunk } from '../types.ts'

/** A whole chat completion as the one chunk of a stream, for the `ResponseBuilder`. */
export function toChunk({ choices, ...head }: ChatCompletion): ChatCompletionChunk {
  return {
    ...head,
    object: 'chat.completion.chunk',
    choices: choices.map(({ index, message: { tool_calls, ...message }, finish_reason, logprobs }) => ({
      index,
      finish_reason,
      logprobs,
      delta: {
        ...message,
        ...(tool_calls ? { tool_calls: tool_calls.map((call, index) => ({ index, ...call })) } : {}),
      } as ChatCompletionChunk['choices'][number]['delta'],
    })),
  }
}
