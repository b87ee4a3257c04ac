import type { Refusal } from '../limits/limiter.ts'
import type { LimitName, LimitScope } from '../types.ts'
import { type ErrorKind, GatewayError } from './errors.ts'
import { durationText } from './rate-headers.ts'

const kinds: Record<LimitName, ErrorKind> = {
  requests: 'requests_limited',
  tokens: 'tokens_limited',
  concurrency: 'concurrency_limited',
  usd_day: 'budget_exceeded',
  usd_month: 'budget_exceeded',
}

const names: Record<LimitName, string> = {
  requests: 'requests per min (RPM)',
  tokens: 'tokens per min (TPM)',
  concurrency: 'concurrent requests',
  usd_day: 'USD per day',
  usd_month: 'USD per month',
}

const owners: Record<LimitScope, string> = { key: 'this API key', model: 'the model', gateway: 'the gateway' }

/** Waiting is in vain, or would be for too long. */
const noRetry = { 'x-should-retry': 'false' }

/** What a client is told whose request would pass a limit. What is used by others is nobody's business: only a key sees its own. */
export function limitError(refusal: Refusal, model: string): GatewayError {
  const applied = refusal.limits[refusal.by]
  const use = refusal.uses[refusal.by]
  if (!applied || !use) return new GatewayError('requests_limited', 'rate limit reached', { retryAfter: 1 })
  const { limit, scope } = applied
  const isBudget = limit === 'usd_day' || limit === 'usd_month'
  const requested = isBudget ? '' : `, Requested ${applied.amount}`
  const used = isBudget ? `${use.used.toFixed(4)} USD` : use.used
  const detail = scope === 'key' ? `: Limit ${use.cap}, Used ${used}${requested}` : ''
  if (refusal.isInDoubt) {
    const message = `What is under way for ${model}, by ${owners[scope]}, may need all that is left of ${names[limit]}${detail}. Please try again in ${durationText(refusal.retryAfterMs)}.`
    return new GatewayError('tokens_limited', message, { retryAfter: refusal.retryAfterMs / 1000 })
  }
  if (isBudget) {
    const message = `The budget of ${owners[scope]} is used up, in ${names[limit]}${detail}. Please check your plan, or wait until the next ${limit === 'usd_day' ? 'day' : 'month'} (UTC).`
    const retryAfter = String(Math.max(1, Math.ceil(refusal.retryAfterMs / 1000)))
    return new GatewayError('budget_exceeded', message, { headers: { ...noRetry, 'retry-after': retryAfter } })
  }
  if (refusal.isTooLarge) {
    const message = `Request too large for ${model}, by ${owners[scope]}, on ${names[limit]}: Limit ${use.cap}, Requested ${applied.amount}. The input or output tokens must be reduced in order to run successfully.`
    return new GatewayError(kinds[limit], message, { headers: noRetry, retryAfter: 60 })
  }
  const wait = durationText(refusal.retryAfterMs)
  const message = `Rate limit reached for ${model}, by ${owners[scope]}, on ${names[limit]}${detail}. Please try again in ${wait}.`
  return new GatewayError(kinds[limit], message, { retryAfter: refusal.retryAfterMs / 1000 })
}
