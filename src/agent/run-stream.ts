import type { ChatCompletion, ChatCompletionChunk, ChunkDelta, Usage } from '../types.ts'

type Head = Omit<ChatCompletionChunk, 'choices'>
type CallDelta = NonNullable<ChunkDelta['tool_calls']>[number] & { custom?: { name?: string } }
type FinishReason = ChatCompletion['choices'][number]['finish_reason']

export interface RunStreamOptions {
  /** Whether a tool of this name is the caller's. */
  isCallers: (tool: string) => boolean
  /** A step's text waits for the step's end, and goes out only if it is the last. */
  holdsText: boolean
}

/**
 * The streams of all steps of a run as the one stream that the caller sees: one id, one role, one finish reason, and of the
 * tool calls only the caller's own.
 */
export class RunStream {
  readonly #options: RunStreamOptions
  #head: Head | undefined
  #hasRole = false
  /** Text has gone out in this step, or in one before it. */
  #hasText = { now: false, before: false }
  /** The index that a call has for the caller, by the one that the model gave it in this step; undefined for a hidden one. */
  #indexes = new Map<number, number | undefined>()
  #unnamed = new Map<number, CallDelta>()
  #visibleCalls = 0
  #held: ChatCompletionChunk[] = []

  constructor(options: RunStreamOptions) {
    this.#options = options
  }

  /** What the caller sees of a chunk, if anything. */
  visible(chunk: ChatCompletionChunk): ChatCompletionChunk | undefined {
    const { choices, ...head } = chunk
    this.#head ??= 'usage' in head ? { ...head, usage: null } : head
    const [choice] = choices ?? []
    if (!choice) return chunk.usage ? undefined : chunk
    const delta = this.#visibleDelta(choice.delta ?? {})
    if (!delta) return undefined
    const { id, created, model } = this.#head
    const usage = 'usage' in chunk ? { usage: null } : {}
    const visible = { ...chunk, id, created, model, ...usage, choices: [{ ...choice, delta, finish_reason: null }] }
    if (!this.#options.holdsText || !delta.content) return visible
    this.#held.push(visible)
    return undefined
  }

  /** The step is over. Returns what was held back, if it is to go out. */
  endStep(isLast: boolean): ChatCompletionChunk[] {
    const held = isLast ? this.#held : []
    this.#held = []
    this.#indexes = new Map()
    this.#unnamed = new Map()
    this.#hasText = { now: false, before: this.#hasText.before || (this.#hasText.now && !this.#options.holdsText) }
    return held
  }

  finish(finish_reason: FinishReason): ChatCompletionChunk {
    const delta: ChunkDelta = this.#hasRole ? {} : { role: 'assistant', content: '' }
    return { ...this.#envelope(), choices: [{ index: 0, delta, logprobs: null, finish_reason }] }
  }

  usage(usage: Usage): ChatCompletionChunk {
    return { ...this.#envelope(), choices: [], usage }
  }

  #envelope(): Head {
    if (this.#head) return this.#head
    throw new TypeError('a run streams at least one chunk before it ends')
  }

  #visibleDelta({ role, content, tool_calls, ...rest }: ChunkDelta): ChunkDelta | undefined {
    const calls = (tool_calls ?? []).flatMap((call) => this.#visibleCall(call))
    const says = Object.values(rest).some((value) => value !== null && value !== undefined)
    const isFirst = role !== undefined && !this.#hasRole
    if (isFirst) this.#hasRole = true
    if (!isFirst && !content && calls.length === 0 && !says) return undefined
    return {
      ...rest,
      ...(isFirst ? { role } : {}),
      ...(content === undefined ? {} : { content: content ? this.#paragraph(content) : content }),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    }
  }

  /** What is said in a new step begins a new paragraph. */
  #paragraph(text: string): string {
    const begins = this.#hasText.before && !this.#hasText.now
    this.#hasText.now = true
    return begins ? `\n\n${text}` : text
  }

  /** Whose call it is, its name tells, which nearly always comes first. */
  #visibleCall(delta: CallDelta): CallDelta[] {
    const { index } = delta
    let call = delta
    if (!this.#indexes.has(index)) {
      const before = this.#unnamed.get(index)
      if (before) call = { ...before, ...delta, function: { ...before.function, ...delta.function } }
      const name = call.function?.name ?? call.custom?.name
      if (!name) {
        this.#unnamed.set(index, call)
        return []
      }
      this.#indexes.set(index, this.#options.isCallers(name) ? this.#visibleCalls++ : undefined)
    }
    const visibleIndex = this.#indexes.get(index)
    return visibleIndex === undefined ? [] : [{ ...call, index: visibleIndex }]
  }
}
