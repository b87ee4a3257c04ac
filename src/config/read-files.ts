import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Why it cannot be read: `ENOENT`, `EACCES`. */
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unreadable'

const digest = (content: string): string => createHash('sha256').update(content).digest('hex')

/** Not what a Secret's volume keeps for itself (`..data`), nor what an editor leaves behind. */
const isHidden = (name: string): boolean => name.startsWith('.') || name.endsWith('~')

/** What a configuration is read from: it remembers each file, as it was when it was read, to tell whether one has changed. */
export class ReadFiles {
  /** By path: a digest of the content, or why there was none. The path of a listing ends in a slash. */
  readonly #seen = new Map<string, string>()

  /** Of everything that was asked for, whether or not it was there. */
  get paths(): string[] {
    return [...new Set([...this.#seen.keys()].map((path) => path.replace(/(?<=.)\/$/, '')))]
  }

  /** As it was read: equal when nothing has changed. */
  get fingerprint(): string {
    return fingerprintOf(this.#seen)
  }

  /** @throws Error with the code of the file system */
  async text(path: string): Promise<string> {
    return this.#remembering(path, () => readFile(path, 'utf8'))
  }

  /**
   * The texts of a file, or of each file in a directory, by its name there; of a file the name is undefined.
   *
   * @throws Error with the code of the file system
   */
  async texts(path: string): Promise<{ name: string | undefined; text: string }[]> {
    try {
      return [{ name: undefined, text: await this.text(path) }]
    } catch (error) {
      if (codeOf(error) !== 'EISDIR') throw error
    }
    const listing = await this.#remembering(`${path}/`, () => listingOf(path))
    const names = listing.split('\n').filter(Boolean)
    return Promise.all(names.map(async (name) => ({ name, text: await this.text(join(path, name)) })))
  }

  /** As they are on the disk now; equal to {@link fingerprint} when nothing has changed. */
  async fingerprintNow(): Promise<string> {
    const now = await Promise.all([...this.#seen.keys()].map(async (path) => [path, await digestNow(path)] as const))
    return fingerprintOf(new Map(now))
  }

  async #remembering(path: string, read: () => Promise<string>): Promise<string> {
    try {
      const content = await read()
      this.#seen.set(path, digest(content))
      return content
    } catch (error) {
      this.#seen.set(path, codeOf(error))
      throw error
    }
  }
}

const listingOf = async (path: string): Promise<string> =>
  (await readdir(path))
    .filter((name) => !isHidden(name))
    .sort()
    .join('\n')

const digestNow = (path: string): Promise<string> =>
  (path.endsWith('/') ? listingOf(path) : readFile(path, 'utf8')).then(digest, codeOf)

const fingerprintOf = (seen: ReadonlyMap<string, string>): string =>
  digest(JSON.stringify([...seen].sort(([a], [b]) => (a < b ? -1 : 1))))
