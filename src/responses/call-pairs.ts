import { invalid } from './refusals.ts'
import type { StoredItem } from './response-types.ts'

export type CallItem = Extract<StoredItem, { type: 'function_call' | 'custom_tool_call' }>
export type CallOutputItem = Extract<StoredItem, { type: 'function_call_output' | 'custom_tool_call_output' }>

export const isCall = (item: StoredItem): item is CallItem =>
  item.type === 'function_call' || item.type === 'custom_tool_call'

export const isCallOutput = (item: StoredItem): item is CallOutputItem =>
  item.type === 'function_call_output' || item.type === 'custom_tool_call_output'

/**
 * The index of the output that answers each call. Providers count calls anew in every turn, so an id may come again: an output
 * answers the oldest call before it that has no answer yet.
 *
 * @throws GatewayError `invalid_request` for an output without its call
 */
export function answersOf(items: readonly StoredItem[], pathOf: (index: number) => string): Map<CallItem, number> {
  const answers = new Map<CallItem, number>()
  const known = new Map<string, { calls: CallItem[]; answered: number }>()
  for (const [index, item] of items.entries()) {
    if (isCall(item)) {
      const same = known.get(item.call_id)
      if (same) same.calls.push(item)
      else known.set(item.call_id, { calls: [item], answered: 0 })
    } else if (isCallOutput(item)) {
      const same = known.get(item.call_id ?? '')
      const call = same?.calls[same.answered]
      if (!same || !call) {
        throw invalid(pathOf(index), `No tool call found for function call output with call_id ${item.call_id}.`)
      }
      same.answered += 1
      answers.set(call, index)
    }
  }
  return answers
}
