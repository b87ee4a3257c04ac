import { LRUCache } from 'lru-cache'
import { GatewayError } from '../server/errors.ts'
import type { AuthPlugin, AuthVerifyResult } from './auth-plugin.ts'
import { bearerKeyIn } from './bearer-key-auth.ts'
import type { KeyRecords } from './key-records.ts'
import { digestOf, isStoredKey, type KeyRecord, opens, principalOf } from './stored-key.ts'

export interface StoredKeyAuthOptions {
  records: Pick<KeyRecords, 'find'>
  /** Asked first: the keys of the configuration, or a plugin of the host's. Default: none. */
  configured?: AuthPlugin | undefined
  /** How long what the store said is simply believed. Default 700 ms. */
  freshMs?: number
  /** How long a known key is believed while the store is asked anew, in the background. Default 1400 ms; 2 s less what a store takes. */
  refreshMs?: number
  /** How long a known key is believed while the store cannot be reached. Default 60 000 ms. */
  staleMs?: number
  /** How many keys are remembered; of unknown ones, as many. Default 10 000. */
  maxKeys?: number
}

/** What the store said of a digest, when it was asked. */
interface Known {
  record: KeyRecord
  principal: AuthVerifyResult
  askedAt: number
}

/** After the store failed it is taken to be away for so long, in milliseconds: nobody waits for it who has a known key. */
const awayMs = 1500
/** Between two attempts to reach it meanwhile. */
const retryMs = 250

/**
 * Authenticates keys of the store, beside those of the configuration. Changes are effective on every replica within 2 s: for
 * that long, and no longer, what the store said is believed. While it is away, known keys work on for `staleMs`; of others nobody
 * can say whether they are good, so that is a 503, and never a 401.
 */
export class StoredKeyAuth implements AuthPlugin {
  readonly #records: StoredKeyAuthOptions['records']
  readonly #configured: AuthPlugin | undefined
  readonly #freshMs: number
  readonly #refreshMs: number
  readonly #staleMs: number
  readonly #known: LRUCache<string, Known>
  /** When the store last said that there is no such key. Apart, so that whoever makes up keys pushes out no real one. */
  readonly #unknown: LRUCache<string, number>
  readonly #lookups = new Map<string, Promise<Known | undefined>>()
  #failedAt = Number.NEGATIVE_INFINITY

  constructor(options: StoredKeyAuthOptions) {
    const { records, configured, freshMs = 700, refreshMs = 1400, staleMs = 60_000, maxKeys = 10_000 } = options
    this.#records = records
    this.#configured = configured
    this.#freshMs = freshMs
    this.#refreshMs = refreshMs
    this.#staleMs = staleMs
    this.#known = new LRUCache({ max: maxKeys })
    this.#unknown = new LRUCache({ max: maxKeys })
  }

  /** @throws Error when no key was sent, or one that is not good; GatewayError `store_unavailable` when nobody can say */
  async verify(headers: Headers): Promise<AuthVerifyResult> {
    const key = bearerKeyIn(headers)
    const sha256 = key !== undefined && isStoredKey(key) ? digestOf(key) : undefined
    // One that was found here is none of the configured ones: they were asked before.
    const remembered = sha256 === undefined ? undefined : this.#remembered(sha256)
    if (sha256 !== undefined && remembered) return principalIn(remembered, sha256)
    try {
      if (this.#configured) return await this.#configured.verify(headers)
    } catch (error) {
      if (sha256 === undefined) throw error
    }
    if (key === undefined) throw new Error('no API key was sent: use the header Authorization: Bearer <key>')
    const known = sha256 === undefined ? undefined : await this.#asked(sha256)
    if (sha256 === undefined || !known) throw new Error('incorrect API key')
    return principalIn(known, sha256)
  }

  /** What may be believed without waiting for the store; of a key that is not known, nothing. */
  #remembered(sha256: string): Known | undefined {
    const known = this.#known.get(sha256)
    if (!known) return undefined
    const now = performance.now()
    const age = now - known.askedAt
    if (age < this.#freshMs) return known
    const isAway = now - this.#failedAt < awayMs
    if (age >= (isAway ? this.#staleMs : this.#refreshMs)) return undefined
    if (!isAway || now - this.#failedAt > retryMs) this.#lookup(sha256).catch(() => undefined)
    return known
  }

  async #asked(sha256: string): Promise<Known | undefined> {
    const unknownAt = this.#unknown.get(sha256)
    if (unknownAt !== undefined && performance.now() - unknownAt < this.#freshMs) return undefined
    try {
      return await this.#lookup(sha256)
    } catch (error) {
      const known = this.#known.get(sha256)
      if (known && performance.now() - known.askedAt < this.#staleMs) return known
      if (error instanceof GatewayError) throw error
      throw new GatewayError('store_unavailable', 'the store of keys cannot be reached', {
        cause: error,
        retryAfter: 1,
      })
    }
  }

  /** One at a time of each key, whoever waits for it. */
  #lookup(sha256: string): Promise<Known | undefined> {
    const running = this.#lookups.get(sha256)
    if (running) return running
    const lookup = this.#look(sha256).finally(() => this.#lookups.delete(sha256))
    this.#lookups.set(sha256, lookup)
    return lookup
  }

  async #look(sha256: string): Promise<Known | undefined> {
    // What the store says may have been so when it was asked, and not when it answered.
    const askedAt = performance.now()
    try {
      const record = await this.#records.find(sha256)
      if (!record) {
        this.#known.delete(sha256)
        this.#unknown.set(sha256, askedAt)
        return undefined
      }
      this.#unknown.delete(sha256)
      const known = { record, principal: principalOf(record), askedAt }
      this.#known.set(sha256, known)
      return known
    } catch (error) {
      this.#failedAt = performance.now()
      throw error
    }
  }
}

/** @throws Error when it works no more */
function principalIn({ record, principal }: Known, sha256: string): AuthVerifyResult {
  if (!opens(record, sha256)) throw new Error(`the API key ${record.id} has been revoked, or is over`)
  return principal
}
