import type { ChatMessage } from '../types.ts'
import { sendable } from './own-calls.ts'

/** Calls that wait for their results, and where the message with them is. */
export interface OpenCalls {
  at: number
  ids: ReadonlySet<string>
}

/** The calls that a conversation ends with, if it does: the caller's own tools are to answer them. */
export function openCallsOf(messages: readonly ChatMessage[]): OpenCalls | undefined {
  const at = messages.findLastIndex(({ role }) => role === 'assistant')
  const last = messages[at]
  if (last?.role !== 'assistant' || !last.tool_calls?.length) return undefined
  const answered = new Set(resultsIn(messages.slice(at + 1)))
  const ids = new Set(last.tool_calls.map(({ id }) => id).filter((id) => !answered.has(id)))
  return ids.size > 0 ? { at, ids } : undefined
}

/**
 * A conversation and the turn after it, with every call answered: providers refuse all that follows one that is not, and a caller
 * may have given it up. So it is for a call that was cut off, whose arguments are no JSON.
 */
export function withAnswers(
  before: readonly ChatMessage[],
  turn: readonly ChatMessage[],
  { at, ids }: OpenCalls,
): ChatMessage[] {
  const answered = new Set(resultsIn(turn))
  const missing = [...ids].filter((id) => !answered.has(id))
  const placeholders = missing.map((tool_call_id) => ({ role: 'tool' as const, tool_call_id, content: noResult }))
  const results = turn.findIndex(({ role }) => role !== 'tool')
  const cut = results === -1 ? turn.length : results
  return [...before.with(at, withSendableCalls(before[at])), ...turn.slice(0, cut), ...placeholders, ...turn.slice(cut)]
}

const noResult = 'No result: the caller went on without it.'

const resultsIn = (messages: readonly ChatMessage[]): string[] =>
  messages.flatMap((message) => (message.role === 'tool' ? [message.tool_call_id] : []))

function withSendableCalls(message: ChatMessage | undefined): ChatMessage {
  if (message?.role !== 'assistant' || !message.tool_calls)
    throw new TypeError('open calls are in an assistant message')
  return { ...message, tool_calls: message.tool_calls.map(sendable) }
}
