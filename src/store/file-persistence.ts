import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isObject, parseJSON } from '../json.ts'
import { removeLeftovers, syncDirectory, writeAtomically } from './atomic-file.ts'
import type { Persistence } from './persistence.ts'
import { lifetimeOf, textOf } from './stored-value.ts'

export interface FilePersistenceOptions {
  /** Made when it is not there, readable by this user only. It belongs to one process at a time. */
  directory: string
  /**
   * Told of a file that holds no value of ours, by its path, after it was set aside as `<file>.corrupt` (over an earlier
   * one of that name). Its key then has no value. Default: a warning of the process.
   */
  onCorrupt?: (file: string, error: Error) => void
}

/**
 * Values as files, one a key. A write is on the disk before it resolves, and never half there. What is done to one key is
 * done in the order of the calls. A file whose time is over goes when its key is next asked for.
 */
export class FilePersistence implements Persistence {
  readonly #directory: string
  readonly #onCorrupt: (file: string, error: Error) => void
  readonly #turns = new Map<string, Promise<unknown>>()
  #prepared: Promise<void> | undefined

  constructor({ directory, onCorrupt = warn }: FilePersistenceOptions) {
    this.#directory = directory
    this.#onCorrupt = onCorrupt
  }

  async get(key: string): Promise<unknown> {
    return this.#inTurn(key, async (file) => (await this.#read(file, key))?.value)
  }

  async set(key: string, value: unknown, { ttlSeconds }: { ttlSeconds?: number } = {}): Promise<void> {
    const lifetime = lifetimeOf(ttlSeconds)
    const expiry = lifetime === undefined ? '' : `,"expiresAt":${Date.now() + lifetime}`
    const text = `{"version":1,"key":${JSON.stringify(key)}${expiry},"value":${textOf(value)}}`
    await this.#inTurn(key, (file) => writeAtomically(file, text))
  }

  async delete(key: string): Promise<boolean> {
    return this.#inTurn(key, async (file) => {
      if (!(await this.#read(file, key))) return false
      await rm(file)
      await syncDirectory(this.#directory)
      return true
    })
  }

  async #read(file: string, key: string): Promise<{ value: unknown } | undefined> {
    try {
      const record = recordIn(await readFile(file), key)
      if (record.expiresAt > Date.now()) return record
      await rm(file)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return undefined
      if (!(error instanceof NotOurs) && !isSystemError(error, 'EISDIR')) throw error
      await rename(file, `${file}.corrupt`)
      this.#onCorrupt(file, error)
    }
    return undefined
  }

  async #inTurn<Result>(key: string, work: (file: string) => Promise<Result>): Promise<Result> {
    const file = join(this.#directory, fileNameOf(key))
    const before = this.#turns.get(file)
    const turn = Promise.allSettled([before])
      .then(() => this.#prepare())
      .then(() => work(file))
    this.#turns.set(file, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(file) === turn) this.#turns.delete(file)
    }
  }

  /** Once; a directory that could not be made is tried again by the next call. */
  #prepare(): Promise<void> {
    this.#prepared ??= prepare(this.#directory).catch((error: unknown) => {
      this.#prepared = undefined
      throw error
    })
    return this.#prepared
  }
}

async function prepare(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await removeLeftovers(directory)
}

/**
 * A hash, since a key may be longer than a file's name, hold any character, or differ from another only in case. It is
 * made of the key's UTF-16: in UTF-8 all lone surrogates would be one character.
 */
const fileNameOf = (key: string): string => `${createHash('sha256').update(key, 'utf16le').digest('hex')}.json`

class NotOurs extends Error {}

function recordIn(bytes: Buffer, key: string): { value: unknown; expiresAt: number } {
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

const isSystemError = (error: unknown, code: string): error is NodeJS.ErrnoException =>
  error instanceof Error && 'code' in error && error.code === code

function warn(file: string, error: Error): void {
  process.emitWarning(`${file} was set aside: ${error.message}`, 'CorruptFile')
}
