import { type LoadedConfig, type LoadOptions, loadConfig } from './load.ts'
import { ReadFiles } from './read-files.ts'

/** Where a configuration comes from, again and again. */
export class ConfigSource {
  readonly #options: Omit<LoadOptions, 'files'>
  #files = new ReadFiles()

  constructor(options: Omit<LoadOptions, 'files'>) {
    this.#options = options
  }

  /** What was last read, whether or not it was valid. */
  get files(): ReadFiles {
    return this.#files
  }

  /** @throws ConfigError with every problem found, not only the first */
  async load(): Promise<LoadedConfig> {
    const files = new ReadFiles()
    try {
      return await loadConfig({ ...this.#options, files })
    } finally {
      this.#files = files
    }
  }
}
