import { Counter, Gauge, type Metric } from 'prom-client'
import type { HookEvents } from '../hooks/events.ts'

const registers: [] = []

/** What is known of the configuration: that in force, and how its last reload went. */
export class ConfigMetrics {
  readonly #revision = new Gauge({
    name: 'signalbox_config_revision',
    help: 'Always 1; the configuration in force is in the label.',
    labelNames: ['revision'],
    registers,
  })
  readonly #reloads = new Counter({
    name: 'signalbox_config_reloads_total',
    help: 'Times that the configuration was read again.',
    labelNames: ['outcome'],
    registers,
  })
  readonly #isGood = new Gauge({
    name: 'signalbox_config_last_reload_successful',
    help: '1 unless the configuration that was last read was not valid, and the one before it is in force.',
    registers,
  })
  readonly #goodAt = new Gauge({
    name: 'signalbox_config_last_reload_success_timestamp_seconds',
    help: 'When a valid configuration was last read.',
    registers,
  })
  readonly #waiting = new Gauge({
    name: 'signalbox_config_restart_required',
    help: 'Keys of the configuration that were changed, and that wait for a restart.',
    registers,
  })

  /** `revision`: of the configuration that the gateway starts with. */
  constructor(revision: string) {
    for (const outcome of ['applied', 'unchanged', 'failed']) this.#reloads.inc({ outcome }, 0)
    this.#isInForce(revision)
    this.#good()
    this.#waiting.set(0)
  }

  get metrics(): Metric[] {
    return [this.#revision, this.#reloads, this.#isGood, this.#goodAt, this.#waiting]
  }

  reloaded({ outcome, revision, needsRestart }: HookEvents['onConfigReload']): void {
    this.#reloads.inc({ outcome })
    this.#isInForce(revision)
    this.#waiting.set(needsRestart.length)
    if (outcome === 'failed') this.#isGood.set(0)
    else this.#good()
  }

  /** One label at a time: revisions come and go. */
  #isInForce(revision: string): void {
    this.#revision.reset()
    this.#revision.set({ revision }, 1)
  }

  #good(): void {
    this.#isGood.set(1)
    this.#goodAt.set(Date.now() / 1000)
  }
}
