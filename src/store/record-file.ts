import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { isObject, parseJSON } from '../json.ts'

/**
 * A hash, since a key may be longer than a file's name, hold any character, or differ from another only in case. It is
 * made of the key's UTF-16: in UTF-8 all lone surrogates would be one character.
 */
export const fileNameOf = (key: string): string => `${createHash('sha256').update(key, 'utf16le').digest('hex')}.json`

export const isFileName = (name: string): boolean => /^[0-9a-f]{64}\.json$/.test(name)

/** What a file holds. The time is in front, where {@link isOver} finds it without reading the rest. */
export const recordOf = (key: string, valueText: string, expiresAt: number | undefined): string =>
  `{"version":1,${expiresAt === undefined ? '' : `"expiresAt":${expiresAt},`}"key":${JSON.stringify(key)},"value":${valueText}}`

const timeInFront = /^\{"version":1,"expiresAt":(\d+),/
const frontBytes = 64

/** True when a file tells in its first bytes that its time is over. */
export async function isOver(file: string): Promise<boolean> {
  const handle = await open(file, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(frontBytes), 0, frontBytes, 0)
    const time = timeInFront.exec(buffer.toString('latin1', 0, bytesRead))?.[1]
    return time !== undefined && Number(time) <= Date.now()
  } finally {
    await handle.close()
  }
}

/** The content is no record of ours. */
export class NotOurs extends Error {}

/** @throws NotOurs telling why. */
export function recordIn(bytes: Buffer, key: string): { value: unknown; expiresAt: number } {
  if (!isUtf8(bytes)) throw new NotOurs('it is not UTF-8')
  const record = parsed(bytes.toString())
  if (!isObject(record) || record.version !== 1 || !('value' in record))
    throw new NotOurs('it is no record of version 1')
  if (record.key !== key) throw new NotOurs('it is the record of another key')
  const { value, expiresAt = Number.POSITIVE_INFINITY } = record
  if (typeof expiresAt !== 'number') throw new NotOurs('its expiresAt is no time')
  return { value, expiresAt }
}

function parsed(text: string): unknown {
  try {
    return parseJSON(text)
  } catch (cause) {
    throw new NotOurs('it is not JSON', { cause })
  }
}
