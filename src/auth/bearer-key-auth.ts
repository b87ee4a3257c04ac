import { hash } from 'node:crypto'
import type { AuthPlugin, AuthVerifyResult, KeyLimits } from './auth-plugin.ts'

/** One key: in clear, or as the hex SHA-256 of it, so that a configuration need not hold it. */
export interface BearerKey {
  key?: string
  sha256?: string
  /** Default: derived from the key, see {@link BearerKeyAuth}. */
  user?: string
  /** Ids and patterns of the models that the key may use. Default: all. */
  models?: readonly string[]
  /** What may be used with it. Default: no limits of its own. */
  limits?: KeyLimits
  /** It is refused before this time: RFC 3339, as `2027-01-31T00:00:00Z`. Default: never. */
  notBefore?: string
  /** And from this time on. Two keys of one user overlap while the old one has yet to expire. Default: never. */
  expiresAt?: string
}

export interface BearerKeyAuthOptions {
  /** Key to user id; or a list of keys, or of keys with what belongs to them. */
  keys: Readonly<Record<string, string>> | ReadonlyArray<string | BearerKey>
}

interface StoredKey {
  result: AuthVerifyResult
  /** Milliseconds since 1970. Absent for a key that is good at any time. */
  valid?: { from: number; until: number }
}

/**
 * Authenticates `Authorization: Bearer <key>` against a list held in memory, as SHA-256 digests only.
 *
 * A key without a user gets `key:<prefix>-<hash>`: the first letters of the key, for a person to recognise, and eight
 * digits of its SHA-256, so that two keys with one prefix are two users.
 */
export class BearerKeyAuth implements AuthPlugin {
  /** By SHA-256. */
  #keys = new Map<string, StoredKey>()

  constructor({ keys }: BearerKeyAuthOptions) {
    const list = Array.isArray(keys) ? keys : Object.entries(keys).map(([key, user]) => ({ key, user }))
    for (const item of list) this.#add(typeof item === 'string' ? { key: item } : item)
  }

  /** @throws Error when the header is missing, is not a bearer token, or holds an unknown key. */
  verify(headers: Headers): AuthVerifyResult {
    const header = headers.get('authorization')
    if (!header) throw new Error('no API key was sent: use the header Authorization: Bearer <key>')
    const key = bearerKeyIn(headers)
    if (!key) throw new Error('the Authorization header is not of the form: Bearer <key>')
    return this.verifyKey(key)
  }

  /** As {@link verify}, for a key that was already taken from its header. */
  verifyKey(key: string): AuthVerifyResult {
    // Looking up a digest takes no time that tells anything of a key.
    const stored = this.#keys.get(hash('sha256', key))
    if (!stored) throw new Error('incorrect API key')
    const { valid } = stored
    if (valid) {
      const now = Date.now()
      if (now < valid.from) throw new Error('the API key is not valid yet')
      if (now >= valid.until) throw new Error('the API key has expired')
    }
    return stored.result
  }

  /** Takes over the keys of another one, all at once: what was verified before stays so. */
  become(other: BearerKeyAuth): void {
    this.#keys = other.#keys
  }

  #add({ key, sha256, user, models, limits, notBefore, expiresAt }: BearerKey): void {
    if (!key && !sha256) throw new Error('an API key needs its text or its sha256')
    if (sha256 && !/^[\da-f]{64}$/i.test(sha256)) throw new Error('sha256 must be 64 hexadecimal digits')
    const hex = key ? hash('sha256', key) : String(sha256).toLowerCase()
    if (this.#keys.has(hex)) throw new Error('the same API key is listed twice')
    const result: AuthVerifyResult = { userId: user ?? anonymousUser(key, hex) }
    if (models) result.metadata = { models }
    if (limits) Object.assign(result, { keyId: `key_${hex.slice(0, 16)}`, limits })
    const stored: StoredKey = { result }
    if (notBefore !== undefined || expiresAt !== undefined) {
      stored.valid = { from: timeOf(notBefore) ?? -Infinity, until: timeOf(expiresAt) ?? Infinity }
    }
    this.#keys.set(hex, stored)
  }
}

function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new Error(`"${text}" is not a time: write it as 2027-01-31T00:00:00Z`)
  return time
}

/** What follows `Bearer` in the header; undefined where nothing does. */
export const bearerKeyIn = (headers: Headers): string | undefined =>
  /^bearer +(\S+) *$/i.exec(headers.get('authorization') ?? '')?.[1]

/** Six letters of a real key, fewer of a short one: a user id is logged, and must not give the key away. */
function anonymousUser(key: string | undefined, hex: string): string {
  const prefix = key ? key.slice(0, Math.min(6, Math.floor(key.length / 2))) : 'sha256'
  return `key:${prefix}-${hex.slice(0, 8)}`
}
