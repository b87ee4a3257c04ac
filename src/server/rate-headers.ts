import type { LimitUse } from '../types.ts'

/** As OpenAI writes a duration: `20ms`, `1s`, `59.98s`, `6m0s`. */
export function durationText(milliseconds: number): string {
  const ms = Math.max(0, Math.ceil(milliseconds))
  if (ms < 1000) return ms === 0 ? '0s' : `${ms}ms`
  const minutes = Math.floor(ms / 60_000)
  const seconds = `${(ms % 60_000) / 1000}s`
  if (minutes < 60) return minutes === 0 ? seconds : `${minutes}m${seconds}`
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`
}

/** What is held back for others is not to be had, either. */
const leftOf = ({ cap, used, held }: LimitUse): number => cap - used - held

/** OpenAI's headers of the limits per minute. Of several limits, the one of which least is left. */
export function rateHeaders(uses: readonly LimitUse[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of ['requests', 'tokens'] as const) {
    const [tightest] = uses.filter(({ limit }) => limit === name).sort((one, other) => leftOf(one) - leftOf(other))
    if (!tightest) continue
    headers[`x-ratelimit-limit-${name}`] = String(tightest.cap)
    headers[`x-ratelimit-remaining-${name}`] = String(Math.max(0, Math.floor(leftOf(tightest))))
    headers[`x-ratelimit-reset-${name}`] = durationText(tightest.resetMs)
  }
  return headers
}
