import { randomUUID } from 'node:crypto'
import type { ChatCompletion, ChatCompletionChunk, ChatRequest, ChunkDelta, Usage } from '../types.ts'
import { type ChunkHead, headOf } from './chunk-head.ts'

/** As many answers as OpenAI gives to one request. */
const mostChoices = 128

const indexesOf = ({ n }: ChatRequest): number[] =>
  Array.from({ length: Math.min(Math.max(Number(n ?? 1) || 1, 1), mostChoices) }, (_, index) => index)

const newHead = (request: ChatRequest) => ({
  id: `chatcmpl-${randomUUID()}`,
  created: Math.floor(Date.now() / 1000),
  model: request.model,
})

/** The answer that a stopped turn ends with, in place of what was answered, if anything was. */
export function refusal(
  reason: string,
  request: ChatRequest,
  answer: ChatCompletion | undefined,
  usage: Usage | undefined,
): ChatCompletion {
  const message = { role: 'assistant' as const, content: null, refusal: reason }
  return {
    ...newHead(request),
    object: 'chat.completion',
    ...(answer ?? (usage ? { usage } : {})),
    choices: (answer?.choices.map(({ index }) => index) ?? indexesOf(request)).map((index) => ({
      index,
      message,
      logprobs: null,
      finish_reason: 'content_filter',
    })),
  }
}

/** A stream that may have to be stopped: knows what has gone out of it. */
export class RefusedStream {
  readonly #request: ChatRequest
  readonly #begun = new Set<number>()
  readonly #ended = new Set<number>()
  #head: ChunkHead | undefined

  constructor(request: ChatRequest) {
    this.#request = request
  }

  sent(chunk: ChatCompletionChunk): void {
    for (const { index, finish_reason } of chunk.choices ?? []) {
      this.#head ??= headOf(chunk)
      this.#begun.add(index)
      if (finish_reason) this.#ended.add(index)
    }
  }

  /** How it ends: with the reason as a refusal of every answer that has not ended. */
  *end(reason: string, usage: Usage | undefined): Generator<ChatCompletionChunk> {
    const wantsUsage = this.#request.stream_options?.include_usage === true
    const head = this.#head ?? {
      ...newHead(this.#request),
      object: 'chat.completion.chunk' as const,
      ...(wantsUsage ? { usage: null } : {}),
    }
    for (const index of indexesOf(this.#request).filter((index) => !this.#ended.has(index))) {
      const role: ChunkDelta = this.#begun.has(index) ? {} : { role: 'assistant', content: null }
      yield { ...head, choices: [{ index, delta: { ...role, refusal: reason }, logprobs: null, finish_reason: null }] }
      yield { ...head, choices: [{ index, delta: {}, logprobs: null, finish_reason: 'content_filter' }] }
    }
    if (wantsUsage && usage) yield { ...head, choices: [], usage }
  }
}
