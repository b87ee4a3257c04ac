import { randomBytes } from 'node:crypto'
import { bounded } from '../agent/bounded.ts'
import { conversationsUnavailable, TurnLocks, type TurnLocksOptions } from '../agent/turn-locks.ts'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import { assertHeld, LeaseLost } from '../store/lease.ts'
import type { ResponseStore } from '../store/response-store.ts'
import { userKey } from '../store/stored-key.ts'
import { newItemId } from './item-ids.ts'
import type { OutputItem, StoredItem } from './response-types.ts'

/** An item of a conversation. Its id is its own there. */
export type ConversationItem = StoredItem & { id: string }

/** A conversation as it is kept: as a whole, so that a turn is one write. */
export interface ConversationRecord {
  id: string
  /** Seconds since 1970. */
  created_at: number
  metadata: Readonly<Record<string, string>>
  /** Oldest first. */
  items: readonly ConversationItem[]
}

/** A conversation that nobody else changes until it is released. */
export interface OpenConversation {
  /** As it was when it was opened. */
  readonly record: ConversationRecord
  /** Keeps it with what is new. @throws GatewayError `store_unavailable`; `conversation_locked` when another had it since */
  save(changes: Partial<Pick<ConversationRecord, 'metadata' | 'items'>>): Promise<ConversationRecord>
  /** @throws as {@link save} */
  remove(): Promise<void>
  /** A second time does nothing. */
  release(): void
}

export interface ConversationRecordsOptions extends Omit<TurnLocksOptions, 'writeTimeoutMs'> {
  /** Milliseconds that the store may take. */
  timeoutMs: number
  /** How long a conversation is kept after its last change. Default: as the store keeps responses. */
  ttlSeconds?: number | undefined
}

/**
 * The conversations of the Conversations API, each user's own. Every method fails with `store_unavailable` when the store
 * cannot be reached in time.
 */
export class ConversationRecords {
  readonly #store: ResponseStore
  readonly #locks: TurnLocks
  readonly #timeoutMs: number
  readonly #options: { ttlSeconds?: number }

  constructor(store: ResponseStore, { leases, lockTimeoutMs, timeoutMs, ttlSeconds }: ConversationRecordsOptions) {
    this.#store = store
    this.#locks = new TurnLocks({ leases, lockTimeoutMs, writeTimeoutMs: timeoutMs })
    this.#timeoutMs = timeoutMs
    this.#options = ttlSeconds === undefined ? {} : { ttlSeconds }
  }

  async create(
    userId: string | null,
    content: Pick<ConversationRecord, 'metadata' | 'items'>,
  ): Promise<ConversationRecord> {
    const id = `conv_${randomBytes(24).toString('hex')}`
    const record = { id, created_at: Math.floor(Date.now() / 1000), ...content }
    await this.#reach(() => this.#store.set(userId, id, { version: 1, ...record }, this.#options))
    return record
  }

  /** Undefined when there is none, or it is another user's. */
  async load(userId: string | null, id: string): Promise<ConversationRecord | undefined> {
    if (!isConversationId(id)) return undefined
    const value = await this.#reach(() => this.#store.get(userId, id))
    return isRecord(value) ? value : undefined
  }

  /**
   * To change it, or to take a turn of it: nobody else does until it is released. Undefined as {@link load}.
   *
   * @throws GatewayError `conversation_locked`, or `client_closed` when the signal ends the waiting
   */
  async open(userId: string | null, id: string, signal?: AbortSignal): Promise<OpenConversation | undefined> {
    if (!isConversationId(id)) return undefined
    const lock = await this.#locks.take(userKey('response-conversation:', userId, id), signal)
    try {
      const record = await this.load(userId, id)
      if (!record) {
        lock.release()
        return undefined
      }
      return {
        record,
        save: async (changes) => {
          const changed = { ...record, ...changes }
          const value = { version: 1, ...changed }
          await lock.write((lease) => this.#store.set(userId, id, value, { ...this.#options, lease })).catch(refuse)
          return changed
        },
        remove: async () => {
          const write = lock.write(async (lease) => {
            assertHeld(lease)
            await this.#store.delete(userId, id)
          })
          await write.catch(refuse)
        },
        release: () => lock.release(),
      }
    } catch (error) {
      lock.release()
      throw error
    }
  }

  async #reach<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await bounded(this.#timeoutMs, work)
    } catch (error) {
      throw conversationsUnavailable(error)
    }
  }
}

/**
 * With more of them. One that is in it already stays as it is; another of the same id, or without one (providers and clients may
 * repeat theirs), gets one of its own.
 */
export function withItems(
  items: readonly ConversationItem[],
  added: readonly (StoredItem | OutputItem)[],
): readonly ConversationItem[] {
  const all = new Map(items.map((item) => [item.id, item]))
  for (const item of added) {
    const known = item.id ? all.get(item.id) : undefined
    if (known && JSON.stringify(known) === JSON.stringify(item)) continue
    const id = item.id && !known ? item.id : newItemId(item.type)
    all.set(id, { ...item, id } as ConversationItem)
  }
  return [...all.values()]
}

function refuse(cause: unknown): never {
  if (!(cause instanceof LeaseLost)) throw conversationsUnavailable(cause)
  const message = 'this conversation was changed by another request meanwhile: nothing was changed by this one'
  throw new GatewayError('conversation_locked', message, { cause, retryAfter: 1 })
}

const isConversationId = (id: string): boolean => /^conv_[\da-f]{48}$/.test(id)

const isRecord = (value: unknown): value is ConversationRecord =>
  isObject(value) && value.version === 1 && Array.isArray(value.items) && isObject(value.metadata)
