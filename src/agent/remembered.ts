import type { CallOptions, ChatCompletion, ChatMessage, ChatRequest, LLMClient } from '../types.ts'
import type { ConversationHistory, TruncateLimits } from './conversation-history.ts'
import { joinTurn } from './join-turn.ts'
import { MessageCollector, toRequestMessage } from './message-collector.ts'

type FinishReason = ChatCompletion['choices'][number]['finish_reason']

/** A conversation while one turn of it is taken: nobody else takes one until it is released. */
export interface OpenTurn {
  history: ConversationHistory
  /** Keeps the conversation with the turn in it. */
  save(history: ConversationHistory): Promise<void>
  release(): void
}

/** A turn under way. `history` ends with what the request brought. */
interface Turn extends OpenTurn {
  request: ChatRequest
  call: CallOptions
  /** What a run has added. */
  said: readonly ChatMessage[] | undefined
}

/**
 * A client whose requests are turns of a conversation. A turn is saved before its answer is whole for the caller; one that
 * fails, is left by its client, or ends in `content_filter` (with which providers would refuse all turns after it) leaves
 * the conversation as it was.
 */
export function remembered(
  client: LLMClient,
  open: (call: CallOptions) => Promise<OpenTurn>,
  limits?: TruncateLimits,
): LLMClient {
  async function begin(request: ChatRequest, call: CallOptions): Promise<Turn> {
    const opened = await open(call)
    try {
      const { history, messages } = joinTurn(opened.history, request.messages, limits)
      const turn: Turn = {
        ...opened,
        history,
        request: { ...request, messages },
        said: undefined,
        call: {
          ...call,
          onTurn(said) {
            turn.said = said
            call.onTurn?.(said)
          },
        },
      }
      return turn
    } catch (error) {
      opened.release()
      throw error
    }
  }

  /** The answer's own message, unless the client tells of a run of several. */
  async function save(turn: Turn, answer: ChatMessage, finishReason: FinishReason | undefined): Promise<void> {
    if (finishReason === undefined || finishReason === 'content_filter') return
    await turn.save(turn.history.append(...(turn.said ?? [answer])))
  }

  return {
    provider: client.provider,
    model: client.model,

    async complete(request, call = {}) {
      const turn = await begin(request, call)
      try {
        const answer = await client.complete(turn.request, turn.call)
        const [choice] = answer.choices
        if (choice) await save(turn, toRequestMessage(choice.message), choice.finish_reason)
        return answer
      } finally {
        turn.release()
      }
    },

    async *stream(request, call = {}) {
      const turn = await begin(request, call)
      const collector = new MessageCollector()
      let finishReason: FinishReason | undefined
      try {
        for await (const chunk of client.stream(turn.request, turn.call)) {
          const choice = chunk.choices?.find(({ index }) => index === 0)
          if (choice?.delta) collector.add(choice.delta)
          if (choice?.finish_reason) finishReason = choice.finish_reason
          yield chunk
        }
        await save(turn, collector.message, finishReason)
      } finally {
        turn.release()
      }
    },

    close: async () => client.close?.(),
  }
}
