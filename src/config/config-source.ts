import { type LoadedConfig, type LoadOptions, loadConfig } from './load.ts'
import { ReadFiles } from './read-files.ts'

/** Where a configuration comes from, again and again. */
export class ConfigSource {
  #options: Omit<LoadOptions, 'files'>
  #files = new ReadFiles()

  constructor(options: Omit<LoadOptions, 'files'>) {
    this.#options = options
  }

  /** What was last read, whether or not it was valid. */
  get files(): ReadFiles {
    return this.#files
  }

  /**
   * From the file that it came from before, if it did: one that is gone is not the same as none, which means the defaults.
   *
   * @throws ConfigError with every problem found, not only the first
   */
  async load(): Promise<LoadedConfig> {
    const files = new ReadFiles()
    try {
      const loaded = await loadConfig({ ...this.#options, files })
      if (loaded.file !== undefined) this.#options = { ...this.#options, file: loaded.file }
      return loaded
    } finally {
      this.#files = files
    }
  }
}
