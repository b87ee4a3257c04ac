import { isObject } from '../json.ts'
import type { TargetSwitch } from '../router/target-switch.ts'
import { changeValue, type LeasedStore, reached } from '../store/leased-value.ts'
import type { Target } from '../types.ts'

export interface TargetStatesOptions extends LeasedStore {
  targetSwitch: TargetSwitch
  /** Between two looks at the store, in milliseconds. Default 700: every replica follows within 2 s. */
  pollMs?: number
}

/** Since when a target is out, in milliseconds since 1970, and who has taken it out. */
export interface Drained {
  at: number
  by: string
}

interface Kept {
  version: 1
  drained: Record<string, Drained>
}

const key = 'admin:{targets}'

/** Which targets are out, in the store, for all replicas. While the store is away, what was last known holds. */
export class TargetStates {
  readonly #store: LeasedStore
  readonly #switch: TargetSwitch
  readonly #pollMs: number
  #drained: Readonly<Record<string, Drained>> = {}
  #timer: NodeJS.Timeout | undefined
  #closed = false
  /** Counts what was applied, so that a look that began before a change does not undo it. */
  #changes = 0

  constructor({ targetSwitch, pollMs = 700, ...store }: TargetStatesOptions) {
    this.#store = store
    this.#switch = targetSwitch
    this.#pollMs = pollMs
  }

  get targets(): readonly Target[] {
    return this.#switch.targets
  }

  has(target: Target): boolean {
    return this.#switch.has(target)
  }

  isDrained(target: Target): boolean {
    return this.#switch.isDrained(target)
  }

  /** By `provider/model`, all that were taken out. */
  get drained(): Readonly<Record<string, Drained>> {
    return this.#drained
  }

  /** Looks for the first time, and goes on from then. A store that is away is no reason not to start. */
  async start(): Promise<void> {
    await this.#look()
    this.#schedule()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** Reads what is so now. @throws GatewayError `store_unavailable` */
  async refresh(): Promise<void> {
    const changes = this.#changes
    const kept = await reached(() => this.#store.persistence.get(key))
    if (changes === this.#changes) this.#apply(kept)
  }

  /** Takes it out. @throws GatewayError `store_unavailable` */
  drain(target: string, by: string): Promise<void> {
    return this.#change((drained) => ({ ...drained, [target]: drained[target] ?? { at: Date.now(), by } }))
  }

  /** Takes it in again. @throws GatewayError `store_unavailable` */
  undrain(target: string): Promise<void> {
    return this.#change(({ [target]: _gone, ...drained }) => drained)
  }

  async #change(change: (drained: Record<string, Drained>) => Record<string, Drained>): Promise<void> {
    const kept = await changeValue(this.#store, key, (value) => ({ version: 1, drained: change(drainedIn(value)) }))
    this.#changes += 1
    this.#apply(kept)
  }

  #apply(kept: unknown): void {
    this.#drained = drainedIn(kept)
    this.#switch.set(Object.keys(this.#drained))
  }

  #look(): Promise<void> {
    // Told as a failed operation of the store.
    return this.refresh().catch(() => undefined)
  }

  #schedule(): void {
    this.#timer = setTimeout(async () => {
      await this.#look()
      if (!this.#closed) this.#schedule()
    }, this.#pollMs).unref()
  }
}

const drainedIn = (value: unknown): Record<string, Drained> =>
  isObject(value) && value.version === 1 && isObject(value.drained) ? (value.drained as Kept['drained']) : {}
