import type { ChatMessage } from '../types.ts'
import { AssistantTurn } from './assistant-turn.ts'
import { answersOf, isCall, isCallOutput } from './call-pairs.ts'
import { shownContent, textContent } from './chat-content.ts'
import { invalid, unsupported } from './refusals.ts'
import type { StoredItem } from './response-types.ts'

/**
 * Items as the messages of a chat: the items of one turn of the model make one message, and each output follows its call,
 * wherever it stood. A call that was cut off and that nobody answered is left out.
 *
 * @throws GatewayError `unsupported` for an item that has no place in a chat, `invalid_request` for a call without an output and
 * the reverse; `param` is what `pathOf` names the item's index.
 */
export function toMessages(items: readonly StoredItem[], pathOf: (index: number) => string): ChatMessage[] {
  const answers = answersOf(items, pathOf)
  const messages: ChatMessage[] = []
  let turn = new AssistantTurn()
  const closeTurn = (): void => {
    if (turn.message) messages.push(turn.message)
    for (const call of turn.calls) {
      const index = answers.get(call) ?? -1
      const answer = items[index]
      if (!answer || !isCallOutput(answer)) continue
      const content = shownContent(answer.output, `${pathOf(index)}.output`)
      // Images in it are beyond the type, and within what many servers take.
      messages.push({ role: 'tool', tool_call_id: call.call_id, content } as ChatMessage)
    }
    turn = new AssistantTurn()
  }
  for (const [index, item] of items.entries()) {
    const path = pathOf(index)
    if (isCall(item)) {
      if (answers.has(item)) turn.call(item)
      else if (item.status === 'completed') {
        throw invalid(path, `No tool output found for function call ${item.call_id}.`)
      }
      continue
    }
    switch (item.type) {
      case 'reasoning':
        turn.think(item)
        break
      case 'message':
        if (item.role !== 'assistant' || turn.isAfterMessage) closeTurn()
        if (item.role === 'assistant') turn.say(item, path)
        else messages.push(givenMessage(item, path))
        break
      case 'function_call_output':
      case 'custom_tool_call_output':
        closeTurn()
        break
      case 'item_reference':
        throw invalid(path, `Item with id '${item.id}' not found.`)
      default:
        throw unsupported(`${path}.type`, `items of the type "${item.type}" are not supported by this model`)
    }
  }
  closeTurn()
  return messages
}

const translatable = new Set<string>([
  'message',
  'reasoning',
  'function_call',
  'function_call_output',
  'custom_tool_call',
  'custom_tool_call_output',
  'item_reference',
])

/** Whether an item has its place in a chat: those of tools that another provider ran have none. */
export const isTranslatable = ({ type }: StoredItem): boolean => translatable.has(type)

function givenMessage({ role, content }: { role: string; content: readonly object[] }, path: string): ChatMessage {
  switch (role) {
    case 'user':
      return { role, content: shownContent(content, `${path}.content`) }
    case 'system':
    case 'developer':
      return { role, content: textContent(content, `${path}.content`) }
    default:
      throw invalid(`${path}.role`, `invalid value for '${path}.role': must be user, assistant, system or developer`)
  }
}
