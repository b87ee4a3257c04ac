import { LRUCache } from 'lru-cache'
import type { KeyLimits } from '../auth/auth-plugin.ts'
import { differences, errorOf, isEstimate, nameOf, nano, refusalOf, useOf } from './accounting.ts'
import { aWhileMs, Doubt } from './doubt.ts'
import type { Actual, AppliedLimit, KeyUsage, Limiter, LimiterOptions, Refusal, Reservation, Used } from './limiter.ts'
import { dayMs, dayOf, monthOf } from './periods.ts'
import { SlidingWindow, steps } from './sliding-window.ts'

export interface MemoryLimiterOptions extends LimiterOptions {
  /** Unix milliseconds. Default: the clock. */
  now?: () => number
}

/** What there is of windows, budgets and usages: the least used are forgotten beyond that. */
const mostEntries = 100_000
/** As `max` it would have tables of that many from the start: 8 MB. */
const bound = { maxSize: mostEntries, sizeCalculation: () => 1 }

interface Spent {
  period: number
  spent: number
}

type State = SlidingWindow | Spent

/** What was taken where, for a reservation of this process. */
interface Taken {
  /** Of each limit: the step, or the period, that it is counted in. */
  places: number[]
  /** Of each limit that it is an estimate of. */
  doubts: (Doubt | undefined)[]
}

/** Limits within this process. */
export class MemoryLimiter implements Limiter {
  readonly gateway: KeyLimits
  readonly countsUsage: boolean
  readonly defaultOutputTokens: number
  readonly #stepMs: number
  readonly #now: () => number
  readonly #states = new LRUCache<string, State>(bound)
  readonly #usages = new LRUCache<string, KeyUsage & { day: number; monthBegan: number }>(bound)
  /** Slots that are taken; what is kept here ends with its request. */
  readonly #slots = new Map<string, number>()
  readonly #open = new Map<string, Taken>()
  readonly #doubts = new LRUCache<string, Doubt>(bound)

  constructor({ gateway = {}, countsUsage, defaultOutputTokens, windowMs, now = Date.now }: MemoryLimiterOptions = {}) {
    this.gateway = gateway
    this.countsUsage = countsUsage ?? false
    this.defaultOutputTokens = defaultOutputTokens ?? 1024
    this.#stepMs = (windowMs ?? 60_000) / steps
    this.#now = now
  }

  async reserve(limits: readonly AppliedLimit[]): Promise<Reservation | Refusal> {
    return this.reserveNow(limits)
  }

  /** As {@link reserve}, at once. */
  reserveNow(limits: readonly AppliedLimit[]): Reservation | Refusal {
    const now = this.#now()
    const waits = limits.map((applied) => this.#waitFor(applied, now))
    const granted = waits.every((wait) => wait === 0)
    const before = limits.map((applied) => this.#usedOf(applied, now))
    const held = limits.map((applied) => this.#heldOf(applied, now))
    const places = granted ? limits.map((applied) => this.#take(applied, now)) : []
    const doubts = granted ? limits.map((applied) => this.#begun(applied)) : []
    const uses = limits.map((applied, n) =>
      useOf(applied, before[n] ?? 0, this.#resetOf(applied, now), held[n] ?? 0, granted),
    )
    if (!granted) return refusalOf(limits, uses, waits)
    const id = crypto.randomUUID()
    this.#open.set(id, { places, doubts })
    return { granted: true, id, limits, uses }
  }

  async settle(reservation: Reservation, actual: Actual): Promise<void> {
    const taken = this.#open.get(reservation.id)
    if (!this.#open.delete(reservation.id) || !taken) return
    this.#count(actual)
    const now = this.#now()
    const changes = differences(reservation, actual)
    for (const [n, applied] of reservation.limits.entries()) {
      this.#correct(applied, now, taken.places[n] ?? 0, changes[n] ?? 0)
      taken.doubts[n]?.ends(errorOf(applied, actual), now)
    }
  }

  async usageOf(keyId: string): Promise<KeyUsage> {
    const { today, month } = this.#usageOf(keyId)
    return { today: { ...today }, month: { ...month } }
  }

  /** Of a budget at least so much is spent in this period, as somebody knows who has seen more of it. */
  atLeast(applied: AppliedLimit, used: number): void {
    const budget = this.#budgetOf(applied, this.#now())
    budget.spent = Math.max(budget.spent, used)
  }

  close(): void {}

  #waitFor(applied: AppliedLimit, now: number): number {
    const wait = this.#waitForRoom(applied, now)
    if (wait > 0 || !isEstimate(applied)) return wait
    const { amount, cap } = applied
    return this.#usedOf(applied, now) + this.#heldOf(applied, now) + amount > cap ? aWhileMs : 0
  }

  #heldOf(applied: AppliedLimit, now: number): number {
    return isEstimate(applied) ? this.#doubtOf(applied).amount(now) : 0
  }

  #begun(applied: AppliedLimit): Doubt | undefined {
    if (!isEstimate(applied)) return undefined
    const doubt = this.#doubtOf(applied)
    doubt.begins(applied.amount)
    return doubt
  }

  #doubtOf(applied: AppliedLimit): Doubt {
    const name = nameOf(applied)
    const doubt = this.#doubts.get(name) ?? new Doubt()
    this.#doubts.set(name, doubt)
    return doubt
  }

  #waitForRoom(applied: AppliedLimit, now: number): number {
    const { limit, cap, amount } = applied
    if (limit === 'requests' || limit === 'tokens') {
      return this.#windowOf(applied).waitFor(now, amount, cap)
    }
    if (this.#usedOf(applied, now) + amount <= cap) return 0
    return limit === 'concurrency' ? aWhileMs : Math.max(1, this.#resetOf(applied, now))
  }

  #usedOf(applied: AppliedLimit, now: number): number {
    if (applied.limit === 'concurrency') return this.#slots.get(nameOf(applied)) ?? 0
    if (applied.limit === 'requests' || applied.limit === 'tokens') return this.#windowOf(applied).used(now)
    return this.#budgetOf(applied, now).spent
  }

  #resetOf(applied: AppliedLimit, now: number): number {
    if (applied.limit === 'concurrency') return 0
    if (applied.limit === 'requests' || applied.limit === 'tokens') return this.#windowOf(applied).resetMs(now)
    return applied.limit === 'usd_day' ? dayOf(now) + dayMs - now : monthOf(now, 1) - now
  }

  #take(applied: AppliedLimit, now: number): number {
    const { limit, amount } = applied
    if (limit === 'requests' || limit === 'tokens') return this.#windowOf(applied).take(now, amount)
    if (limit === 'concurrency') {
      this.#slots.set(nameOf(applied), this.#usedOf(applied, now) + 1)
      return 0
    }
    const budget = this.#budgetOf(applied, now)
    budget.spent += amount
    return budget.period
  }

  #correct(applied: AppliedLimit, now: number, place: number, difference: number): void {
    const { limit } = applied
    if (limit === 'concurrency') {
      const left = this.#usedOf(applied, now) - 1
      if (left > 0) this.#slots.set(nameOf(applied), left)
      else this.#slots.delete(nameOf(applied))
    } else if (limit === 'tokens') {
      this.#windowOf(applied).correct(now, place, difference)
    } else if (limit !== 'requests') {
      // It belongs to the period that it began in.
      const budget = this.#budgetOf(applied, now)
      if (budget.period === place) budget.spent += difference
    }
  }

  #windowOf(applied: AppliedLimit): SlidingWindow {
    const name = nameOf(applied)
    const known = this.#states.get(name)
    if (known instanceof SlidingWindow) return known
    const window = new SlidingWindow(this.#stepMs)
    this.#states.set(name, window)
    return window
  }

  #budgetOf(applied: AppliedLimit, now: number): Spent {
    const name = nameOf(applied)
    const period = applied.limit === 'usd_day' ? dayOf(now) : monthOf(now)
    const known = this.#states.get(name)
    if (known && 'period' in known && known.period === period) return known
    const budget = { period, spent: 0 }
    this.#states.set(name, budget)
    return budget
  }

  #count({ keyId, tokens = 0, usd = 0 }: Actual): void {
    if (keyId === undefined) return
    const usage = this.#usageOf(keyId)
    for (const used of [usage.today, usage.month]) {
      used.requests += 1
      used.tokens += tokens
      // Sums of what is no multiple of a power of two drift.
      used.usd = Math.round((used.usd + usd) * nano) / nano
    }
    this.#usages.set(keyId, usage)
  }

  #usageOf(keyId: string): KeyUsage & { day: number; monthBegan: number } {
    const now = this.#now()
    const [day, monthBegan] = [dayOf(now), monthOf(now)]
    const known = this.#usages.get(keyId)
    return {
      day,
      monthBegan,
      today: known?.day === day ? known.today : unused(),
      month: known?.monthBegan === monthBegan ? known.month : unused(),
    }
  }
}

const unused = (): Used => ({ requests: 0, tokens: 0, usd: 0 })
