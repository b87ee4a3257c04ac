import { isObject } from '../json.ts'
import type { ChatCompletion, ChatMessage, ChunkDelta } from '../types.ts'

/** An assistant's message as a request carries it. */
export type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>

type AnswerMessage = Partial<ChatCompletion['choices'][number]['message']>
type Fields = Record<string, unknown>
type AnswerCalls = NonNullable<AnswerMessage['tool_calls']>

/** Puts an assistant's message together from the deltas of one choice of a stream. */
export class MessageCollector {
  readonly #fields: Fields = {}
  readonly #calls: Fields[] = []

  add({ role: _role, tool_calls, ...rest }: ChunkDelta): void {
    merge(this.#fields, rest)
    for (const { index, ...call } of tool_calls ?? []) {
      this.#calls[index] ??= {}
      merge(this.#calls[index], call)
    }
  }

  get message(): AssistantMessage {
    const calls = this.#calls.filter((call) => call !== undefined) as unknown as AnswerCalls
    return toRequestMessage({ ...this.#fields, ...(calls.length > 0 ? { tool_calls: calls } : {}) })
  }
}

/** Said once and for all: a second time it is repeated, not continued. */
const constants = new Set(['id', 'type', 'name'])

/** Texts are continued, lists get longer, objects are merged; of anything else the last word counts. */
function merge(into: Fields, delta: object): void {
  for (const [name, value] of Object.entries(delta)) {
    const before = into[name]
    if (value === undefined || (value === null && before !== undefined && name !== 'extra_content')) continue
    if (typeof before === 'string' && typeof value === 'string' && !constants.has(name)) into[name] = before + value
    else if (Array.isArray(before) && Array.isArray(value)) into[name] = [...before, ...value]
    else if (isObject(before) && isObject(value)) merge(before, value)
    else into[name] = isObject(value) ? merged({}, value) : value
  }
}

/** The deltas are not ours to change: what they hold is copied before it grows. */
function merged(into: Fields, delta: object): Fields {
  merge(into, delta)
  return into
}

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
