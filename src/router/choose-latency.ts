import type { Candidate } from './candidate.ts'
import { type Choice, lowest } from './choice.ts'
import { drawn } from './choose-weighted.ts'

/** The share of requests that is drawn by weight all the same: who was slow, or has failed, may be better by now. */
const exploration = 0.05

/** The one that is expected to answer first. One of which nothing is known is tried, with one request at a time. */
export const fastest: Choice = (candidates, asked) => {
  const { operation } = asked
  const isKnown = ({ pace }: Candidate): boolean => pace.expected(operation) !== undefined
  const [untried, ...more] = candidates.filter((candidate) => !isKnown(candidate) && candidate.inFlight === 0)
  if (untried) return drawn([untried, ...more], asked)
  const [known, ...others] = candidates.filter(isKnown)
  if (!known || Math.random() < exploration) return drawn(candidates, asked)
  return drawn(
    lowest([known, ...others], ({ pace }) => pace.expected(operation) ?? 0),
    asked,
  )
}
