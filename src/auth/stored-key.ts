import { hash, randomBytes } from 'node:crypto'
import { isObject } from '../json.ts'
import type { AuthVerifyResult, KeyLimits } from './auth-plugin.ts'

/** One text that works as the key, as it is kept: never the text itself. */
export interface KeySecret {
  /** In hexadecimal. */
  sha256: string
  /** The first letters of the text, for a person to recognise it. */
  prefix: string
  /** Times are in milliseconds since 1970. */
  createdAt: number
  /** Works no longer from then on: it was rotated. */
  expiresAt?: number
}

/** A client's key, as it is kept. */
export interface KeyRecord {
  version: 1
  id: string
  /** For people: what it is for. */
  name: string
  /** Owner of everything that is created with it. */
  user: string
  /** Ids and patterns; absent for all. */
  models?: string[]
  limits?: KeyLimits
  /** The newest last. All that are not over work. */
  secrets: KeySecret[]
  createdAt: number
  updatedAt: number
  rotatedAt?: number
  expiresAt?: number
  revokedAt?: number
}

export type KeyState = 'active' | 'expired' | 'revoked'

/** A text that is a key, of 256 random bits, and what is kept of it. */
export interface NewSecret {
  key: string
  secret: KeySecret
}

const keyPrefix = 'sk-sbx-'
const form = new RegExp(`^${keyPrefix}[\\w-]{43}$`)

/** Whether a text can be a key of the store: others are not looked for. */
export const isStoredKey = (text: string): boolean => form.test(text)

export const digestOf = (key: string): string => hash('sha256', key)

export const newKeyId = (): string => `key_${randomBytes(12).toString('hex')}`

/** Whether a text can be the id of a key. */
export const isKeyId = (text: string): boolean => /^key_[\da-f]{24}$/.test(text)

export function newSecret(now = Date.now()): NewSecret {
  const key = keyPrefix + randomBytes(32).toString('base64url')
  // Four letters beyond what all have in common: of forty-three, they give nothing away.
  return { key, secret: { sha256: digestOf(key), prefix: key.slice(0, keyPrefix.length + 4), createdAt: now } }
}

export function stateOf({ revokedAt, expiresAt }: KeyRecord, now = Date.now()): KeyState {
  if (revokedAt !== undefined) return 'revoked'
  return expiresAt !== undefined && expiresAt <= now ? 'expired' : 'active'
}

/** Whether the text with this digest works as the key now. */
export function opens(record: KeyRecord, sha256: string, now = Date.now()): boolean {
  if (stateOf(record, now) !== 'active') return false
  const secret = record.secrets.find((other) => other.sha256 === sha256)
  return secret !== undefined && (secret.expiresAt === undefined || secret.expiresAt > now)
}

/** Who sends a request with it. */
export const principalOf = ({ id, user, models, limits }: KeyRecord): AuthVerifyResult => ({
  userId: user,
  keyId: id,
  ...(limits && { limits }),
  ...(models && { metadata: { models } }),
})

export const isKeyRecord = (value: unknown): value is KeyRecord =>
  isObject(value) && value.version === 1 && typeof value.id === 'string' && Array.isArray(value.secrets)
