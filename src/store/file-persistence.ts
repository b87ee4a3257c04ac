import { mkdir, opendir, readFile, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { removeLeftovers, syncDirectory, writeAtomically } from './atomic-file.ts'
import { assertHeld } from './lease.ts'
import type { Persistence, SetOptions } from './persistence.ts'
import { fileNameOf, isFileName, isOver, NotOurs, recordIn, recordOf } from './record-file.ts'
import { lifetimeOf, textOf } from './stored-value.ts'
import { Turns } from './turns.ts'

export interface FilePersistenceOptions {
  /** Made when it is not there, readable by this user only. It belongs to one process at a time. */
  directory: string
  /**
   * Told of a file that holds no value of ours, by its path, after it was set aside as `<file>.corrupt` (over an earlier
   * one of that name), or again and again where it cannot be moved. Its key has no value. Default: a warning of the process.
   */
  onCorrupt?: (file: string, error: Error) => void
}

/** All of this process, since two objects may be given one directory: what one reads, the other must not replace meanwhile. */
const turns = new Turns(16)

const sweepEveryMs = 3_600_000

/**
 * Values as files, one a key. A write is on the disk before it resolves, and never half there. What is done to one key is
 * done in the order of the calls. A file whose time is over goes when its key is next asked for, or within an hour or so.
 */
export class FilePersistence implements Persistence {
  readonly #directory: string
  readonly #onCorrupt: (file: string, error: Error) => void
  #prepared: Promise<void> | undefined
  #nextSweep = 0

  constructor({ directory, onCorrupt = warn }: FilePersistenceOptions) {
    this.#directory = resolve(directory)
    this.#onCorrupt = onCorrupt
  }

  async get(key: string): Promise<unknown> {
    return this.#inTurn(key, async (file) => (await this.#read(file, key))?.value)
  }

  async set(key: string, value: unknown, { ttlSeconds, lease }: SetOptions = {}): Promise<void> {
    // The turn is taken now: whoever has the lease next writes after this.
    assertHeld(lease)
    const lifetime = lifetimeOf(ttlSeconds)
    const text = recordOf(key, textOf(value), lifetime === undefined ? undefined : Date.now() + lifetime)
    await this.#inTurn(key, (file) => this.#write(file, text))
  }

  async add(key: string, value: unknown, { ttlSeconds }: Pick<SetOptions, 'ttlSeconds'> = {}): Promise<boolean> {
    const lifetime = lifetimeOf(ttlSeconds)
    const text = recordOf(key, textOf(value), lifetime === undefined ? undefined : Date.now() + lifetime)
    return this.#inTurn(key, async (file) => {
      if (await this.#read(file, key)) return false
      await this.#write(file, text)
      return true
    })
  }

  async delete(key: string): Promise<boolean> {
    return this.#inTurn(key, async (file) => {
      if (!(await this.#read(file, key))) return false
      await rm(file)
      await syncDirectory(this.#directory)
      return true
    })
  }

  async #write(file: string, text: string): Promise<void> {
    try {
      await writeAtomically(file, text)
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error
      // Someone removed the directory, or another process that starts on it took this draft for a leftover.
      await makeDirectory(this.#directory)
      await writeAtomically(file, text)
    }
  }

  async #read(file: string, key: string): Promise<{ value: unknown } | undefined> {
    try {
      const record = recordIn(await readFile(file), key)
      if (record.expiresAt > Date.now()) return record
      await rm(file).catch(ignored)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return undefined
      if (!(error instanceof NotOurs) && !isSystemError(error, 'EISDIR')) throw error
      await rename(file, `${file}.corrupt`).catch(ignored)
      this.#onCorrupt(file, error)
    }
    return undefined
  }

  async #inTurn<Result>(key: string, work: (file: string) => Promise<Result>): Promise<Result> {
    const file = join(this.#directory, fileNameOf(key))
    const result = await turns.take(file, async () => {
      await this.#prepare()
      return work(file)
    })
    this.#sweepNowAndThen()
    return result
  }

  /** Once; a directory that could not be made is tried again by the next call. */
  #prepare(): Promise<void> {
    this.#prepared ??= prepare(this.#directory).catch((error: unknown) => {
      this.#prepared = undefined
      throw error
    })
    return this.#prepared
  }

  /** With no timer, which would have to be stopped: a store that nobody uses does not grow. */
  #sweepNowAndThen(): void {
    if (Date.now() < this.#nextSweep) return
    this.#nextSweep = Date.now() + sweepEveryMs
    // Nobody waits for it; what fails now is tried again.
    sweep(this.#directory).catch(ignored)
  }
}

const ignored = (): void => {}

const makeDirectory = (directory: string): Promise<unknown> => mkdir(directory, { recursive: true, mode: 0o700 })

async function prepare(directory: string): Promise<void> {
  await makeDirectory(directory)
  // Where nothing can be removed, values can still be read.
  await removeLeftovers(directory).catch(ignored)
}

/** Removes files whose time is over, one by one: it is in no hurry. */
async function sweep(directory: string): Promise<void> {
  for await (const { name } of await opendir(directory)) {
    if (!isFileName(name)) continue
    const file = join(directory, name)
    await turns
      .take(file, async () => {
        if (await isOver(file)) await rm(file)
      })
      .catch(ignored)
  }
}

const isSystemError = (error: unknown, code: string): error is NodeJS.ErrnoException =>
  error instanceof Error && 'code' in error && error.code === code

function warn(file: string, error: Error): void {
  process.emitWarning(`${file} holds no value: ${error.message}`, 'CorruptFile')
}
