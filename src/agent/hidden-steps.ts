import { createHash } from 'node:crypto'
import { isObject } from '../json.ts'
import type { Persistence } from '../store/persistence.ts'
import { userKey } from '../store/stored-key.ts'
import type { CallOptions, ChatMessage, ChatRequest, LLMClient } from '../types.ts'
import { bounded } from './bounded.ts'
import type { ToolCall } from './toolbox.ts'

export interface HiddenStepsOptions {
  /** How long a caller may take to run its tools. Default 86 400: a day. */
  ttlSeconds?: number
  /** Milliseconds that the store may take; then the run goes on without it. Default 5000. */
  timeoutMs?: number
}

/**
 * What a run did before it came back with calls of the caller's tools, kept for the turn that brings their results. A caller
 * that keeps the transcript itself has seen of it only its own calls; without the rest, the model would begin anew, or be
 * told of calls that it did not make.
 */
export class HiddenSteps {
  readonly #persistence: Persistence
  readonly #ttlSeconds: number
  readonly #timeoutMs: number

  constructor(persistence: Persistence, { ttlSeconds = 86_400, timeoutMs = 5000 }: HiddenStepsOptions = {}) {
    this.#persistence = persistence
    this.#ttlSeconds = ttlSeconds
    this.#timeoutMs = timeoutMs
  }

  /** A client whose callers' transcripts have their hidden steps again. Where those cannot be had, it does without. */
  restoring(client: LLMClient, userId: string | null): LLMClient {
    const begin = async (request: ChatRequest, call: CallOptions) => {
      const messages = await this.#restored(request.messages, userId, request.model, call)
      let said: readonly ChatMessage[] = []
      return {
        request: { ...request, messages },
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
    if (open.length === 0) return
    try {
      const key = keyOf(open, before, userId, model)
      await bounded(this.#timeoutMs, async () => {
        // A single message is one that the caller has seen as it is; an earlier run's steps must not be taken for its own.
        if (said.length < 2) await this.#persistence.delete(key)
        else await this.#persistence.set(key, { version: 1, messages: said }, { ttlSeconds: this.#ttlSeconds })
      })
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
    // By key: of two messages with one key the newer one is meant, and a client that repeats one gets no more for it.
    const places = new Map<string, number>()
    for (const [index, message] of messages.entries()) {
      if (message.role !== 'assistant' || !message.tool_calls?.length) continue
      places.set(keyOf(message.tool_calls, messages[index - 1], userId, model), index)
    }
    if (places.size === 0) return messages
    try {
      const read = [...places].map(async ([key, index]) => [index, stepsIn(await this.#persistence.get(key))] as const)
      const steps = new Map(await bounded(this.#timeoutMs, () => Promise.all(read)))
      return messages.flatMap((message, index) => steps.get(index) ?? [message])
    } catch (error) {
      call.onWarning?.('the earlier steps of this run could not be read: it goes on without them', error)
      return messages
    }
  }
}

/** Undefined when there are none, or none that this version understands. */
const stepsIn = (value: unknown): ChatMessage[] | undefined =>
  isObject(value) && value.version === 1 && Array.isArray(value.messages) ? value.messages : undefined

/** The calls of the last step that nobody has answered: the caller's. Some providers give ids again in the next step. */
function openCalls(said: readonly ChatMessage[]): ToolCall[] {
  const at = said.findLastIndex(({ role }) => role === 'assistant')
  const last = said[at]
  const answered = new Set(
    said.slice(at).map((message) => (message.role === 'tool' ? message.tool_call_id : undefined)),
  )
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
  // What a client sends as calls need not be any.
  const named = calls.map((call) => [call.id, 'function' in call ? call.function?.name : call.custom?.name])
  const text = JSON.stringify([model, named, before?.role, before && 'content' in before ? before.content : null])
  return userKey('steps:', userId, createHash('sha256').update(text).digest('hex'))
}
