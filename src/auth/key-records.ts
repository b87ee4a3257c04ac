import { changeValue, type LeasedStore, reached } from '../store/leased-value.ts'
import { getMany } from '../store/persistence.ts'
import type { IndexPageOptions, Place, SortedIndex } from '../store/sorted-index.ts'
import {
  digestOf,
  isKeyId,
  isKeyRecord,
  type KeyRecord,
  type KeySecret,
  type NewSecret,
  newKeyId,
  newSecret,
} from './stored-key.ts'

export interface KeyRecordsOptions extends LeasedStore {
  /** Which keys there are. */
  index: SortedIndex
}

/** What an operator says of a key. The user is by default the key's id. */
export type KeySettings = Pick<KeyRecord, 'name' | 'models' | 'limits' | 'expiresAt'> & { user?: string }

/** What is changed: null takes a setting away. */
export type KeyChanges = Pick<Partial<KeyRecord>, 'name' | 'user'> & {
  [Name in 'models' | 'limits' | 'expiresAt']?: KeyRecord[Name] | null
}

/** A key and its text, which is known now and never again. */
export interface MadeKey {
  key: string
  record: KeyRecord
}

const indexKey = 'admin:keys'
const recordKey = (id: string): string => `admin:key:{${id}}`
const secretKey = (sha256: string): string => `admin:secret:{${sha256}}`

/**
 * Keys of clients in the store, for all replicas. Of the key itself there is only the SHA-256. What is changed at once, on any
 * replica, is changed one after the other. Every method fails with `store_unavailable` when the store cannot be reached.
 */
export class KeyRecords {
  readonly #store: LeasedStore
  readonly #index: SortedIndex

  constructor({ index, ...store }: KeyRecordsOptions) {
    this.#store = store
    this.#index = index
  }

  /** Resolves when every replica would find it. */
  async create(settings: KeySettings): Promise<MadeKey> {
    const now = Date.now()
    const { key, secret } = newSecret(now)
    const id = newKeyId()
    const owned = { user: id, ...settings }
    const record: KeyRecord = { version: 1, id, ...owned, secrets: [secret], createdAt: now, updatedAt: now }
    // What makes it work comes last: a key whose text nobody has got is never there.
    await this.#point(secret, id)
    await reached(() => this.#index.add(indexKey, { at: now, member: id }))
    await reached(() => this.#store.persistence.set(recordKey(id), record))
    return { key, record }
  }

  /** Undefined when there is none. */
  async get(id: string): Promise<KeyRecord | undefined> {
    if (!isKeyId(id)) return undefined
    const value = await reached(() => this.#store.persistence.get(recordKey(id)))
    return isKeyRecord(value) ? value : undefined
  }

  /** The key that has, or had, a text with this digest. */
  async find(sha256: string): Promise<KeyRecord | undefined> {
    const id = await reached(() => this.#store.persistence.get(secretKey(sha256)))
    return typeof id === 'string' ? this.get(id) : undefined
  }

  /** In the order in which they were made, or the newest first; with the places where they stand. */
  async list(options: IndexPageOptions): Promise<{ places: Place[]; records: KeyRecord[] }> {
    const places = await reached(() => this.#index.page(indexKey, options))
    const keys = places.map(({ member }) => recordKey(member))
    const values = await reached(() => getMany(this.#store.persistence, keys))
    return { places, records: values.filter(isKeyRecord) }
  }

  /** One that has been revoked stays as it is. Undefined when there is none. */
  update(id: string, changes: KeyChanges): Promise<KeyRecord | undefined> {
    return this.#change(id, (record) => {
      if (record.revokedAt !== undefined) return record
      const kept = Object.entries({ ...record, ...changes }).filter(([, value]) => value !== null)
      return { ...(Object.fromEntries(kept) as unknown as KeyRecord), updatedAt: Date.now() }
    })
  }

  /** It works no more. The record stays, for those who ask later. Undefined when there is none. */
  revoke(id: string): Promise<KeyRecord | undefined> {
    return this.#change(id, (record) => {
      const now = Date.now()
      return record.revokedAt === undefined ? { ...record, revokedAt: now, updatedAt: now } : record
    })
  }

  /**
   * A new text for the same key, which keeps its id, and with it its limits and usage. Those before it work for another `overlapMs`.
   * Undefined when there is no such key, or it has been revoked.
   */
  async rotate(id: string, overlapMs: number): Promise<MadeKey | undefined> {
    if ((await this.get(id))?.revokedAt !== undefined) return undefined
    const made: NewSecret = newSecret()
    await this.#point(made.secret, id)
    const record = await this.#change(id, (current) => {
      if (current.revokedAt !== undefined) return current
      const now = Date.now()
      const until = now + overlapMs
      const old = current.secrets
        .filter(({ expiresAt, sha256 }) => sha256 !== made.secret.sha256 && (expiresAt ?? until) > now)
        .map((secret) => ({ ...secret, expiresAt: Math.min(secret.expiresAt ?? until, until) }))
      return { ...current, secrets: [...old, made.secret], rotatedAt: now, updatedAt: now }
    })
    if (!record?.secrets.some(({ sha256 }) => sha256 === digestOf(made.key))) return undefined
    return { key: made.key, record }
  }

  async #change(id: string, change: (record: KeyRecord) => KeyRecord): Promise<KeyRecord | undefined> {
    if (!isKeyId(id)) return undefined
    const kept = await changeValue(this.#store, recordKey(id), (value) =>
      isKeyRecord(value) ? change(value) : undefined,
    )
    return isKeyRecord(kept) ? kept : undefined
  }

  /** From the digest of a text to the key. */
  #point({ sha256 }: KeySecret, id: string): Promise<void> {
    return reached(() => this.#store.persistence.set(secretKey(sha256), id))
  }
}
