import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { Lease, Leases } from '../store/lease.ts'
import { MemoryLeases } from '../store/memory-leases.ts'
import { userKey } from '../store/stored-key.ts'
import type { CallOptions, ConversationReport, LLMClient } from '../types.ts'
import { bounded, TimeoutError } from './bounded.ts'
import { ConversationHistory, type TruncateLimits } from './conversation-history.ts'
import type { ConversationKey, ConversationLoaderPlugin } from './loaders.ts'
import { type OpenTurn, remembered } from './remembered.ts'

export interface ConversationsOptions {
  loader: ConversationLoaderPlugin
  /** Where turns wait for each other. Default: in this process. */
  leases?: Leases | undefined
  /** Milliseconds that a turn waits for the one before it; then it is refused with 409. Default 10 000. */
  lockTimeoutMs?: number | undefined
  /** Milliseconds that the loader may take to load or to save. Default 5000. */
  loaderTimeoutMs?: number
}

/** Conversations, one turn at a time each. */
export class Conversations {
  readonly #loader: ConversationLoaderPlugin
  readonly #leases: Leases
  readonly #lockTimeoutMs: number
  readonly #loaderTimeoutMs: number

  constructor({ loader, leases, lockTimeoutMs = 10_000, loaderTimeoutMs = 5000 }: ConversationsOptions) {
    this.#loader = loader
    this.#leases = leases ?? new MemoryLeases()
    this.#lockTimeoutMs = lockTimeoutMs
    this.#loaderTimeoutMs = loaderTimeoutMs
  }

  /** A client whose requests are turns of this conversation. `limits`: what of it is sent and kept. Default: everything. */
  remembering(client: LLMClient, key: ConversationKey, limits?: TruncateLimits): LLMClient {
    return remembered(client, (call) => this.#open(key, call), limits)
  }

  async #open(key: ConversationKey, call: CallOptions): Promise<OpenTurn> {
    const lease = await this.#acquire(key, call)
    let late: Promise<unknown> | undefined
    try {
      return {
        history: await this.#load(key, call),
        save: async (history) => {
          const report = timed('save', call.onConversation)
          const saving = (async () => this.#loader.save(key, history, { lease }))()
          const saved = bounded(this.#loaderTimeoutMs, () => saving)
          await saved.catch((error: unknown) => {
            report('failed')
            if (error instanceof TimeoutError) late = saving
            throw error
          })
          report('ok')
        },
        // What is written late must not come after what the next turn writes.
        release: () => {
          if (late) void settled(late, patience * this.#loaderTimeoutMs).then(() => lease.release())
          else lease.release()
        },
      }
    } catch (error) {
      lease.release()
      throw error
    }
  }

  async #acquire({ userId, conversationId }: ConversationKey, { signal, onConversation }: CallOptions): Promise<Lease> {
    const report = timed('lock', onConversation)
    try {
      const options = { waitMs: this.#lockTimeoutMs, signal }
      const lease = await this.#leases.acquire(userKey('conversation:', userId, conversationId), options)
      report(lease ? 'ok' : 'locked')
      if (lease) return lease
    } catch (error) {
      report(signal?.aborted ? 'aborted' : 'failed')
      throw signal?.aborted ? abortedCall(signal.reason) : unavailable(error)
    }
    throw new GatewayError('conversation_locked', 'another turn of this conversation is in progress', { retryAfter: 1 })
  }

  async #load(key: ConversationKey, { signal, onConversation }: CallOptions): Promise<ConversationHistory> {
    const report = timed('load', onConversation)
    try {
      const history = await bounded(this.#loaderTimeoutMs, () => this.#loader.load(key))
      report('ok')
      if (signal?.aborted) throw abortedCall(signal.reason)
      // The loader may keep the very object: a turn that fails must not have changed it.
      return history?.fork() ?? new ConversationHistory()
    } catch (error) {
      report('failed')
      throw error instanceof GatewayError ? error : unavailable(error)
    }
  }
}

/** Tells who listens what came of it, and how long it took. Only what is told first counts. */
function timed(operation: ConversationReport['operation'], onConversation: CallOptions['onConversation']) {
  const startedAt = performance.now()
  let isTold = false
  return (outcome: ConversationReport['outcome']): void => {
    if (!isTold) onConversation?.({ operation, outcome, durationMs: performance.now() - startedAt })
    isTold = true
  }
}

/** How many times as long as it may take a save is waited for that nobody waits for any more. */
const patience = 12

/** Resolves when the work is over, well or not, or after this time. */
async function settled(work: Promise<unknown>, ms: number): Promise<void> {
  await bounded(ms, () => work).catch(() => {})
}

const unavailable = (cause: unknown): GatewayError =>
  new GatewayError('store_unavailable', 'the store of conversations cannot be reached', { cause, retryAfter: 1 })
