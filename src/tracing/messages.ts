/** What was said, as the convention writes it down: JSON, for `gen_ai.input.messages` and `gen_ai.output.messages`. */
import { MessageCollector, toRequestMessage } from '../agent/message-collector.ts'
import { isObject } from '../json.ts'
import type { AskedRequest, ChatCompletion, ChatCompletionChunk, ChatMessage } from '../types.ts'

interface Part {
  type: string
  [field: string]: unknown
}

/** Of a request; undefined for one that is no chat. */
export function inputMessages(request: AskedRequest): string | undefined {
  const { messages } = request
  if (!Array.isArray(messages)) return undefined
  return JSON.stringify(messages.map((message: ChatMessage) => ({ role: message.role, parts: partsOf(message) })))
}

/** Of an answer, whole or in chunks; undefined when nothing of it came. */
export function outputMessages(answer: readonly (ChatCompletion | ChatCompletionChunk)[]): string | undefined {
  const choices = new Map<number, { collector: MessageCollector; finishReason?: string }>()
  const said: object[] = []
  for (const choice of answer.flatMap(({ choices }): readonly Choice[] => choices ?? [])) {
    if (!isObject(choice)) continue
    const { index = 0, finish_reason: reason } = choice
    if ('message' in choice) {
      said.push(messageOf(toRequestMessage(choice.message ?? {}), reason ?? undefined))
      continue
    }
    const known = choices.get(index) ?? { collector: new MessageCollector() }
    choices.set(index, known)
    known.collector.add(choice.delta ?? {})
    if (reason) known.finishReason = reason
  }
  for (const { collector, finishReason } of choices.values()) said.push(messageOf(collector.message, finishReason))
  return said.length > 0 ? JSON.stringify(said) : undefined
}

type Choice = ChatCompletion['choices'][number] | ChatCompletionChunk['choices'][number]

/** What broke off has the convention's word for that as its reason. */
const messageOf = (message: ChatMessage, finishReason = 'error'): object => ({
  role: 'assistant',
  parts: partsOf(message),
  finish_reason: finishReason,
})

function partsOf(message: ChatMessage): Part[] {
  const { content } = message
  if (message.role === 'tool') return [{ type: 'tool_call_response', id: message.tool_call_id, response: content }]
  const parts: Part[] = []
  if (message.reasoning_content) parts.push({ type: 'reasoning', content: message.reasoning_content })
  if (typeof content === 'string') parts.push({ type: 'text', content })
  else for (const part of content ?? []) parts.push(partOf(part))
  if (message.role !== 'assistant') return parts
  if (message.refusal) parts.push({ type: 'text', content: message.refusal })
  for (const call of message.tool_calls ?? []) {
    const { id } = call
    if (call.type === 'custom')
      parts.push({ type: 'tool_call', id, name: call.custom.name, arguments: call.custom.input })
    else parts.push({ type: 'tool_call', id, name: call.function.name, arguments: parsed(call.function.arguments) })
  }
  return parts
}

/** Of pictures, sound and files only what they are: they are long, and of no use in a trace. */
function partOf(part: unknown): Part {
  if (!isObject(part)) return { type: 'unknown' }
  return typeof part.text === 'string' ? { type: 'text', content: part.text } : { type: String(part.type) }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}
