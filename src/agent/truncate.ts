import { isObject } from '../json.ts'
import type { ChatMessage } from '../types.ts'
import { estimateTokens } from './estimate-tokens.ts'

/** The front and as many of the newest turns as are within the limits; the newest one in any case. */
export function truncated(
  messages: readonly ChatMessage[],
  { maxTokens, maxMessages }: { maxTokens: number; maxMessages: number },
): ChatMessage[] {
  const firstTurn = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  const front = firstTurn < 0 ? messages : messages.slice(0, firstTurn)
  const { kept, starts } = exchangesOf(messages.slice(front.length))
  let tokens = estimateTokens(front)
  let from = kept.length
  // Providers want the user's word first, and after it what it led to.
  const turns = starts.filter((start) => start === 0 || kept[start]?.role === 'user')
  for (const start of turns.reverse()) {
    tokens += estimateTokens(kept.slice(start, from))
    const count = front.length + kept.length - start
    const isNewest = from === kept.length
    if (!isNewest && (tokens > maxTokens || count > maxMessages)) break
    from = start
  }
  return [...front, ...kept.slice(from)]
}

/**
 * Messages that only make sense together: one alone, or a call of tools with its results and whatever came between. A
 * result that nobody asked for is left out. `starts` tells where in `kept` each exchange begins.
 *
 * In one pass: a client decides how many calls there are, and how far away their results.
 */
function exchangesOf(messages: readonly ChatMessage[]): { kept: ChatMessage[]; starts: number[] } {
  const kept: ChatMessage[] = []
  const starts: number[] = []
  const latestCall = new Map<string, number>()
  for (const message of messages) {
    const answered = answeredBy(message)
    if (answered === undefined) {
      starts.push(kept.length)
      for (const call of callsOf(message)) latestCall.set(call, kept.length)
    } else {
      const call = latestCall.get(answered)
      if (call === undefined) continue
      // Every exchange that began after the call becomes a part of the one that holds it.
      while ((starts.at(-1) ?? 0) > call) starts.pop()
    }
    kept.push(message)
  }
  return { kept, starts }
}

/** The call that a result belongs to; undefined for any other message. */
function answeredBy(message: ChatMessage): string | undefined {
  if (message.role === 'tool') return `tool ${message.tool_call_id}`
  return message.role === 'function' ? `function ${message.name}` : undefined
}

/** An import takes any list for calls, so this does not rely on what is in it. */
function callsOf(message: ChatMessage): string[] {
  if (message.role !== 'assistant') return []
  const tools: unknown[] = Array.isArray(message.tool_calls) ? message.tool_calls : []
  const calls = tools.filter(isObject).map(({ id }) => `tool ${id}`)
  return message.function_call ? [...calls, `function ${message.function_call.name}`] : calls
}
