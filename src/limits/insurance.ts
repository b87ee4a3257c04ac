import { LRUCache } from 'lru-cache'
import type { LimitName } from '../types.ts'
import { isBudget, nameOf } from './accounting.ts'
import type { Actual, AppliedLimit, LimiterOptions, Refusal, Reservation } from './limiter.ts'
import { MemoryLimiter } from './memory-limiter.ts'
import { dayOf, monthOf } from './periods.ts'

/** While the store is away: this process keeps the limit by itself, or nothing passes that falls under it. */
export type OutagePolicy = 'local' | 'closed'

export interface InsuranceOptions extends LimiterOptions {
  /** By the name of the limit. Default `local`. */
  whenStoreIsDown?: Partial<Record<LimitName, OutagePolicy>> | undefined
  /** How much of each limit this process grants by itself. Default 1: all of it. */
  localShare?: number | undefined
}

/** So many budgets are remembered. */
const mostBudgets = 10_000

/** The limits of one process while the store of all of them is away. */
export class Insurance {
  readonly #policy: Partial<Record<LimitName, OutagePolicy>>
  readonly #share: number
  readonly #local: MemoryLimiter
  /** What the store last said was spent: an outage does not begin with nothing. */
  readonly #spent = new LRUCache<string, { period: number; spent: number }>({ max: mostBudgets })

  constructor({ whenStoreIsDown = {}, localShare = 1, ...options }: InsuranceOptions) {
    this.#policy = whenStoreIsDown
    this.#share = localShare
    this.#local = new MemoryLimiter(options)
  }

  /** Takes note of what the store says is used. */
  note(limit: AppliedLimit, used: number): void {
    if (isBudget(limit)) this.#spent.set(nameOf(limit), { period: periodOf(limit), spent: used })
  }

  /** @throws what the store failed with, where a limit is closed without it */
  reserve(limits: readonly AppliedLimit[], failure: Error): Reservation | Refusal {
    if (limits.some(({ limit }) => this.#policy[limit] === 'closed')) throw failure
    const own = limits.map((limit) => this.#shareOf(limit))
    for (const limit of own) this.#remember(limit)
    return this.#local.reserveNow(own)
  }

  settle(reservation: Reservation, actual: Actual): Promise<void> {
    return this.#local.settle(reservation, actual)
  }

  /** A budget is one for all: what is left of it, as it was last known, is what is shared. */
  #shareOf(limit: AppliedLimit): AppliedLimit {
    if (this.#share >= 1) return limit
    if (!isBudget(limit)) return { ...limit, cap: Math.max(1, Math.floor(limit.cap * this.#share)) }
    const spent = this.#lastSpent(limit)
    return { ...limit, cap: spent + Math.floor(Math.max(0, limit.cap - spent) * this.#share) }
  }

  #remember(limit: AppliedLimit): void {
    if (isBudget(limit)) this.#local.atLeast(limit, this.#lastSpent(limit))
  }

  #lastSpent(limit: AppliedLimit): number {
    const known = this.#spent.get(nameOf(limit))
    return known?.period === periodOf(limit) ? known.spent : 0
  }
}

const periodOf = ({ limit }: AppliedLimit): number => (limit === 'usd_day' ? dayOf(Date.now()) : monthOf(Date.now()))
