import type { AskedRequest, CallOptions } from '../types.ts'
import type { Candidate } from './candidate.ts'
import type { Operation } from './pace.ts'

/** What a target is chosen for. */
export interface Asked {
  operation: Operation
  request: AskedRequest
  call: CallOptions
}

/** Chooses one of the candidates, of which there is at least one. */
export type Choice = (candidates: readonly [Candidate, ...Candidate[]], asked: Asked) => Candidate

/** Those with the lowest value. */
export function lowest(
  candidates: readonly [Candidate, ...Candidate[]],
  measure: (candidate: Candidate) => number,
): [Candidate, ...Candidate[]] {
  const [first, ...others] = candidates
  let best: [Candidate, ...Candidate[]] = [first]
  let least = measure(first)
  for (const candidate of others) {
    const value = measure(candidate)
    if (value > least) continue
    best = value < least ? [candidate] : [...best, candidate]
    least = value
  }
  return best
}
