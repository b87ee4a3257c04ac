/**
 * What the requests under way may come to beyond their estimates.
 *
 * A request is admitted only if what is used, the estimates of those under way, a doubt about each of these, and its own
 * estimate are within the cap. The doubt is the second worst error of late. So of all that are under way, with the one
 * admitted last, each but one has its room; by the error of that one, and by no more, a cap is passed. The one thing
 * assumed is that no two that are under way at the same time are wrong by more than the second worst so far. A single
 * answer that is as long as no other holds up nobody: it is the one that has no room.
 *
 * Until enough has been seen to say what is usual, the largest under way is taken to come to four times its estimate: an
 * estimate is a token for four bytes, and no text is more tokens than bytes.
 *
 * The scripts of Redis keep the same, with the same numbers.
 */
export interface Errors {
  /** When the first of these was seen, in Unix milliseconds; the two worst of them, and how many they are. */
  since: number
  worst: number
  second: number
  seen: number
  /** Of those before. */
  worstBefore: number
  secondBefore: number
  seenBefore: number
}

/** So many, and for so many milliseconds, are remembered together, and once as many before them. */
const manySeen = 64
const whileMs = 300_000

/** Fewer, too, are no longer what is usual then; and after twice that nothing is. */
const longestMs = 3_600_000

/** Fewer say nothing of what is usual. */
const enoughSeen = 16

/** What the largest estimate may be wrong by, while nothing is known: so many times itself. */
const unknownError = 3

/** Milliseconds after which another try is worth it, when nobody knows when what is under way will be over. */
export const aWhileMs = 1000

const none: Errors = { since: 0, worst: 0, second: 0, seen: 0, worstBefore: 0, secondBefore: 0, seenBefore: 0 }

/** Of one limit, within one process. */
export class Doubt {
  #errors = none
  #underWay = 0
  #largest = 0

  /** So much room is to be left. */
  amount(now: number): number {
    const { worst, worstBefore, second, secondBefore, seen, seenBefore } = this.#errorsBy(now)
    const usual = Math.max(second, secondBefore, Math.min(worst, worstBefore))
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
    this.#errors = {
      ...errors,
      worst: Math.max(errors.worst, error),
      second: Math.max(errors.second, Math.min(errors.worst, error)),
      seen: errors.seen + 1,
    }
  }

  #errorsBy(now: number): Errors {
    const { since, worst, second, seen } = this.#errors
    const age = now - since
    if (age >= 2 * longestMs) return { ...none, since: now }
    if (age < (seen >= manySeen ? whileMs : longestMs)) return this.#errors
    return { ...none, since: now, worstBefore: worst, secondBefore: second, seenBefore: seen }
  }
}
