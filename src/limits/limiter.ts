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

/** Of whatever keeps them. */
export interface LimiterOptions {
  /** Of all requests together. Default none. */
  gateway?: KeyLimits | undefined
  /** Count what every key uses, also without limits. Default false. */
  countsUsage?: boolean | undefined
  /** Reserved for an answer whose request does not bound it. Default 1024. */
  defaultOutputTokens?: number | undefined
  /** Milliseconds of the window of requests and tokens. Default 60 000. */
  windowMs?: number | undefined
}
