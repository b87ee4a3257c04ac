import type { GatewayError } from '../server/errors.ts'

/** A target that has failed. */
export interface Failure<Candidate> {
  candidate: Candidate
  error: GatewayError
}

/**
 * Which failure the client is told when all targets have failed: the one that says best what to do. First a limit, for it tells
 * when to come back; then what passes by itself (503, 504, 502); then a prompt that is too long; last what no retry mends. Of
 * several alike the one with the shortest wait, else the last.
 *
 * @param failures At least one, in their order.
 */
export function mostUseful<Candidate>(failures: readonly Failure<Candidate>[]): Failure<Candidate> {
  return failures.reduce((best, failure) => {
    const difference = rankOf(failure.error) - rankOf(best.error) || waitOf(failure.error) - waitOf(best.error)
    return difference > 0 ? best : failure
  })
}

const ranks: Record<number, number> = { 429: 0, 503: 1, 504: 2, 502: 3 }

function rankOf({ kind, status, headers }: GatewayError): number {
  if (headers['x-should-retry'] === 'false') return 5
  return kind === 'upstream_rejected' ? 4 : (ranks[status] ?? 3)
}

/** Seconds. Of those that name none: as long as any. */
const waitOf = ({ headers }: GatewayError): number => Number(headers['retry-after'] ?? 3600)
