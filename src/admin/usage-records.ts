import { isKeyId } from '../auth/stored-key.ts'
import type { HookEvents } from '../hooks/events.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import { isObject } from '../json.ts'
import { changeValue, type LeasedStore, reached } from '../store/leased-value.ts'
import type { KeyUsage, UsageCount, UsageSource } from './usage-source.ts'

export interface UsageRecordsOptions extends LeasedStore {
  hooks: HookBus
  /** Between two writes of what was counted, in milliseconds. Default 5000. */
  flushMs?: number
}

/** What is kept of a key: the days of one month. */
interface Kept {
  version: 1
  days: Record<string, UsageCount>
}

const recordKey = (keyId: string): string => `admin:usage:{${keyId}}`
const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10)
const monthOf = (day: string): string => day.slice(0, 7)
const nothing: UsageCount = { requests: 0, tokens: 0, usd: 0, unpriced: 0 }

/** Kept for as long after the last use, in seconds: a month, and some days for late ones. */
const ttlSeconds = 40 * 86_400

/**
 * Counts what keys of the store use, in the store, for all replicas: each adds what it has counted every few seconds. A process
 * that is killed loses what it had not added yet; a write of which the store did not say whether it was done is done again.
 */
export class UsageRecords implements UsageSource {
  readonly #store: LeasedStore
  /** Not added yet: by key, and by day. */
  #pending = new Map<string, Map<string, UsageCount>>()
  readonly #off: () => void
  readonly #flushMs: number
  #closed = false
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> = Promise.resolve()

  constructor({ hooks, flushMs = 5000, ...store }: UsageRecordsOptions) {
    this.#store = store
    this.#flushMs = flushMs
    this.#off = hooks.on('onCompletion', (completion) => this.#count(completion))
    this.#schedule()
  }

  async usageOf(keyId: string): Promise<KeyUsage> {
    await this.flush()
    const kept = await reached(() => this.#store.persistence.get(recordKey(keyId)))
    const date = dayOf(Date.now())
    const days = isKept(kept) ? kept.days : {}
    const ofMonth = Object.entries(days).filter(([day]) => monthOf(day) === monthOf(date))
    return {
      date,
      today: days[date] ?? nothing,
      thisMonth: ofMonth.reduce((total, [, count]) => sum(total, count), nothing),
    }
  }

  /** Adds what was counted so far. What cannot be added now is tried again later. Never throws. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flush())
    return this.#flushing
  }

  /** Counts no more, and adds what it has counted. */
  async close(): Promise<void> {
    this.#closed = true
    this.#off()
    clearTimeout(this.#timer)
    await this.flush()
  }

  #count({ keyId, usage, costUsd, cached }: HookEvents['onCompletion']): void {
    if (keyId === undefined || !isKeyId(keyId)) return
    // The tokens of a copy were counted with the answer itself.
    const tokens = cached ? 0 : (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0)
    const isPriced = costUsd !== 'unknown'
    this.#add(keyId, dayOf(Date.now()), {
      requests: 1,
      tokens,
      usd: isPriced ? costUsd : 0,
      unpriced: isPriced ? 0 : 1,
    })
  }

  #add(keyId: string, day: string, count: UsageCount): void {
    const days = this.#pending.get(keyId) ?? new Map<string, UsageCount>()
    days.set(day, sum(days.get(day) ?? nothing, count))
    this.#pending.set(keyId, days)
  }

  async #flush(): Promise<void> {
    const pending = this.#pending
    this.#pending = new Map()
    for (const [keyId, days] of pending) {
      try {
        await changeValue(this.#store, recordKey(keyId), (value) => added(value, days), { ttlSeconds })
      } catch {
        // Told as a failed operation of the store; the counts go with the next ones.
        for (const [day, count] of days) this.#add(keyId, day, count)
      }
    }
  }

  #schedule(): void {
    this.#timer = setTimeout(async () => {
      await this.flush()
      if (!this.#closed) this.#schedule()
    }, this.#flushMs).unref()
  }
}

/** Days of a month that is over when others of the next one are there go. */
function added(value: unknown, days: ReadonlyMap<string, UsageCount>): Kept {
  const all = { ...(isKept(value) ? value.days : {}) }
  for (const [day, count] of days) all[day] = sum(all[day] ?? nothing, count)
  const month = Object.keys(all).map(monthOf).sort().at(-1)
  return { version: 1, days: Object.fromEntries(Object.entries(all).filter(([day]) => monthOf(day) === month)) }
}

const sum = (a: UsageCount, b: UsageCount): UsageCount => ({
  requests: a.requests + b.requests,
  tokens: a.tokens + b.tokens,
  usd: a.usd + b.usd,
  unpriced: a.unpriced + b.unpriced,
})

const isKept = (value: unknown): value is Kept => isObject(value) && value.version === 1 && isObject(value.days)
