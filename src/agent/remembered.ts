import { abortedCall } from '../llm/upstream-errors.ts'
import type { CallOptions, ChatMessage, ChatRequest, FinishReason, LLMClient } from '../types.ts'
import type { ConversationHistory, TruncateLimits } from './conversation-history.ts'
import { joinTurn } from './join-turn.ts'
import { MessageCollector, toRequestMessage } from './message-collector.ts'

type End = FinishReason | undefined

/** A conversation while one turn of it is taken: nobody else takes one until it is released. */
export interface OpenTurn {
  history: ConversationHistory
  /** Keeps the conversation with the turn in it. */
  save(history: ConversationHistory): Promise<void>
  /** A second time does nothing. */
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

  /**
   * Keeps the answer's own message, unless the client tells of a run of several. The answer has been paid for: it is delivered
   * even if it cannot be kept.
   */
  async function save({ call, history, said, ...turn }: Turn, answer: ChatMessage, end: End): Promise<void> {
    if (call.signal?.aborted) throw abortedCall(call.signal.reason)
    if (end === 'content_filter') return
    try {
      await turn.save(history.append(...(said ?? [answer])))
    } catch (error) {
      call.onWarning?.('the conversation could not be saved: it may not hold this turn', error)
    }
  }

  return {
    provider: client.provider,
    model: client.model,

    async complete(request, call = {}) {
      const turn = await begin(request, call)
      try {
        const answer = await client.complete(turn.request, turn.call)
        const choice = firstOf(answer.choices)
        if (choice) await save(turn, toRequestMessage(choice.message), choice.finish_reason)
        return answer
      } finally {
        turn.release()
      }
    },

    async *stream(request, call = {}) {
      const turn = await begin(request, call)
      const collector = new MessageCollector()
      let end: End
      let answers = false
      let waits = false
      // Who has left may never ask for the next chunk, nor say so.
      const onAbort = (): void => {
        if (waits) turn.release()
      }
      call.signal?.addEventListener('abort', onAbort, { once: true })
      try {
        for await (const chunk of client.stream(turn.request, turn.call)) {
          const choice = firstOf(chunk.choices)
          if (choice) {
            answers = true
            collector.add(choice.delta ?? {})
            end = choice.finish_reason ?? end
          }
          waits = true
          yield chunk
          waits = false
        }
        if (answers) await save(turn, collector.message, end)
      } finally {
        call.signal?.removeEventListener('abort', onAbort)
        turn.release()
      }
    },

    close: async () => client.close?.(),
  }
}

/** Of several answers the first is the conversation's. Some servers do not number the only one. */
const firstOf = <Choice extends { index?: number }>(choices: readonly Choice[] | undefined): Choice | undefined =>
  choices?.find(({ index = 0 }) => index === 0)
