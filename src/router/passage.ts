import { GatewayError } from '../server/errors.ts'
import type { Breaker } from './breaker.ts'
import { isProviderFault } from './provider-fault.ts'

const isDeadline = (reason: unknown): boolean => reason instanceof GatewayError && reason.kind === 'deadline_exceeded'

/** One request that was let through, and what its breaker is told of it. */
export class Passage {
  /** Or how to make it: a name that the provider only refuses is not worth remembering. */
  #breaker: Breaker | (() => Breaker)
  readonly #pass: number
  readonly #signal: AbortSignal | undefined

  constructor(breaker: Breaker | (() => Breaker), pass: number, signal: AbortSignal | undefined) {
    this.#breaker = breaker
    this.#pass = pass
    this.#signal = signal
  }

  /** The first piece of the answer is here. */
  begin(): void {
    if (typeof this.#breaker !== 'function') this.#breaker.alive(this.#pass)
  }

  /** The answer is whole. */
  end(): void {
    this.#made().succeed(this.#pass)
  }

  fail(error: unknown): void {
    // A deadline is no client that has left: it was the provider that took so long.
    if (this.#signal?.aborted && !isDeadline(this.#signal.reason)) this.leave()
    else if (this.#signal?.aborted || isProviderFault(error)) this.#made().fail(this.#pass)
    else if (error instanceof GatewayError && error.kind === 'upstream_rejected') this.begin()
    else this.leave()
  }

  /** Nobody waits any more. */
  leave(): void {
    if (typeof this.#breaker !== 'function') this.#breaker.leave(this.#pass)
  }

  #made(): Breaker {
    if (typeof this.#breaker === 'function') this.#breaker = this.#breaker()
    return this.#breaker
  }
}
