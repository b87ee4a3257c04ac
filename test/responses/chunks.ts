import type { ChatCompletionChunk, Usage } from '../../src/types.ts'

const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'upstream-model' } as const

/** A chunk with one choice; the delta may hold what OpenAI's types do not know. */
export const chunk = (delta: object, rest: object = {}): ChatCompletionChunk => ({
  ...head,
  choices: [{ index: 0, delta, finish_reason: null, ...rest }],
})

export const end = (finish_reason: string): ChatCompletionChunk => chunk({}, { finish_reason })

export const usage = (counted: Usage): ChatCompletionChunk => ({ ...head, choices: [], usage: counted })

export const call = (index: number, fields: object): ChatCompletionChunk =>
  chunk({ tool_calls: [{ index, ...fields }] })
