/** What is waited for: the first piece of a stream, or all of an answer. These are not to be compared with each other. */
export type Operation = 'stream' | 'whole' | 'embed'

/** One request that waits for its answer. Each tells what came of it once. */
export interface Waiting {
  answered(): void
  failed(): void
  /** Nobody waits any more, and it says nothing about the target. */
  left(): void
}

/** How much the last answer counts in the mean: most of what came before ten answers is forgotten. */
const newest = 0.2
/** Milliseconds of a target that has failed before it ever answered. */
const ofUnknown = 1000
/** A wait is only remarkable when it is this many times longer than usual: answers differ. */
const remarkable = 3
const mostDoublings = 6

/** How long a target takes to answer, of late: a moving mean, worse after failures and while somebody waits for long. */
export class Pace {
  readonly #means = new Map<Operation, number>()
  /** Since when; the oldest first. */
  readonly #waiting: Record<Operation, Set<{ since: number }>> = {
    stream: new Set(),
    whole: new Set(),
    embed: new Set(),
  }
  #failures = 0
  readonly #now: () => number

  /** @param now Milliseconds of any clock that only goes forward. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** A request begins to wait. */
  begin(operation: Operation): Waiting {
    const waiting = this.#waiting[operation]
    const one = { since: this.#now() }
    waiting.add(one)
    return {
      answered: () => {
        if (!waiting.delete(one)) return
        const took = this.#now() - one.since
        const mean = this.#means.get(operation) ?? took
        this.#means.set(operation, mean + (took - mean) * newest)
        this.#failures = 0
      },
      failed: () => {
        if (waiting.delete(one)) this.#failures++
      },
      left: () => waiting.delete(one),
    }
  }

  /** Milliseconds; undefined when nothing is known yet. Twice as long for each failure in a row. */
  expected(operation: Operation): number | undefined {
    const mean = this.#means.get(operation)
    if (mean === undefined && this.#failures === 0) return undefined
    const [oldest] = this.#waiting[operation]
    const wait = oldest ? (this.#now() - oldest.since) / remarkable : 0
    return Math.max(mean ?? ofUnknown, wait) * 2 ** Math.min(this.#failures, mostDoublings)
  }
}
