import { Gauge, type Metric } from 'prom-client'
import type { HookEvents } from '../hooks/events.ts'

/** What was last heard of a limit of requests at the same time is believed for so long, in milliseconds. */
const freshMs = 60_000

interface Heard {
  labels: { limit: string; scope: string; model: string }
  ratio: number
  until: number
}

/**
 * How much of each limit is used, as the last request that fell under it was told. Limits of models and of the gateway only: keys
 * are many. When it cannot be so any more, since the minute, the day or the month is over, it is shown no longer.
 */
export class LimitUses {
  readonly #heard = new Map<string, Heard>()
  readonly #ratio: Gauge<'limit' | 'scope' | 'model'>

  constructor() {
    const heard = this.#heard
    this.#ratio = new Gauge({
      name: 'signalbox_limit_used_ratio',
      help: 'Share of a limit of a model, or of the gateway, that is used; by all replicas together.',
      labelNames: ['limit', 'scope', 'model'],
      registers: [],
      collect() {
        this.reset()
        for (const [name, { labels, ratio, until }] of heard) {
          if (until < performance.now()) heard.delete(name)
          else this.set(labels, ratio)
        }
      },
    })
  }

  get metrics(): Metric[] {
    return [this.#ratio]
  }

  note({ uses }: HookEvents['onLimits']): void {
    for (const { limit, scope, id, used, cap, resetMs } of uses) {
      if (scope === 'key') continue
      const labels = { limit, scope, model: scope === 'model' ? id : '' }
      const until = performance.now() + (limit === 'concurrency' ? freshMs : resetMs)
      this.#heard.set(`${limit} ${labels.model}`, { labels, ratio: used / cap, until })
    }
  }
}
