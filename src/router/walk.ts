import { GatewayError } from '../server/errors.ts'
import { targetOf } from '../target.ts'
import type { CallOptions, FallbackReason, Target } from '../types.ts'
import type { Candidate, Visit } from './candidate.ts'
import type { Asked, Choice } from './choice.ts'
import { reasonOf } from './fallback-reasons.ts'
import { type Failure, mostUseful } from './most-useful.ts'

/** How the requests to one model find their target. */
export interface Rules {
  choice: Choice
  /** After which failures another is asked. */
  reasons: ReadonlySet<FallbackReason>
  /** The steps of a run stay together: their provider has the prompt in its cache, and knows its own signatures again. */
  runs: WeakMap<object, Candidate>
}

/** One request's way through the targets of its model. */
export class Walk {
  /** What each of them is asked with: it does not pause for retries while there is another. */
  readonly call: CallOptions
  readonly #rules: Rules
  readonly #asked: Asked
  #left: readonly Candidate[]
  readonly #failures: Failure<Candidate>[] = []
  #at: Candidate | undefined
  #visit: Visit | undefined
  #isAnswered = false

  constructor(rules: Rules, candidates: readonly Candidate[], asked: Asked) {
    this.#rules = rules
    this.#left = candidates
    this.#asked = asked
    const { call } = asked
    this.call = { ...call, hasFallback: (error) => this.canGoOn(error) || call.hasFallback?.(error) === true }
  }

  /** Goes to the first target. @throws GatewayError `no_target_available` */
  begin(): Candidate {
    const first = this.#next()
    if (!first) throw noTarget(this.#left)
    return this.#enter(first)
  }

  /** The answer is here, or its first piece: from now on nobody else is asked. */
  answered(): void {
    this.#isAnswered = true
    this.#visit?.answered()
  }

  /** Nothing more will come. */
  over(): void {
    this.#visit?.over()
  }

  /** Whether there is a target that could do better after this failure. */
  canGoOn(error: unknown): boolean {
    return (
      !this.#isAnswered &&
      this.#mayHelp(reasonOf(error)) &&
      this.#left.some((candidate) => candidate !== this.#at && candidate.client.unavailableMs?.() === undefined)
    )
  }

  /** Goes to the next target after a failure. @throws what the client is to be told, when there is none, or it would not help */
  goOn(error: unknown): Candidate {
    const from = this.#at
    const reason = this.#failed(error)
    const { call } = this.#asked
    if (!from || !this.#mayHelp(reason) || !(error instanceof GatewayError)) throw error
    this.#failures.push({ candidate: from, error })
    this.#left = this.#left.filter((candidate) => candidate !== from)
    const next = this.#next()
    if (!next) throw this.#told()
    call.onFallback?.({ from: this.#targetOf(from), to: this.#targetOf(next), reason })
    return this.#enter(next)
  }

  /** Not once the client has left, or the time is up. */
  #mayHelp(reason: FallbackReason | undefined): reason is FallbackReason {
    if (reason === undefined || this.#asked.call.signal?.aborted) return false
    return reason === 'unavailable' || this.#rules.reasons.has(reason)
  }

  /** Takes note of a failure. Returns why another target could do better. */
  #failed(error: unknown): FallbackReason | undefined {
    const reason = reasonOf(error)
    const isOwnFault = reason !== undefined && reason !== 'context_length' && reason !== 'unavailable'
    if (isOwnFault || (error instanceof GatewayError && error.kind === 'deadline_exceeded')) this.#visit?.failed()
    this.over()
    return reason
  }

  #told(): GatewayError {
    const { candidate, error } = mostUseful(this.#failures)
    // What is told of the request is told of the target whose failure it ends with.
    if (candidate !== this.#at) this.#asked.call.onTarget?.(this.#targetOf(candidate))
    return error
  }

  #enter(candidate: Candidate): Candidate {
    const { call, operation } = this.#asked
    if (call.run) this.#rules.runs.set(call.run, candidate)
    this.#at = candidate
    this.#visit = candidate.visit(operation)
    call.onTarget?.(this.#targetOf(candidate))
    return candidate
  }

  /** Among those of the lowest priority that take requests. */
  #next(): Candidate | undefined {
    const free = this.#left.filter(({ client }) => client.unavailableMs?.() === undefined)
    const { run } = this.#asked.call
    const earlier = run && this.#rules.runs.get(run)
    if (earlier && free.includes(earlier)) return earlier
    const lowest = Math.min(...free.map(({ priority }) => priority))
    const [first, ...others] = free.filter(({ priority }) => priority === lowest)
    return first && this.#rules.choice([first, ...others], this.#asked)
  }

  #targetOf({ client }: Candidate): Target {
    return targetOf(client, this.#asked.request)
  }
}

/** Milliseconds until one of them takes requests; undefined when one does. */
export function shortestWait(candidates: readonly Candidate[]): number | undefined {
  let shortest = Number.POSITIVE_INFINITY
  for (const { client } of candidates) {
    const wait = client.unavailableMs?.()
    if (wait === undefined) return undefined
    shortest = Math.min(shortest, wait)
  }
  return shortest
}

const noTarget = (candidates: readonly Candidate[]): GatewayError =>
  new GatewayError('no_target_available', 'no target of this model takes requests at the moment; retry later', {
    retryAfter: (shortestWait(candidates) ?? 0) / 1000,
  })
