import {
  type Behaviour,
  dropAfter,
  dropBeforeResponse,
  endWithoutDone,
  errorEventAfter,
  failWith,
  malformedAfter,
  provider,
  stallFirstByte,
} from '../../test/upstream.ts'
import type { Random } from './random.ts'

/** A provider on a bad day: three of four answers are whole. */
export function moody(random: Random): Behaviour {
  const moods: readonly (readonly [number, Behaviour])[] = [
    [75, provider],
    [4, failWith(500)],
    [3, failWith(503)],
    [3, failWith(429, undefined, { 'retry-after': '1' })],
    [2, failWith(400)],
    [3, dropBeforeResponse()],
    [3, dropAfter(2)],
    [2, endWithoutDone(2)],
    [1, malformedAfter(1)],
    [1, errorEventAfter(2)],
    [3, stallFirstByte(300)],
  ]
  return (request, exchange) => random.pick(moods)(request, exchange)
}
