import type { LimitUse } from '../types.ts'
import type { Actual, AppliedLimit, Refusal, Reservation } from './limiter.ts'

/** What no other limit has for a name: the first two are of a few words. */
export const nameOf = ({ limit, scope, id }: Pick<AppliedLimit, 'limit' | 'scope' | 'id'>): string =>
  `${limit}:${scope}:${id}`

/** It is of USD, and of a day or a month. */
export const isBudget = ({ limit }: Pick<AppliedLimit, 'limit'>): boolean =>
  limit === 'usd_day' || limit === 'usd_month'

/** USD, in billionths. */
export const nano = 1_000_000_000

/** Of the settling of a reservation: how much more, or less, than its limits were charged with. */
export function differences({ limits }: Pick<Reservation, 'limits'>, { tokens, usd }: Actual): number[] {
  return limits.map((applied) => {
    const { limit, amount } = applied
    if (limit === 'tokens') return tokens === undefined ? 0 : Math.ceil(tokens) - amount
    if (isBudget(applied)) return usd === undefined ? 0 : Math.round(usd * nano) - amount
    return 0
  })
}

/** What is taken of it is an estimate. What takes nothing is none. */
export const isEstimate = (applied: AppliedLimit): boolean =>
  applied.amount > 0 && (applied.limit === 'tokens' || isBudget(applied))

/** How much more a request came to than was estimated; undefined where nobody knows, or where nothing came of it. */
export function errorOf(applied: AppliedLimit, { tokens = 0, usd = 0 }: Actual): number | undefined {
  if (!isEstimate(applied)) return undefined
  const actual = applied.limit === 'tokens' ? Math.ceil(tokens) : Math.round(usd * nano)
  return actual > 0 ? actual - applied.amount : undefined
}

/** As it is told: `used` after the reservation, if it was granted. */
export function useOf(applied: AppliedLimit, used: number, resetMs: number, held: number, granted: boolean): LimitUse {
  const { limit, scope, id, cap, amount } = applied
  const unit = isBudget(applied) ? nano : 1
  const usedNow = granted ? used + amount : used
  return { limit, scope, id, used: usedNow / unit, held: held / unit, cap: cap / unit, resetMs }
}

const leftOf = ({ limit, cap }: AppliedLimit, { used }: LimitUse): number =>
  cap - (limit === 'tokens' ? used : Math.round(used * nano))

/** What is not granted: by the limit that takes longest to have room. `waits`: milliseconds, 0 where there is room. */
export function refusalOf(
  limits: readonly AppliedLimit[],
  uses: readonly LimitUse[],
  waits: readonly number[],
): Refusal {
  const isTooLarge = limits.findIndex(({ limit, amount, cap }) => limit !== 'concurrency' && amount > cap)
  const by = isTooLarge >= 0 ? isTooLarge : waits.indexOf(Math.max(...waits))
  const [applied, use] = [limits[by], uses[by]]
  const isInDoubt = Boolean(applied && use && isEstimate(applied) && leftOf(applied, use) >= applied.amount)
  return { granted: false, limits, uses, by, retryAfterMs: waits[by] ?? 0, isTooLarge: isTooLarge >= 0, isInDoubt }
}
