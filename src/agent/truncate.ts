import type { ChatMessage } from '../types.ts'
import { estimateTokens } from './estimate-tokens.ts'

/** Messages that only make sense together: one alone, or a call of tools with its results. */
type Exchange = readonly ChatMessage[]

/** The front and as many of the newest exchanges as are within the limits; the newest one in any case. */
export function truncated(
  messages: readonly ChatMessage[],
  { maxTokens, maxMessages }: { maxTokens: number; maxMessages: number },
): ChatMessage[] {
  const firstTurn = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  const front = firstTurn < 0 ? messages : messages.slice(0, firstTurn)
  const exchanges = exchangesOf(messages.slice(front.length))
  let tokens = estimateTokens(front)
  let count = front.length
  let first = exchanges.length
  while (first > 0) {
    const exchange = exchanges[first - 1] ?? []
    tokens += estimateTokens(exchange)
    count += exchange.length
    const isNewest = first === exchanges.length
    if (!isNewest && (tokens > maxTokens || count > maxMessages)) break
    first -= 1
  }
  return [...front, ...exchanges.slice(first).flat()]
}

/** A result joins the call it answers, and with it whatever came between; a result that nobody asked for is left out. */
function exchangesOf(messages: readonly ChatMessage[]): Exchange[] {
  const exchanges: Exchange[] = []
  for (const message of messages) {
    if (message.role !== 'tool' && message.role !== 'function') {
      exchanges.push([message])
      continue
    }
    const call = exchanges.findLastIndex((exchange) => exchange.some((earlier) => isAnsweredBy(earlier, message)))
    if (call >= 0) exchanges.push([...exchanges.splice(call).flat(), message])
  }
  return exchanges
}

function isAnsweredBy(call: ChatMessage, result: ChatMessage): boolean {
  if (call.role !== 'assistant') return false
  if (result.role === 'function') return call.function_call?.name === result.name
  return result.role === 'tool' && (call.tool_calls ?? []).some(({ id }) => id === result.tool_call_id)
}
