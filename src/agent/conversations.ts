import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { Lease, Leases } from '../store/lease.ts'
import { MemoryLeases } from '../store/memory-leases.ts'
import { userKey } from '../store/stored-key.ts'
import type { CallOptions, LLMClient } from '../types.ts'
import { bounded } from './bounded.ts'
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
    try {
      return {
        history: await this.#load(key),
        save: (history) => this.#save(key, history, call),
        release: () => lease.release(),
      }
    } catch (error) {
      lease.release()
      throw error
    }
  }

  async #acquire({ userId, conversationId }: ConversationKey, { signal }: CallOptions): Promise<Lease> {
    const options = { waitMs: this.#lockTimeoutMs, signal }
    const lease = await this.#leases
      .acquire(userKey('conversation:', userId, conversationId), options)
      .catch((error: unknown) => {
        throw signal?.aborted ? abortedCall(signal.reason) : unavailable(error)
      })
    if (lease) return lease
    throw new GatewayError('conversation_locked', 'another turn of this conversation is in progress', { retryAfter: 1 })
  }

  async #load(key: ConversationKey): Promise<ConversationHistory> {
    try {
      const history = await bounded(this.#loaderTimeoutMs, () => this.#loader.load(key))
      // The loader may keep the very object: a turn that fails must not have changed it.
      return history?.fork() ?? new ConversationHistory()
    } catch (error) {
      throw error instanceof GatewayError ? error : unavailable(error)
    }
  }

  /** The answer has been paid for: it is delivered, even if it cannot be kept. */
  async #save(key: ConversationKey, history: ConversationHistory, { onWarning }: CallOptions): Promise<void> {
    try {
      await bounded(this.#loaderTimeoutMs, () => this.#loader.save(key, history))
    } catch (error) {
      onWarning?.('the conversation could not be saved: it does not hold this turn', error)
    }
  }
}

const unavailable = (cause: unknown): GatewayError =>
  new GatewayError('store_unavailable', 'the store of conversations cannot be reached', { cause, retryAfter: 1 })
