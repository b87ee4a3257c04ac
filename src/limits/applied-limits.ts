import type { KeyLimits } from '../auth/auth-plugin.ts'
import type { LimitScope } from '../types.ts'
import { nano } from './accounting.ts'
import type { AppliedLimit } from './limiter.ts'

/** Limits, and whose they are. */
export interface Limited {
  scope: LimitScope
  id: string
  limits: KeyLimits | undefined
}

/** What a request is expected to take. */
export interface Expected {
  tokens: number
  /** Undefined when no price is known: then it takes nothing from a budget. */
  usd: number | undefined
  /** Of that, what the request bounds itself. What is assumed of its answer must not be what makes it larger than a limit. */
  least: { tokens: number; usd: number | undefined }
}

export const hasLimits = (limits: KeyLimits | undefined): limits is KeyLimits =>
  limits !== undefined &&
  (limits.requestsPerMinute ??
    limits.tokensPerMinute ??
    limits.concurrentRequests ??
    limits.usdPerDay ??
    limits.usdPerMonth) !== undefined

/** Whether it takes more than counting requests. */
export const needsEstimate = ({ limits }: Limited): boolean =>
  (limits?.tokensPerMinute ?? limits?.usdPerDay ?? limits?.usdPerMonth) !== undefined

/** Everything that a request falls under, with what it takes of each. */
export function appliedLimits(limited: readonly Limited[], { tokens, usd = 0, least }: Expected): AppliedLimit[] {
  const applied: AppliedLimit[] = []
  for (const { scope, id, limits } of limited) {
    if (!limits) continue
    const add = (
      limit: AppliedLimit['limit'],
      cap: number | undefined,
      amount: number,
      atLeast = amount,
      unit = 1,
    ): void => {
      if (cap === undefined) return
      const whole = Math.max(1, Math.round(cap * unit))
      const wholeOf = (part: number): number => (unit === 1 ? Math.ceil(part) : Math.round(part * unit))
      const most = Math.max(wholeOf(atLeast), whole)
      applied.push({ limit, scope, id, cap: whole, amount: Math.min(wholeOf(amount), most) })
    }
    add('requests', limits.requestsPerMinute, 1)
    add('tokens', limits.tokensPerMinute, tokens, least.tokens)
    add('concurrency', limits.concurrentRequests, 1)
    add('usd_day', limits.usdPerDay, usd, least.usd, nano)
    add('usd_month', limits.usdPerMonth, usd, least.usd, nano)
  }
  return applied
}
