/**
 * What the requests under way may come to beyond their estimates.
 *
 * A request is admitted only if what is used, the estimates of those under way, a doubt about each of these, and its own
 * estimate are within the cap. The doubt is the worst error of the last hour or two. So whatever is under way, when it is over,
 * is within the cap but for the error of the one admitted last: a cap is passed by no more than one request's error. The one
 * thing assumed is that none under way is wrong by more than the worst so far. Until enough has been seen to say what that
 * is, the largest under way is taken to come to four times its estimate: an estimate is a token for four bytes, and no
 * text is more tokens than bytes.
 *
 * The scripts of Redis keep the same, with the same numbers.
 */
export interface Errors {
  /** The hour in which it was last seen how wrong an estimate was, its worst error, and of how many. */
  epoch: number
  worst: number
  seen: number
  /** Of the hour before. */
  worstBefore: number
  seenBefore: number
}

/** So long the worst error is remembered, and up to twice that, in milliseconds. */
const epochMs = 3_600_000

/** Fewer say nothing of what is usual. */
const enoughSeen = 16

/** What the largest estimate may be wrong by, while nothing is known: so many times itself. */
const unknownError = 3

/** Milliseconds after which another try is worth it, when nobody knows when what is under way will be over. */
export const aWhileMs = 1000

const none: Errors = { epoch: 0, worst: 0, seen: 0, worstBefore: 0, seenBefore: 0 }

/** Of one limit, within one process. */
export class Doubt {
  #errors = none
  #underWay = 0
  #largest = 0

  /** So much room is to be left. */
  amount(now: number): number {
    const { worst, worstBefore, seen, seenBefore } = this.#errorsBy(now)
    const usual = Math.max(worst, worstBefore)
    if (seen + seenBefore >= enoughSeen) return this.#underWay * usual
    return this.#underWay * Math.max(usual, unknownError * this.#largest)
  }

  begins(amount: number): void {
    this.#largest = this.#underWay === 0 ? amount : Math.max(this.#largest, amount)
    this.#underWay += 1
  }

  /** @param error How much more than its estimate it came to; undefined when nobody knows, or it came to nothing. */
  ends(error: number | undefined, now: number): void {
    this.#underWay -= 1
    if (error === undefined) return
    const errors = this.#errorsBy(now)
    this.#errors = { ...errors, worst: Math.max(errors.worst, error), seen: errors.seen + 1 }
  }

  #errorsBy(now: number): Errors {
    const epoch = Math.floor(now / epochMs)
    const { epoch: last, worst, seen } = this.#errors
    if (epoch === last) return this.#errors
    if (epoch === last + 1) return { ...none, epoch, worstBefore: worst, seenBefore: seen }
    return { ...none, epoch }
  }
}
