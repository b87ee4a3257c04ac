import { MessageCollector, merge } from '../agent/message-collector.ts'
import type { ChatCompletion, ChatCompletionChunk, Usage } from '../types.ts'

type Choice = ChatCompletion['choices'][number]

/** Of a chunk only: noise that hides its length. */
interface Padded {
  obfuscation?: unknown
}

/** Puts a completion together from the chunks of its stream: what the provider would have answered as a whole. */
export class CompletionCollector {
  #head: Partial<ChatCompletion> = {}
  readonly #choices = new Map<number, ChoiceCollector>()
  #usage: Usage | undefined

  add({ choices, usage, ...rest }: ChatCompletionChunk): void {
    const { object: _object, obfuscation: _padding, ...head } = rest as typeof rest & Padded
    this.#head = { ...this.#head, ...head }
    if (usage) this.#usage = usage
    for (const choice of choices ?? []) {
      const collector = this.#choices.get(choice.index) ?? new ChoiceCollector()
      this.#choices.set(choice.index, collector)
      collector.add(choice)
    }
  }

  get completion(): ChatCompletion {
    const { id = '', created = 0, model = '', ...rest } = this.#head
    const choices = [...this.#choices].sort(([a], [b]) => a - b).map(([index, collector]) => collector.choice(index))
    const usage = this.#usage ? { usage: this.#usage } : {}
    return { id, object: 'chat.completion', created, model, choices, ...usage, ...rest }
  }
}

class ChoiceCollector {
  readonly #message = new MessageCollector()
  readonly #fields: Record<string, unknown> = {}
  #finishReason: Choice['finish_reason'] = 'stop'

  add({ index: _index, delta, finish_reason, ...rest }: ChatCompletionChunk['choices'][number]): void {
    this.#message.add(delta ?? {})
    merge(this.#fields, rest)
    if (finish_reason) this.#finishReason = finish_reason
  }

  choice(index: number): Choice {
    return {
      index,
      message: this.#message.answer,
      logprobs: null,
      ...this.#fields,
      finish_reason: this.#finishReason,
    }
  }
}
