import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { Leases } from '../store/lease.ts'
import { userKey } from '../store/stored-key.ts'
import type { CallOptions, LLMClient } from '../types.ts'
import { bounded } from './bounded.ts'
import { ConversationHistory, type TruncateLimits } from './conversation-history.ts'
import type { ConversationKey, ConversationLoaderPlugin } from './loaders.ts'
import { type OpenTurn, remembered } from './remembered.ts'
import { reported } from './reported.ts'
import { conversationsUnavailable, TurnLocks } from './turn-locks.ts'

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
  readonly #locks: TurnLocks
  readonly #loaderTimeoutMs: number

  constructor({ loader, leases, lockTimeoutMs, loaderTimeoutMs = 5000 }: ConversationsOptions) {
    this.#loader = loader
    this.#locks = new TurnLocks({ leases, lockTimeoutMs, writeTimeoutMs: loaderTimeoutMs })
    this.#loaderTimeoutMs = loaderTimeoutMs
  }

  /** A client whose requests are turns of this conversation. `limits`: what of it is sent and kept. Default: everything. */
  remembering(client: LLMClient, key: ConversationKey, limits?: TruncateLimits): LLMClient {
    return remembered(client, (call) => this.#open(key, call), limits)
  }

  async #open(key: ConversationKey, call: CallOptions): Promise<OpenTurn> {
    const name = userKey('conversation:', key.userId, key.conversationId)
    const lock = await reported('lock', call, () => this.#locks.take(name, call.signal))
    try {
      return {
        history: await reported('load', call, () => this.#load(key, call)),
        save: (history) =>
          reported('save', call, () => lock.write(async (lease) => this.#loader.save(key, history, { lease }))),
        release: () => lock.release(),
      }
    } catch (error) {
      lock.release()
      throw error
    }
  }

  async #load(key: ConversationKey, { signal }: CallOptions): Promise<ConversationHistory> {
    try {
      const history = await bounded(this.#loaderTimeoutMs, () => this.#loader.load(key))
      if (signal?.aborted) throw abortedCall(signal.reason)
      // The loader may keep the very object: a turn that fails must not have changed it.
      return history?.fork() ?? new ConversationHistory()
    } catch (error) {
      throw error instanceof GatewayError ? error : conversationsUnavailable(error)
    }
  }
}
