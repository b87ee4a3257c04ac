import { type Choice, lowest } from './choice.ts'
import { drawn } from './choose-weighted.ts'

/** The one with the fewest open requests for its weight, as far as this process knows; of several, drawn by weight. */
export const leastBusy: Choice = (candidates, asked) =>
  drawn(
    lowest(candidates, ({ inFlight, weight }) => inFlight / weight),
    asked,
  )
