import type { ChatMessage } from '../types.ts'
import { ConversationHistory, type TruncateLimits } from './conversation-history.ts'
import { openCallsOf, withAnswers } from './open-calls.ts'

/** A conversation with a new turn in it. */
export interface JoinedTurn {
  /** To be kept, with the answer at its end. */
  history: ConversationHistory
  /** What the model is sent. */
  messages: ChatMessage[]
}

/**
 * Joins what a request brings with what is stored. A request with a message of the assistant's is a transcript: it is the
 * truth, and replaces what is stored, all of it or the turn that it goes on with. Anything else is appended; its system
 * messages, which clients send with every turn, replace those at the front.
 */
export function joinTurn(
  stored: ConversationHistory,
  request: readonly ChatMessage[],
  limits?: TruncateLimits,
): JoinedTurn {
  const isTranscript = request.some(({ role }) => role === 'assistant')
  const history = isTranscript ? replaced(stored, request) : appended(stored, request)
  if (limits) history.truncate(limits)
  return { history, messages: withoutOldThoughts(history.messages, isTranscript ? request.length : 0) }
}

/**
 * An SDK that runs tools in a loop sends the turn that it began with, and what came of it since. That is no whole transcript: it
 * replaces the turn, and what was before it stays.
 */
function replaced(stored: ConversationHistory, request: readonly ChatMessage[]): ConversationHistory {
  const [instructions, transcript] = parted(request)
  const [storedInstructions, before] = parted(stored.messages)
  const last = transcript.findLastIndex(({ role }) => role === 'assistant')
  const call = signature(transcript[last])
  const begin = before.findLastIndex((message) => message.role === 'assistant' && signature(message) === call) - last
  const goesOn =
    begin > 0 &&
    transcript[last + 1]?.role === 'tool' &&
    transcript.slice(0, last).every((message, index) => signature(message) === signature(before[begin + index]))
  if (!goesOn) return new ConversationHistory(request)
  const front = instructions.length > 0 ? instructions : storedInstructions
  return new ConversationHistory([...front, ...before.slice(0, begin), ...transcript])
}

/** By what two messages are the same: not by the arguments of calls, which some clients write anew. */
function signature(message: ChatMessage | undefined): string {
  if (!message) return ''
  const calls = message.role === 'assistant' ? message.tool_calls?.map(({ id }) => id) : undefined
  const result = message.role === 'tool' ? message.tool_call_id : null
  return JSON.stringify([message.role, message.content || null, calls ?? [], result])
}

function appended(stored: ConversationHistory, request: readonly ChatMessage[]): ConversationHistory {
  const [instructions, turn] = parted(request)
  const [front, before] = parted(stored.messages)
  const open = openCallsOf(before)
  if (instructions.length === 0 && !open) return stored.append(...turn)
  const joined = open ? withAnswers(before, turn, open) : [...before, ...turn]
  return new ConversationHistory([...(instructions.length > 0 ? instructions : front), ...joined])
}

/** The system messages at the front, and the rest. */
function parted(messages: readonly ChatMessage[]): [front: readonly ChatMessage[], rest: readonly ChatMessage[]] {
  const first = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  return first === -1 ? [messages, []] : [messages.slice(0, first), messages.slice(first)]
}

/**
 * What a model thought in turns that are over is kept, but not sent: providers ignore it, or refuse it (DeepSeek). Between the
 * calls of tools of one turn they want it back. What the caller sends itself, the last `fromCaller` messages, is left as it is.
 */
function withoutOldThoughts(messages: readonly ChatMessage[], fromCaller: number): ChatMessage[] {
  const turn = Math.min(
    messages.findLastIndex(({ role }) => role === 'user'),
    messages.length - fromCaller,
  )
  return messages.map((message, index) => {
    if (index >= turn || message.role !== 'assistant' || !('reasoning_content' in message)) return message
    const {
      reasoning_content: _thoughts,
      extra_content: _signature,
      ...rest
    } = message as ChatMessage & {
      extra_content?: unknown
    }
    return rest as ChatMessage
  })
}
