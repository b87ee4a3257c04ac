import { createHash } from 'node:crypto'
import { isObject } from '../json.ts'
import type { Persistence } from '../store/persistence.ts'
import { userKey } from '../store/stored-key.ts'
import type { CallOptions, ChatMessage, ChatRequest, LLMClient } from '../types.ts'
import { nameOf, type ToolCall } from './toolbox.ts'

export interface HiddenStepsOptions {
  /** How long a caller may take to run its tools. Default 86 400: a day. */
  ttlSeconds?: number
}

/**
 * What a run did before it came back with calls of the caller's tools, kept for the turn that brings their results. A caller
 * that keeps the transcript itself has seen of it only its own calls; without the rest, the model would begin anew, or be
 * told of calls that it did not make.
 */
export class HiddenSteps {
  readonly #persistence: Persistence
  readonly #ttlSeconds: number

  constructor(persistence: Persistence, { ttlSeconds = 86_400 }: HiddenStepsOptions = {}) {
    this.#persistence = persistence
    this.#ttlSeconds = ttlSeconds
  }

  /** A client whose callers' transcripts have their hidden steps again. Where those cannot be had, it does without. */
  restoring(client: LLMClient, userId: string | null): LLMClient {
    const begin = async (request: ChatRequest, call: CallOptions) => {
      const messages = await this.#restored(request.messages, userId, request.model, call)
      let said: readonly ChatMessage[] = []
      return {
        request: messages === request.messages ? request : { ...request, messages },
        call: {
          ...call,
          onTurn(turn: readonly ChatMessage[]) {
            said = turn
            call.onTurn?.(turn)
          },
        },
        keep: () => this.#keep(said, request.messages.at(-1), userId, request.model, call),
      }
    }
    return {
      provider: client.provider,
      model: client.model,
      async complete(request, call = {}) {
        const turn = await begin(request, call)
        const answer = await client.complete(turn.request, turn.call)
        await turn.keep()
        return answer
      },
      async *stream(request, call = {}) {
        const turn = await begin(request, call)
        yield* client.stream(turn.request, turn.call)
        await turn.keep()
      },
      close: async () => client.close?.(),
    }
  }

  async #keep(
    said: readonly ChatMessage[],
    before: ChatMessage | undefined,
    userId: string | null,
    model: string,
    call: CallOptions,
  ): Promise<void> {
    const open = openCalls(said)
    // A single message is one that the caller has seen as it is.
    if (open.length === 0 || said.length < 2) return
    try {
      const key = keyOf(open, before, userId, model)
      await this.#persistence.set(key, { version: 1, messages: said }, { ttlSeconds: this.#ttlSeconds })
    } catch (error) {
      call.onWarning?.('the steps of this run could not be kept: the next turn goes on without them', error)
    }
  }

  async #restored(
    messages: ChatMessage[],
    userId: string | null,
    model: string,
    call: CallOptions,
  ): Promise<ChatMessage[]> {
    const parts = await Promise.all(
      messages.map(async (message, index) => {
        if (message.role !== 'assistant' || !message.tool_calls?.length) return [message]
        try {
          const kept = await this.#persistence.get(keyOf(message.tool_calls, messages[index - 1], userId, model))
          return isObject(kept) && kept.version === 1 ? (kept.messages as ChatMessage[]) : [message]
        } catch (error) {
          call.onWarning?.('the earlier steps of this run could not be read: it goes on without them', error)
          return [message]
        }
      }),
    )
    return parts.some(({ length }) => length > 1) ? parts.flat() : messages
  }
}

/** The calls of the last step that nobody has answered: the caller's. */
function openCalls(said: readonly ChatMessage[]): ToolCall[] {
  const last = said.findLast(({ role }) => role === 'assistant')
  const answered = new Set(said.map((message) => (message.role === 'tool' ? message.tool_call_id : undefined)))
  return last?.role === 'assistant' ? (last.tool_calls ?? []).filter(({ id }) => !answered.has(id)) : []
}

/**
 * By the calls and by what was said before them: some providers number their calls, so that ids alone come again. Not by
 * their arguments, which some clients write anew.
 */
function keyOf(
  calls: readonly ToolCall[],
  before: ChatMessage | undefined,
  userId: string | null,
  model: string,
): string {
  const named = calls.map((call) => [call.id, nameOf(call)])
  const text = JSON.stringify([model, named, before?.role, before && 'content' in before ? before.content : null])
  return userKey('steps:', userId, createHash('sha256').update(text).digest('hex'))
}
