import type { ChatMessage } from '../types.ts'
import type { CallItem } from './call-pairs.ts'
import { saidContent } from './chat-content.ts'
import { unsealed } from './provider-state.ts'
import type { CustomCallItem, FunctionCallItem, MessageItem, ReasoningItem } from './response-types.ts'

type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>
type ToolCall = NonNullable<AssistantMessage['tool_calls']>[number]

/**
 * The items of one turn of a model, as the one message that they are in chat completions. What came after the calls stands before
 * them there; the order of texts among each other, and of calls, is kept.
 */
export class AssistantTurn {
  readonly calls: CallItem[] = []
  #text: string | undefined
  #refusal: string | undefined
  #reasoning = ''
  #said: object = {}
  #thought: object | undefined
  #thoughts = 0
  #lastIsMessage = false

  /** Two messages in a row are two turns: a client wrote them as examples, or two responses said them. */
  get isAfterMessage(): boolean {
    return this.#lastIsMessage
  }

  say({ content, encrypted_content }: MessageItem, path: string): void {
    const { text, refusal } = saidContent(content, `${path}.content`)
    if (text !== undefined) this.#text = (this.#text ?? '') + text
    if (refusal !== undefined) this.#refusal = (this.#refusal ?? '') + refusal
    this.#said = { ...this.#said, ...unsealed(encrypted_content) }
    this.#lastIsMessage = true
  }

  think({ content, summary, encrypted_content }: ReasoningItem): void {
    this.#reasoning += content?.length
      ? content.map(({ text }) => text).join('')
      : summary.map(({ text }) => text).join('\n\n')
    this.#thoughts += 1
    // A signature belongs to one thought; several, joined to one text, have none.
    this.#thought = this.#thoughts > 1 ? undefined : unsealed(encrypted_content)
    this.#lastIsMessage = false
  }

  call(item: CallItem): void {
    this.calls.push(item)
    this.#lastIsMessage = false
  }

  /** Undefined when nothing was said or called: there is nothing to answer to in a mere thought. */
  get message(): AssistantMessage | undefined {
    if (this.#text === undefined && this.#refusal === undefined && this.calls.length === 0) return undefined
    const extra = { ...this.#thought, ...this.#said }
    return {
      role: 'assistant',
      content: this.#text ?? null,
      ...(this.#refusal === undefined ? {} : { refusal: this.#refusal }),
      ...(this.#reasoning ? { reasoning_content: this.#reasoning } : {}),
      ...(Object.keys(extra).length > 0 ? { extra_content: extra } : {}),
      ...(this.calls.length > 0 ? { tool_calls: this.calls.map(toToolCall) } : {}),
    }
  }
}

function toToolCall(item: CallItem): ToolCall {
  const state = unsealed((item as FunctionCallItem | CustomCallItem).encrypted_content)
  const extra = state ? { extra_content: state } : {}
  const id = item.call_id
  return item.type === 'function_call'
    ? { id, type: 'function', function: { name: item.name, arguments: item.arguments }, ...extra }
    : { id, type: 'custom', custom: { name: item.name, input: item.input }, ...extra }
}
