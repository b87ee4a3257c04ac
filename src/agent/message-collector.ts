import { isObject } from '../json.ts'
import type { ChatCompletion, ChatMessage, ChunkDelta } from '../types.ts'
import { CallOrder } from './call-order.ts'
import { joinContent } from './content.ts'

/** An assistant's message as a request carries it. */
export type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>

type AnswerMessage = Partial<ChatCompletion['choices'][number]['message']>
type Fields = Record<string, unknown>
type AnswerCalls = NonNullable<AnswerMessage['tool_calls']>

/** Puts an assistant's message together from the deltas of one choice of a stream. */
export class MessageCollector {
  readonly #fields: Fields = {}
  readonly #order = new CallOrder()
  readonly #calls: Fields[] = []

  add({ role: _role, tool_calls, ...rest }: ChunkDelta): void {
    merge(this.#fields, rest)
    for (const delta of tool_calls ?? []) {
      const { index: _index, ...call } = delta
      const place = this.#order.placeOf(delta)
      this.#calls[place] = merge(this.#calls[place] ?? {}, call)
    }
  }

  get message(): AssistantMessage {
    return toRequestMessage(this.#whole)
  }

  /** As an answer carries it: with `content` and `refusal` in any case, which are null where there is nothing. */
  get answer(): ChatCompletion['choices'][number]['message'] {
    const { content, refusal = null, ...rest } = this.#whole
    const saysOtherwise = refusal !== null || rest.tool_calls || rest.function_call
    return { ...rest, role: 'assistant', content: (saysOtherwise ? content || null : content) ?? null, refusal }
  }

  get #whole(): AnswerMessage {
    const calls = this.#calls as unknown as AnswerCalls
    return { ...this.#fields, ...(calls.length > 0 ? { tool_calls: calls } : {}) }
  }
}

/** Said once and for all: a second time it is repeated, not continued. */
const constants = new Set(['id', 'type', 'name'])

/**
 * Texts are continued, lists get longer, objects are merged; of anything else the last word counts. Changes and returns `into`,
 * and nothing that `delta` holds: what is not ours is copied before it grows.
 */
export function merge(into: Fields, delta: object): Fields {
  for (const [name, value] of Object.entries(delta)) {
    // Assigned, it would be the object's prototype, and merged into, that of all objects.
    if (name === '__proto__') continue
    const before = Object.hasOwn(into, name) ? into[name] : undefined
    if (before === undefined) {
      if (value !== undefined) into[name] = isObject(value) ? merge({}, value) : value
    } else if (value !== undefined && !isSilent(name, value)) into[name] = continued(name, before, value)
  }
  return into
}

/** Many servers fill up the fields of a delta that have nothing to say. */
const isSilent = (name: string, value: unknown): boolean =>
  (value === null && name !== 'extra_content') || (value === '' && constants.has(name))

function continued(name: string, before: unknown, value: unknown): unknown {
  if (name === 'content' && isContent(before) && isContent(value)) return joinContent(before, value)
  if (typeof before === 'string' && typeof value === 'string' && !constants.has(name)) return before + value
  if (Array.isArray(before) && Array.isArray(value)) return [...before, ...value]
  if (!isObject(value)) return value
  return merge(isObject(before) ? before : {}, value)
}

const isContent = (value: unknown): value is string | unknown[] => typeof value === 'string' || Array.isArray(value)

/**
 * An answer's message as the next request carries it: without the fields that are there to say that nothing is, and of a
 * spoken answer (which is long) only its id, as OpenAI asks for it.
 */
export function toRequestMessage(message: AnswerMessage): AssistantMessage {
  const { content = null, audio, ...rest } = message
  const told = Object.entries(rest).filter(
    ([, value]) => value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0),
  )
  const fields = Object.fromEntries(told)
  const isEmpty = content === null && !fields.tool_calls && !fields.refusal && !fields.function_call && !audio
  return {
    ...fields,
    role: 'assistant',
    content: isEmpty ? '' : content,
    ...(audio ? { audio: { id: audio.id } } : {}),
  } as AssistantMessage
}
