import { bounded } from '../agent/bounded.ts'
import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { Persistence } from '../store/persistence.ts'
import type { CacheOutcome, CallOptions, LLMClient } from '../types.ts'
import { type CacheQuestion, cacheKey } from './cache-key.ts'
import { type AnswerForm, answerIn, completionForm, embeddingForm, keptAnswer, streamForm } from './kept-answer.ts'
import { SharedAnswer } from './shared-answer.ts'

export interface CachedOptions {
  /** Where answers are kept. While it does not answer, nothing is found in it, and nothing fails. */
  store: Persistence
  /** How long an answer is given again. */
  ttlSeconds: number
  /** Whether answers are for the user to whom they were given, or for all. Default `user`. */
  scope?: 'user' | 'all' | undefined
  /** A longer answer, in bytes of JSON, is passed on and not kept. Default 1 MiB. */
  maxBytes?: number | undefined
  /** The model, and where its requests go: another one finds nothing of this one's. Default: the client's provider and model. */
  plan?: string
  /** Milliseconds that the store may take. Default 200. */
  storeTimeoutMs?: number
}

/** One request: what it is the key of, and how it is asked. */
interface Asked<Item> {
  key: string
  form: AnswerForm<Item>
  ask(call: CallOptions): AsyncIterable<Item>
}

/**
 * A client that gives an answer again to whoever asks exactly the same, and asks once for all who ask at the same time. Only whole
 * answers are kept. Steps of an agent's run and turns of a conversation pass it by, as the Responses API of a provider does.
 *
 * @throws TypeError for an agent: what it does is more than its answer
 */
export function cached(client: LLMClient, options: CachedOptions): LLMClient {
  const { provider, model, embed, responses } = client
  if (client.agent) throw new TypeError('an agent is not to be cached: what it does is more than its answer')
  const { store, ttlSeconds, maxBytes = 1024 * 1024, plan = `${provider}/${model}`, storeTimeoutMs = 200 } = options
  /** What is being made, by key. */
  const shared = new Map<string, SharedAnswer<object>>()

  const keyOf = ({ operation, request }: Pick<CacheQuestion, 'operation' | 'request'>, call: CallOptions): string =>
    cacheKey({ operation, request, plan, userId: options.scope === 'all' ? undefined : (call.userId ?? null) })

  async function lookUp<Item>(key: string): Promise<ReturnType<typeof answerIn<Item>> | 'miss' | 'error'> {
    try {
      const value = await bounded(storeTimeoutMs, () => store.get(key))
      return value === undefined ? 'miss' : answerIn<Item>(value)
    } catch {
      // The store tells of it by itself.
      return 'error'
    }
  }

  /** @param known What is known without a look at what is kept. */
  function share<Item extends object>(
    { key, form, ask }: Asked<Item>,
    call: CallOptions,
    known?: CacheOutcome,
  ): SharedAnswer<Item> {
    let outcome = known
    const forget = (): void => {
      if (shared.get(key) === (answer as SharedAnswer<object>)) shared.delete(key)
    }
    const answer: SharedAnswer<Item> = new SharedAnswer<Item>({
      maxBytes,
      call,
      async *make(own) {
        const found = known ?? (await lookUp<Item>(key))
        outcome = typeof found === 'object' ? 'hit' : found
        if (own.signal?.aborted) throw abortedCall(own.signal.reason)
        answer.settle(outcome)
        if (typeof found === 'object') {
          for (const warning of found.warnings) own.onWarning?.(warning)
          yield* found.pieces
        } else yield* ask(own)
      },
      onClosed: forget,
      onWhole(pieces) {
        const isKept = outcome !== 'hit' && form.isWhole(pieces)
        const write = (): Promise<void> => store.set(key, keptAnswer(pieces, answer.warnings), { ttlSeconds })
        // Until it is there, whoever comes joins those who have it.
        const written = isKept ? bounded(storeTimeoutMs, write) : Promise.resolve()
        written.catch(() => {}).finally(forget)
      },
    })
    return answer
  }

  async function* answers<Item extends object>(asked: Asked<Item>, call: CallOptions): AsyncGenerator<Item> {
    const isFresh = forbids(call, 'no-cache')
    for (let isSecond = false; ; isSecond = true) {
      const there = isFresh ? undefined : (shared.get(asked.key) as SharedAnswer<Item> | undefined)
      const answer = there ?? share(asked, call, isFresh ? 'bypass' : undefined)
      if (!isFresh) shared.set(asked.key, answer as SharedAnswer<object>)
      const reader = answer.join(call)
      let hasBegun = false
      try {
        for (let next = await reader.next(); !next.done; next = await reader.next()) {
          hasBegun = true
          yield next.value
        }
        return
      } catch (error) {
        // Of those who shared a failure that may pass, one asks again, for all; a second failure is everybody's.
        if (!there || hasBegun || isSecond || !mayPass(error) || call.signal?.aborted) throw error
      } finally {
        await reader.return()
      }
    }
  }

  /** The cache has nothing to do with it. What is in doubt is asked anew. */
  function passing(call: CallOptions): boolean {
    if (call.run) return true
    if (call.conversationId === undefined && !forbids(call, 'no-store')) return false
    call.onCache?.({ outcome: 'bypass', isBilled: true })
    return true
  }

  async function whole<Item extends object>(asked: Asked<Item>, call: CallOptions): Promise<Item> {
    let answer: Item | undefined
    for await (const item of answers(asked, call)) answer = item
    if (answer) return answer
    throw new GatewayError('upstream_malformed', 'the answer is empty')
  }

  return {
    provider,
    model,
    responses,
    async complete(request, call = {}) {
      if (passing(call)) return client.complete(request, call)
      const key = keyOf({ operation: 'complete', request }, call)
      return whole({ key, form: completionForm, ask: (own) => one(client.complete(request, own)) }, call)
    },
    stream(request, call = {}) {
      if (passing(call)) return client.stream(request, call)
      const key = keyOf({ operation: 'stream', request }, call)
      return answers({ key, form: streamForm, ask: (own) => client.stream(request, own) }, call)
    },
    ...(embed
      ? {
          async embed(request, call = {}) {
            if (passing(call)) return embed.call(client, request, call)
            const key = keyOf({ operation: 'embed', request }, call)
            const ask = (own: CallOptions) => one(embed.call(client, request, own))
            return whole({ key, form: embeddingForm, ask }, call)
          },
        }
      : {}),
    ...(client.unavailableMs ? { unavailableMs: () => client.unavailableMs?.() } : {}),
    close: async () => client.close?.(),
  }
}

/** A whole answer as its only piece. */
async function* one<Item>(answer: Promise<Item>): AsyncGenerator<Item> {
  yield await answer
}

/** `no-store` is neither looked up nor kept; `no-cache` is asked for anew, and then kept (RFC 9111, 5.2.1). */
const forbids = ({ cacheControl }: CallOptions, directive: 'no-store' | 'no-cache'): boolean =>
  (cacheControl?.() ?? '')
    .toLowerCase()
    .split(',')
    .some((part) => part.trim() === directive)

/** What is wrong with a request is wrong the second time, and a provider that limits the rate is not asked again at once. */
const mayPass = (error: unknown): boolean =>
  error instanceof GatewayError && error.status >= 500 && error.kind !== 'shutting_down'
