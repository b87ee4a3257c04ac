import type { ChatMessage } from '../types.ts'
import { ConversationHistory, type TruncateLimits } from './conversation-history.ts'

/** A conversation with a new turn in it. */
export interface JoinedTurn {
  /** To be kept, with the answer at its end. */
  history: ConversationHistory
  /** What the model is sent. */
  messages: ChatMessage[]
}

/**
 * Joins what a request brings with what is stored. A request with a message of the assistant's is a transcript: it is the
 * truth, and replaces what is stored. Anything else is appended; its system messages, which clients send with every turn,
 * replace those at the front.
 */
export function joinTurn(
  stored: ConversationHistory,
  request: readonly ChatMessage[],
  limits?: TruncateLimits,
): JoinedTurn {
  const isTranscript = request.some(({ role }) => role === 'assistant')
  const history = isTranscript ? new ConversationHistory(request) : appended(stored, request)
  if (limits) history.truncate(limits)
  return { history, messages: isTranscript ? [...history.messages] : withoutOldThoughts(history.messages) }
}

function appended(stored: ConversationHistory, request: readonly ChatMessage[]): ConversationHistory {
  const [instructions, turn] = parted(request)
  if (instructions.length === 0) return stored.append(...turn)
  const [, before] = parted(stored.messages)
  return new ConversationHistory([...instructions, ...before, ...turn])
}

/** The system messages at the front, and the rest. */
function parted(messages: readonly ChatMessage[]): [front: readonly ChatMessage[], rest: readonly ChatMessage[]] {
  const first = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  return first === -1 ? [messages, []] : [messages.slice(0, first), messages.slice(first)]
}

/**
 * What a model thought in turns that are over is kept, but not sent: providers ignore it, or refuse it (DeepSeek). Between the
 * calls of tools of one turn they want it back.
 */
function withoutOldThoughts(messages: readonly ChatMessage[]): ChatMessage[] {
  const turn = messages.findLastIndex(({ role }) => role === 'user')
  return messages.map((message, index) => {
    if (index > turn || message.role !== 'assistant' || !('reasoning_content' in message)) return message
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
