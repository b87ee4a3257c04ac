import { isObject } from '../json.ts'
import type { ResponseStore } from '../store/response-store.ts'
import { responseIdOf } from './item-ids.ts'
import type { OutputItem, ResponseObject, StoredItem } from './response-types.ts'
import { extended, newThread, type Thread, type ThreadBlock } from './thread.ts'
import { withinReach } from './within-reach.ts'

/** A response as it is kept. */
export interface ResponseRecord {
  response: ResponseObject
  input: StoredItem[]
  thread: Thread
  /** To be kept with it. */
  block?: ThreadBlock
}

/** What a response builds on. */
export type History = Pick<ResponseRecord, 'thread' | 'block'> & { items: StoredItem[] }

/** The part that those which build on a response need. */
interface Items {
  input: StoredItem[]
  output: OutputItem[]
}

/** How long a response under way counts as such without a sign of life. */
const lifeSeconds = 30

/** Signs of life come several times as often. */
export const heartbeatMs = (lifeSeconds * 1000) / 6

/** How long it is known that somebody ended a response: longer than anybody makes one. */
const endSeconds = 86_400

/**
 * Responses in their store: the items apart from the rest, which long threads need not read. Every method fails with
 * `store_unavailable` when the store cannot be reached in time.
 */
export class ResponseRecords {
  readonly #store: ResponseStore
  readonly #timeoutMs: number

  constructor(store: ResponseStore, timeoutMs: number) {
    this.#store = store
    this.#timeoutMs = timeoutMs
  }

  /** Resolves when any replica's {@link load} would find it, and {@link resolved} its items once it is over. */
  save(userId: string | null, { response, input, thread, block }: ResponseRecord): Promise<void> {
    const { id, output, ...rest } = response
    return this.#reach(async (store) => {
      const items: Items = { input, output }
      // What leads to the others comes last: who finds it finds all.
      await Promise.all([
        store.set(userId, itemsKey(id), items),
        block && store.set(userId, blockKey(id), block as ThreadBlock),
        // Items of providers that speak the API themselves keep ids that do not tell whose they are.
        ...strangersIn(response).map((itemId) => store.set(userId, ownerKey(itemId), { owner: id })),
      ])
      await store.set(userId, id, { version: 1, response: { id, ...rest }, thread })
    })
  }

  /** Undefined when there is none, or it is another user's. */
  async load(userId: string | null, id: string): Promise<ResponseRecord | undefined> {
    const [head, items, end] = await this.#reach((store) => store.getMany(userId, [id, itemsKey(id), endKey(id)]))
    // What its maker may have written since does not bring it back.
    if (!isHead(head) || !isItems(items) || isDeletion(end)) return undefined
    return { response: { ...head.response, output: items.output }, input: items.input, thread: head.thread }
  }

  /** As {@link save}, by whom {@link claimEnd} has let. One that was deleted meanwhile leaves nothing behind. */
  async saveEnd(userId: string | null, record: ResponseRecord): Promise<void> {
    await this.save(userId, record)
    const { id } = record.response
    if (isDeletion(await this.#reach((store) => store.get(userId, endKey(id))))) await this.remove(userId, id)
  }

  /** From now on there is none, whatever its maker still writes. */
  remove(userId: string | null, id: string): Promise<void> {
    return this.#reach(async (store) => {
      // For as long as what a maker may still write.
      await store.set(userId, endKey(id), { deleted: true })
      await Promise.all([id, itemsKey(id), lifeKey(id)].map((key) => store.delete(userId, key)))
    })
  }

  /** Of all who would end a response that is under way, its maker and others, one may. True when it is this one. */
  claimEnd(userId: string | null, id: string): Promise<boolean> {
    return this.#reach((store) => store.add(userId, endKey(id), { ended: true }, { ttlSeconds: endSeconds }))
  }

  /** Somebody is ending it, or has ended or deleted it. */
  async isClaimed(userId: string | null, id: string): Promise<boolean> {
    return (await this.#reach((store) => store.get(userId, endKey(id)))) !== undefined
  }

  /** Everything before a response `id`, which follows `previous`; undefined where a part of it is not there any more. */
  async history(userId: string | null, previous: ResponseRecord, id: string): Promise<History | undefined> {
    const { thread } = previous
    const last = thread.block === null ? undefined : await this.#block(userId, thread.block)
    if (thread.block !== null && !last) return undefined
    const blocks = await this.#reach((store) => store.getMany(userId, (last?.before ?? []).map(blockKey)))
    if (!blocks.every(isBlock)) return undefined
    const ids = [...blocks.flatMap((block) => block.ids), ...(last?.ids ?? []), ...thread.ids]
    const before = await this.#reach((store) => store.getMany(userId, ids.map(itemsKey)))
    if (!before.every(isItems)) return undefined
    const items = [...before, { input: previous.input, output: previous.response.output }].flatMap(allOf)
    return { items, ...extended(thread, previous.response.id, id, last?.before ?? []) }
  }

  /** Nothing before a response. */
  noHistory(id: string): History {
    return { items: [], thread: newThread(id) }
  }

  /** The items with what references stand for in their place, `known` items first; one that leads nowhere stays. */
  async resolved(
    userId: string | null,
    items: readonly StoredItem[],
    known: readonly StoredItem[] = [],
  ): Promise<StoredItem[]> {
    const byId = new Map(known.map((item) => [item.id, item]))
    const open = items.flatMap(({ type, id }) => (type === 'item_reference' && id && !byId.has(id) ? [id] : []))
    const strangers = open.filter((id) => !responseIdOf(id))
    const owned = strangers.length ? await this.#reach((store) => store.getMany(userId, strangers.map(ownerKey))) : []
    const told = owned.flatMap((entry) => (isObject(entry) && typeof entry.owner === 'string' ? [entry.owner] : []))
    const owners = [...new Set([...open.flatMap((id) => responseIdOf(id) ?? []), ...told])]
    const found = owners.length > 0 ? await this.#reach((store) => store.getMany(userId, owners.map(itemsKey))) : []
    for (const item of found.filter(isItems).flatMap(allOf)) byId.set(item.id, item)
    return items.map((item) => (item.type === 'item_reference' ? (byId.get(item.id) ?? item) : item))
  }

  /** A response that is under way gives a sign of life; so does a chat completion. */
  beat(userId: string | null, id: string): Promise<void> {
    return this.#reach((store) => store.set(userId, lifeKey(id), { alive: true }, { ttlSeconds: lifeSeconds }))
  }

  async isAlive(userId: string | null, id: string): Promise<boolean> {
    return this.#reach(async (store) => (await store.get(userId, lifeKey(id))) !== undefined)
  }

  async #block(userId: string | null, id: string): Promise<ThreadBlock | undefined> {
    const block = await this.#reach((store) => store.get(userId, blockKey(id)))
    return isBlock(block) ? block : undefined
  }

  #reach<T>(work: (store: ResponseStore) => Promise<T>): Promise<T> {
    return withinReach(this.#timeoutMs, () => work(this.#store))
  }
}

// No id of a response has a colon: nobody asks for these as if they were one.
const itemsKey = (id: string): string => `items:${id}`
const blockKey = (id: string): string => `block:${id}`
const lifeKey = (id: string): string => `life:${id}`
const endKey = (id: string): string => `end:${id}`
const ownerKey = (itemId: string): string => `owner:${itemId}`

const strangersIn = ({ status, output }: ResponseObject): string[] =>
  status === 'queued' || status === 'in_progress'
    ? []
    : output.flatMap(({ id }) => (id && responseIdOf(id) === undefined ? [id] : []))

const allOf = ({ input, output }: Items): StoredItem[] => [...input, ...(output as StoredItem[])]

const isHead = (value: unknown): value is { response: Omit<ResponseObject, 'output'>; thread: Thread } =>
  isObject(value) && value.version === 1 && isObject(value.response) && isObject(value.thread)
const isItems = (value: unknown): value is Items =>
  isObject(value) && Array.isArray(value.input) && Array.isArray(value.output)
const isBlock = (value: unknown): value is ThreadBlock =>
  isObject(value) && Array.isArray(value.ids) && Array.isArray(value.before)
const isDeletion = (value: unknown): boolean => isObject(value) && value.deleted === true
