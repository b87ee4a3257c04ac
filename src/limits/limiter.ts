import type { KeyLimits } from '../auth/auth-plugin.ts'
import type { LimitName, LimitScope, LimitUse } from '../types.ts'
import type { Doubt } from './doubt.ts'

/** One limit that a request falls under, and what the request takes of it. USD are in billionths: whole numbers add up exactly. */
export interface AppliedLimit {
  limit: LimitName
  scope: LimitScope
  /** Whose it is: a key's id, a model's; empty for the gateway's. */
  id: string
  cap: number
  amount: number
}

/** What was taken for a request before it is served. It is to be settled, once, whatever comes of the request. */
export interface Reservation {
  readonly granted: true
  readonly id: string
  readonly limits: readonly AppliedLimit[]
  readonly uses: readonly LimitUse[]
}

/** Nothing was taken. */
export interface Refusal {
  readonly granted: false
  readonly limits: readonly AppliedLimit[]
  readonly uses: readonly LimitUse[]
  /** Of `limits`, and of `uses`: the one that takes longest to have room again. */
  readonly by: number
  /** Milliseconds until it has. Of slots nobody can tell: a second. */
  readonly retryAfterMs: number
  /** It takes more than the whole limit: no waiting helps. */
  readonly isTooLarge: boolean
  /** There is room, unless what is under way comes to more than was estimated: see {@link Doubt}. */
  readonly isInDoubt: boolean
}

/** What a request came to. Undefined where nobody knows: then the reservation stands. */
export interface Actual {
  tokens: number | undefined
  usd: number | undefined
  /** Whose request it was, to be counted for; undefined for nobody. */
  keyId: string | undefined
}

/** What was used within a day, or a month, of UTC. */
export interface Used {
  requests: number
  tokens: number
  /** What is known of it. */
  usd: number
}

export interface KeyUsage {
  today: Used
  month: Used
}

/**
 * Takes what requests need from limits before they are served, and afterwards gives back, or takes in addition, what they did
 * not need, or needed more. All limits of a request are checked together: either all are taken from, or none.
 *
 * Requests and tokens are counted in a sliding window of a minute, in steps of a second of which the oldest counts as a whole: in
 * no 60 seconds more is admitted than the cap, and in the long run up to a 60th less.
 *
 * Where what is taken is an estimate, a cap is passed by no more than the error of one: see {@link Doubt}.
 */
export interface Limiter {
  /** Of all requests together. */
  readonly gateway: KeyLimits
  /** What every key uses is counted, also of those that have no limits. */
  readonly countsUsage: boolean
  /** Tokens that are reserved for an answer whose request does not bound it. */
  readonly defaultOutputTokens: number
  /** @throws GatewayError `store_unavailable` when nobody can tell, and one of the limits is closed then */
  reserve(limits: readonly AppliedLimit[]): Promise<Reservation | Refusal>
  /** Never fails: what cannot be settled now is tried again for a while. Resolves when that is over. */
  settle(reservation: Reservation, actual: Actual): Promise<void>
  /** @throws GatewayError `store_unavailable` */
  usageOf(keyId: string): Promise<KeyUsage>
  close(): void
}

/** USD, in billionths. */
export const nano = 1_000_000_000

/** Of the settling of a reservation: how much more, or less, than its limits were charged with. */
export function differences({ limits }: Pick<Reservation, 'limits'>, { tokens, usd }: Actual): number[] {
  return limits.map(({ limit, amount }) => {
    if (limit === 'tokens') return tokens === undefined ? 0 : Math.ceil(tokens) - amount
    if (limit === 'usd_day' || limit === 'usd_month') return usd === undefined ? 0 : Math.round(usd * nano) - amount
    return 0
  })
}

/** What is taken of it is an estimate. What takes nothing is none. */
export const isEstimate = ({ limit, amount }: AppliedLimit): boolean =>
  amount > 0 && (limit === 'tokens' || limit === 'usd_day' || limit === 'usd_month')

/** How much more a request came to than was estimated; undefined where nobody knows, or where nothing came of it. */
export function errorOf(applied: AppliedLimit, { tokens = 0, usd = 0 }: Actual): number | undefined {
  if (!isEstimate(applied)) return undefined
  const actual = applied.limit === 'tokens' ? Math.ceil(tokens) : Math.round(usd * nano)
  return actual > 0 ? actual - applied.amount : undefined
}

/** As it is told: `used` after the reservation, if it was granted. */
export function useOf(
  { limit, scope, id, cap, amount }: AppliedLimit,
  used: number,
  resetMs: number,
  held: number,
  granted: boolean,
): LimitUse {
  const unit = limit === 'usd_day' || limit === 'usd_month' ? nano : 1
  return {
    limit,
    scope,
    id,
    used: (granted ? used + amount : used) / unit,
    held: held / unit,
    cap: cap / unit,
    resetMs,
  }
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
