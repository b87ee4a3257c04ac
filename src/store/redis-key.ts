import { createHash } from 'node:crypto'

/** What a key in Redis is for: several things are kept of one name. */
export type RedisKind = 'value' | 'lease' | 'fence' | 'queue' | 'seen' | 'events' | 'index' | 'limit'

/** Longer keys take more memory than their hashes, everywhere that a key is kept. */
const longest = 512

/** The first pair of braces with something in it, as a cluster reads it. */
const braces = /^[^{]*\{([^}]+)\}/

/**
 * A key as Redis has it, without the connection's prefix. Keys with the same part in braces are in one slot, of whatever
 * kind they are; so are those of one key without braces. Different keys never become one.
 */
export function redisKey(kind: RedisKind, key: string): string {
  if (tagOf(key) === undefined) return `${kind}#{${hashOf(key)}}`
  return isPlain(key) ? `${kind}:${key}` : `${kind}#{${slotOf(key)}}${hashOf(key)}`
}

/** What decides in which slot a key is. */
export function slotOf(key: string): string {
  const tag = tagOf(key)
  return tag !== undefined && isPlain(tag) ? tag : hashOf(tag ?? key)
}

const tagOf = (key: string): string | undefined => braces.exec(key)?.[1]

/** In UTF-8, in which a key is sent, all lone surrogates would be one character. */
const isPlain = (text: string): boolean => text.length <= longest && text.isWellFormed()

const hashOf = (text: string): string => createHash('sha256').update(text, 'utf16le').digest('hex')
