import { isObject } from '../json.ts'
import { abortedCall } from '../llm/upstream-errors.ts'
import { listOf, type Page, type PageQuery, pageLimits } from '../responses/page.ts'
import { invalid } from '../responses/refusals.ts'
import { withinReach } from '../responses/within-reach.ts'
import type { ResponseStore } from '../store/response-store.ts'
import type { Place, SortedIndex } from '../store/sorted-index.ts'
import { userKey } from '../store/stored-key.ts'
import type { CallOptions, ChatCompletion, ChatMessage, ChatRequest } from '../types.ts'
import { timeOf } from './completion-id.ts'

export type Metadata = Record<string, string>

/** A completion as it is retrieved. */
export type StoredCompletion = ChatCompletion & { metadata: Metadata }

/** Which completions are listed. */
export interface CompletionQuery extends PageQuery {
  /** The model that answered, or that was asked for. */
  model?: string | null
  /** All of these. */
  metadata?: Metadata
}

export interface CompletionRecordsOptions {
  store: ResponseStore
  /** Which completions a user has. */
  index: SortedIndex
  /** How long the store may take, in milliseconds. */
  timeoutMs: number
}

/** A completion as it is kept; its messages are apart, since lists need not read them. */
interface Head {
  version: 1
  completion: ChatCompletion
  metadata: Metadata
  /** What the request asked for, which need not be what the provider calls it. */
  asked: string
}

/** Longer than an update takes. */
const deletionSeconds = 3600

/** How many completions a search looks at in one go. */
const searchSize = 100

/**
 * Stored completions, by the user that they belong to. Every method fails with `store_unavailable` when the store cannot be
 * reached in time.
 */
export class CompletionRecords {
  readonly #store: ResponseStore
  readonly #index: SortedIndex
  readonly #timeoutMs: number

  constructor({ store, index, timeoutMs }: CompletionRecordsOptions) {
    this.#store = store
    this.#index = index
    this.#timeoutMs = timeoutMs
  }

  /** Resolves when any replica would find it. Its id is one of ours. */
  save(userId: string | null, completion: ChatCompletion, request: ChatRequest): Promise<void> {
    const { id } = completion
    const head: Head = { version: 1, completion, metadata: request.metadata ?? {}, asked: request.model }
    const { ttlSeconds } = this.#store
    return this.#reach(async () => {
      // What makes it found comes last: who finds it finds all.
      await Promise.all([
        this.#store.set(userId, messagesKey(id), { messages: request.messages }),
        this.#index.add(indexKey(userId), placeOf(id), { ttlSeconds }),
      ])
      await this.#store.set(userId, id, head)
    })
  }

  /** Undefined when there is none, or it is another user's. */
  async load(userId: string | null, id: string): Promise<StoredCompletion | undefined> {
    const head = await this.#head(userId, id)
    return head && retrieved(head)
  }

  /** The messages that it answers; undefined when there is no such completion. */
  async messages(userId: string | null, id: string): Promise<ChatMessage[] | undefined> {
    const [head, kept] = await this.#reach(() => this.#store.getMany(userId, [id, messagesKey(id)]))
    return isHead(head) && isMessages(kept) ? kept.messages : undefined
  }

  /** Undefined when there is none. It is kept no longer for it. */
  async update(userId: string | null, id: string, metadata: Metadata): Promise<StoredCompletion | undefined> {
    const head = await this.#head(userId, id)
    if (!head) return undefined
    const ttlSeconds = Math.max(1, this.#store.ttlSeconds - (Date.now() - placeOf(id).at) / 1000)
    await this.#reach(() => this.#store.set(userId, id, { ...head, metadata }, { ttlSeconds }))
    // Deleted meanwhile: what was just written must not bring it back.
    if (await this.#reach(() => this.#store.get(userId, deletionKey(id)))) {
      await this.remove(userId, id)
      return undefined
    }
    return retrieved({ ...head, metadata })
  }

  /** True when there was one. */
  async remove(userId: string | null, id: string): Promise<boolean> {
    if (!(await this.#head(userId, id))) return false
    return this.#reach(async () => {
      await this.#store.set(userId, deletionKey(id), { deleted: true }, { ttlSeconds: deletionSeconds })
      const existed = await this.#store.delete(userId, id)
      await Promise.all([this.#store.delete(userId, messagesKey(id)), this.#index.remove(indexKey(userId), id)])
      return existed
    })
  }

  /** Oldest first unless told. @throws GatewayError `invalid_request` for what is wrong with the query */
  async list(
    userId: string | null,
    query: CompletionQuery,
    { signal }: Pick<CallOptions, 'signal'> = {},
  ): Promise<Page<StoredCompletion>> {
    const { limit, order } = pageLimits(query, 'asc')
    let after = query.after ? afterOf(query.after) : undefined
    const batch = query.model || query.metadata ? searchSize : limit + 1
    const found: StoredCompletion[] = []
    // One more than asked for tells whether there are more.
    while (found.length <= limit) {
      if (signal?.aborted) throw abortedCall(signal.reason)
      const { places, heads } = await this.#batch(userId, { order, after, limit: batch })
      found.push(...heads.filter((head) => fits(head, query)).map(retrieved))
      if (places.length < batch) break
      after = places.at(-1)
    }
    return listOf(found.slice(0, limit), found.length > limit)
  }

  /** What is in the index, and not gone. */
  #batch(userId: string | null, options: Parameters<SortedIndex['page']>[1]) {
    return this.#reach(async () => {
      const places = await this.#index.page(indexKey(userId), options)
      const values = await this.#store.getMany(
        userId,
        places.map(({ member }) => member),
      )
      return { places, heads: values.filter(isHead) }
    })
  }

  async #head(userId: string | null, id: string): Promise<Head | undefined> {
    const head = await this.#reach(() => this.#store.get(userId, id))
    return isHead(head) ? head : undefined
  }

  #reach<T>(work: () => Promise<T>): Promise<T> {
    return withinReach(this.#timeoutMs, work)
  }
}

const indexKey = (userId: string | null): string => userKey('completions:', userId, 'all')
// No id has a colon: nobody asks for these as if they were completions.
const messagesKey = (id: string): string => `messages:${id}`
const deletionKey = (id: string): string => `deleted:${id}`

const placeOf = (id: string): Place => ({ at: timeOf(id) ?? 0, member: id })

function afterOf(id: string): Place {
  if (timeOf(id) === undefined) throw invalid('after', `'after' is not the id of a completion: "${id.slice(0, 80)}"`)
  return placeOf(id)
}

const retrieved = ({ completion, metadata }: Head): StoredCompletion => ({ ...completion, metadata })

const fits = ({ completion, metadata, asked }: Head, query: CompletionQuery): boolean =>
  (!query.model || query.model === completion.model || query.model === asked) &&
  Object.entries(query.metadata ?? {}).every(([key, value]) => Object.hasOwn(metadata, key) && metadata[key] === value)

const isHead = (value: unknown): value is Head =>
  isObject(value) && value.version === 1 && isObject(value.completion) && isObject(value.metadata)
const isMessages = (value: unknown): value is { messages: ChatMessage[] } =>
  isObject(value) && Array.isArray(value.messages)
