import type { HookEvents } from '../hooks/events.ts'
import { ConfigError } from './config-error.ts'
import { difference } from './difference.ts'
import { revisionOf } from './revision.ts'
import type { Config } from './schema.ts'

/** A change that is ready to be made. Neither function may throw. */
export interface PreparedChange {
  /** Makes it, at once: those of all parts are made in one go, and no request comes between them. */
  commit(): void
  /** It is not made, since another part could not prepare its own. */
  discard?(): void
}

/** A part of the gateway that can take up another configuration while it runs. */
export interface LivePart {
  /** What of the configuration it takes up, as `models` or `server.logLevel`. What no part takes up needs a restart. */
  keys: readonly string[]
  /**
   * Makes everything that the next configuration asks for, and changes nothing yet.
   *
   * @throws Error saying what is wrong; then nothing is changed, in any part
   */
  prepare(next: Config): PreparedChange | Promise<PreparedChange>
}

/** What came of a reload. */
export type ReloadReport = HookEvents['onConfigReload']

export interface LiveConfigOptions {
  /** What the gateway has started with. */
  config: Config
  /** Reads the configuration again. Default: it is what it was. */
  load?: (() => Promise<Config>) | undefined
  /** Hears of each reload. */
  onReload?: (report: ReloadReport) => void
}

/** The configuration that is in force. A new one is prepared by all parts before any of them makes it its own. */
export class LiveConfig {
  readonly #load: () => Promise<Config>
  readonly #onReload: (report: ReloadReport) => void
  readonly #parts: LivePart[] = []
  #config: Config
  #revision: string
  #needsRestart: readonly string[] = []
  #last: Promise<unknown> = Promise.resolve()
  #next: Promise<ReloadReport> | undefined

  constructor({ config, load = async () => config, onReload = () => {} }: LiveConfigOptions) {
    this.#config = config
    this.#revision = revisionOf(config)
    this.#load = load
    this.#onReload = onReload
  }

  /** What is in force. */
  get config(): Config {
    return this.#config
  }

  /** Of what is in force: twelve hex digits, the same on every replica that has the same configuration. */
  get revision(): string {
    return this.#revision
  }

  /** What the last configuration that was read would change, but only a restart can. */
  get needsRestart(): readonly string[] {
    return this.#needsRestart
  }

  /** Parts prepare in the order in which they were added. Each key belongs to one part. */
  add(part: LivePart): void {
    this.#parts.push(part)
  }

  /**
   * Reads the configuration and puts it in force, if it is valid; otherwise the last good one stays. Never rejects. Calls wait
   * for each other, and those that wait together are answered by one reload.
   */
  reload(): Promise<ReloadReport> {
    if (this.#next) return this.#next
    const next = this.#last.then(() => {
      this.#next = undefined
      return this.#reload()
    })
    this.#next = next
    this.#last = next
    return next
  }

  async #reload(): Promise<ReloadReport> {
    let report: ReloadReport
    try {
      report = await this.#apply(await this.#load())
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      const problems = error instanceof ConfigError ? error.problems : [message]
      const { revision, needsRestart } = this
      report = { revision, outcome: 'failed', changed: [], needsRestart, problems }
    }
    this.#onReload(report)
    return report
  }

  async #apply(read: Config): Promise<ReloadReport> {
    const { config, changed, needsRestart } = difference(this.#config, read, (path) => this.#isLive(path))
    if (changed.length > 0) {
      for (const change of await this.#prepared(config, changed)) change.commit()
      this.#config = config
      this.#revision = revisionOf(config)
    }
    this.#needsRestart = needsRestart
    const outcome = changed.length > 0 ? 'applied' : 'unchanged'
    return { revision: this.#revision, outcome, changed, needsRestart, problems: [] }
  }

  /** By the parts that have something to take up: what does not change is not made anew. */
  async #prepared(config: Config, changed: readonly string[]): Promise<PreparedChange[]> {
    const prepared: PreparedChange[] = []
    try {
      for (const part of this.#parts) {
        if (changed.some((path) => isOf(part, path))) prepared.push(await part.prepare(config))
      }
    } catch (error) {
      for (const change of prepared) change.discard?.()
      throw error
    }
    return prepared
  }

  #isLive(path: string): boolean {
    return this.#parts.some((part) => isOf(part, path))
  }
}

const isOf = ({ keys }: LivePart, path: string): boolean =>
  keys.some((key) => path === key || path.startsWith(`${key}.`))
