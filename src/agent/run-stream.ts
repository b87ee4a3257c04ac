import type { ChatCompletionChunk, ChunkChoice, ChunkDelta, FinishReason, Usage } from '../types.ts'
import { type CallDelta, CallOrder } from './call-order.ts'
import { type ChunkHead, headOf } from './chunk-head.ts'
import { joinContent } from './content.ts'
import { merge } from './message-collector.ts'

type Delta = ChunkDelta & { reasoning_content?: string | null; extra_content?: object | null }

export interface RunStreamOptions {
  /** Whether a tool of this name is the caller's. */
  isCallers: (tool: string) => boolean
  /** A step's text waits for the step's end, and goes out only if it is the last. */
  holdsText: boolean
}

/** The calls of one step: of each, the index that it has for the caller, or nothing yet, or that it is hidden. */
interface StepCalls {
  order: CallOrder
  indexes: Map<number, number | 'hidden'>
  unnamed: Map<number, Record<string, unknown>>
}

const newCalls = (): StepCalls => ({ order: new CallOrder(), indexes: new Map(), unnamed: new Map() })

/** Something has gone out in this step, or in one before it. */
interface Heard {
  now: boolean
  before: boolean
}

const stepped = ({ now, before }: Heard): Heard => ({ now: false, before: before || now })

/**
 * The streams of all steps of a run as the one stream that the caller sees: one id, one role, one finish reason, and of the
 * tool calls only the caller's own.
 */
export class RunStream {
  readonly #options: RunStreamOptions
  #head: ChunkHead | undefined
  #text: Heard = { now: false, before: false }
  #thoughts: Heard = { now: false, before: false }
  #isSigned = false
  #calls = newCalls()
  #visibleCalls = 0
  #held: ChatCompletionChunk[] = []
  /** The chunk that ended the step, without what has gone out of it. */
  #last: ChatCompletionChunk | undefined

  constructor(options: RunStreamOptions) {
    this.#options = options
  }

  /** What the caller sees of a chunk. */
  visible(chunk: ChatCompletionChunk): ChatCompletionChunk[] {
    const [choice] = chunk.choices ?? []
    // What comes before the answer (Azure's word on the prompt) is not of it, and has no id.
    if (!choice) return chunk.usage ? [] : [this.#head ? { ...chunk, ...this.#identity(this.#head) } : chunk]
    const isFirst = !this.#head
    this.#head ??= headOf(chunk)
    const head = { ...chunk, ...this.#identity(this.#head), ...('usage' in chunk ? { usage: null } : {}) }
    const { content, ...delta } = this.#visibleDelta(choice.delta ?? {})
    const isHeld = this.#options.holdsText && Boolean(content)
    const says = Object.values(delta).some((value) => value !== null && value !== undefined) || 'extra_content' in delta
    const shown = isFirst || says || (Boolean(content) && !isHeld)
    const seen: ChunkChoice = { ...choice, finish_reason: null }
    if (choice.finish_reason) this.#last = shown || isHeld ? this.#rest(choice) : { ...head, choices: [choice] }
    if (isHeld) this.#held.push({ ...head, choices: [{ ...seen, delta: { content: content ?? '' } }] })
    if (!shown) return []
    const role = isFirst ? { role: 'assistant' as const } : {}
    const text = content === undefined || (isHeld && !isFirst) ? {} : { content: isHeld ? '' : content }
    const logprobs = isHeld ? { logprobs: null } : {}
    return [{ ...head, choices: [{ ...seen, ...logprobs, delta: { ...role, ...text, ...delta } }] }]
  }

  /** The step is over. Returns what was held back, if it is to go out. */
  endStep(isLast: boolean): ChatCompletionChunk[] {
    const held = isLast ? this.#held : []
    this.#held = []
    this.#calls = newCalls()
    if (!isLast) this.#last = undefined
    this.#text = this.#options.holdsText ? { now: false, before: false } : stepped(this.#text)
    this.#thoughts = stepped(this.#thoughts)
    return held
  }

  finish(finish_reason: FinishReason): ChatCompletionChunk {
    const { choices, ...head } = this.#last ?? { ...this.#envelope(), choices: [] }
    const choice = choices[0] ?? { index: 0, logprobs: null }
    return { ...head, choices: [{ ...choice, delta: {}, finish_reason }] }
  }

  usage(usage: Usage): ChatCompletionChunk {
    return { ...this.#envelope(), choices: [], usage }
  }

  #envelope(): ChunkHead {
    if (this.#head) return this.#head
    throw new TypeError('a run streams at least one chunk before it ends')
  }

  #identity({ id, object, created, model }: ChunkHead): Pick<ChunkHead, 'id' | 'object' | 'created' | 'model'> {
    return { id, object, created, model }
  }

  #rest(choice: ChunkChoice): ChatCompletionChunk {
    return { ...this.#envelope(), choices: [{ ...choice, logprobs: null }] }
  }

  #visibleDelta({ role: _role, content, tool_calls, ...rest }: ChunkDelta): Delta {
    const calls = (tool_calls ?? []).flatMap((call) => this.#visibleCall(call))
    return {
      ...this.#signed(rest),
      ...(content === undefined ? {} : { content: content ? this.#paragraph(content) : content }),
      ...(calls.length > 0 ? { tool_calls: calls as NonNullable<ChunkDelta['tool_calls']> } : {}),
    }
  }

  /** A signature is one thought's: the thoughts of several steps, put together as they are for the caller, have none. */
  #signed(rest: Delta): Delta {
    if (rest.reasoning_content || rest.extra_content) this.#thoughts.now = true
    if (rest.extra_content) this.#isSigned = true
    if (!this.#isSigned || !this.#thoughts.now || !this.#thoughts.before) return rest
    this.#isSigned = false
    return { ...rest, extra_content: null }
  }

  /** What is said in a new step begins a new paragraph. */
  #paragraph(text: string): string {
    const begins = this.#text.before && !this.#text.now
    this.#text.now = true
    // Some providers stream lists of parts, whatever the type says.
    return begins ? (joinContent('\n\n', text) as string) : text
  }

  /** Whose call it is, its name tells, which nearly always comes first. */
  #visibleCall(delta: CallDelta): CallDelta[] {
    const { order, indexes, unnamed } = this.#calls
    const place = order.placeOf(delta)
    let call = delta
    if (!indexes.has(place)) {
      const before = unnamed.get(place)
      if (before) call = merge(before, delta)
      const name = call.function?.name ?? call.custom?.name
      if (!name) {
        unnamed.set(place, before ?? merge({}, delta))
        return []
      }
      indexes.set(place, this.#options.isCallers(name) ? this.#visibleCalls++ : 'hidden')
    }
    const index = indexes.get(place)
    return typeof index === 'number' ? [{ ...call, index }] : []
  }
}
