import { targetOf } from '../target.ts'
import type { AskedRequest, CallOptions, LLMClient } from '../types.ts'
import { Pause } from './pause.ts'
import { isRetryable } from './provider-fault.ts'
import type { RetryBudget } from './retry-budget.ts'
import { isUnavailable } from './unavailable.ts'

export interface RetryOptions {
  /** Times that a failed request is asked again. Default 2. */
  max?: number
  /** Milliseconds: the first pause is drawn between 0 and this, each later one between 0 and twice as much. Default 250. */
  baseDelay?: number
  /** Milliseconds, of the longest pause that is drawn. Default 8000. */
  maxDelay?: number
  /** Milliseconds after the request until which a retry may begin. Default 30 000. */
  deadline?: number
  /** Shared by all that ask the same provider. Default: none, and retries are not bounded together. */
  budget?: RetryBudget | undefined
}

/** When a client is asked again. */
export class Retries {
  readonly client: LLMClient
  readonly max: number
  readonly #baseDelay: number
  readonly #maxDelay: number
  readonly #deadline: number
  readonly budget: RetryBudget | undefined

  constructor(
    client: LLMClient,
    { max = 2, baseDelay = 250, maxDelay = 8000, deadline = 30_000, budget }: RetryOptions,
  ) {
    this.client = client
    this.max = max
    this.#baseDelay = baseDelay
    this.#maxDelay = maxDelay
    this.#deadline = deadline
    this.budget = budget
  }

  /** Milliseconds until the retry of that number, from 1; undefined when it would come too late. */
  delayOf(attempt: number, askedMs: number | undefined, elapsedMs: number): number | undefined {
    const drawn = Math.random() * Math.min(this.#maxDelay, this.#baseDelay * 2 ** (attempt - 1))
    // Those who were told the same must not all come back at the same moment.
    const delay = (askedMs ?? 0) + drawn
    return elapsedMs + delay < this.#deadline ? delay : undefined
  }
}

/** The retries of one request. */
export class Retry {
  readonly #rules: Retries
  readonly #request: AskedRequest
  readonly #call: CallOptions | undefined
  readonly #startedAt: number
  #attempt = 0

  constructor(rules: Retries, request: AskedRequest, call: CallOptions | undefined, startedAt: number) {
    this.#rules = rules
    this.#request = request
    this.#call = call
    this.#startedAt = startedAt
  }

  /**
   * The pause before the request is asked again.
   *
   * @throws the error itself when that would be of no use
   */
  after(error: unknown): Pause {
    const { client, max, budget } = this.#rules
    const call = this.#call
    if (this.#attempt >= max || call?.signal?.aborted || !isRetryable(error)) throw error
    if (client.unavailableMs?.() !== undefined || call?.hasFallback?.(error)) throw error
    const attempt = this.#attempt + 1
    const delayMs = this.#rules.delayOf(attempt, error.askedWaitMs, performance.now() - this.#startedAt)
    if (delayMs === undefined) throw error
    const retry = { target: targetOf(client, this.#request), attempt, reason: error.code ?? error.type }
    if (budget && !budget.take()) {
      call?.onRetryBudgetSpent?.(retry)
      throw error
    }
    this.#attempt = attempt
    call?.onRetry?.({ ...retry, delayMs })
    return new Pause(delayMs, call?.signal)
  }

  /** Of two errors the one that says more: a target that has become unavailable meanwhile is so for what happened before. */
  blame(next: unknown, before: unknown): unknown {
    if (isUnavailable(next)) throw before
    return next
  }
}
