import { CircuitState, SamplingBreaker } from 'cockatiel'
import type { BreakerState } from '../types.ts'

export interface BreakerOptions {
  /** Share of failed requests above which it opens, between 0 and 1. Default 0.5. */
  threshold?: number
  /** Milliseconds in which requests are counted. Default 10 000. */
  window?: number
  /** Fewer within the window tell nothing. Default 10. */
  minimumRequests?: number
  /** Milliseconds until a request is let through to try. Default 10 000. */
  openFor?: number
  /** The clock, in milliseconds. */
  now?: () => number
}

/** Milliseconds. Told to those who come while another tries. */
const triedSoon = 1000

/**
 * The breaker of one target. cockatiel counts; its policy would put promises around every call, and let everybody wait for the
 * one that tries.
 *
 * A request has a `pass` from {@link enter}, by which those that began before the last change of state are known, and ignored.
 */
export class Breaker {
  readonly #window: number
  readonly #openFor: number
  readonly #now: () => number
  readonly #newSampling: () => SamplingBreaker
  readonly #onChange: (state: BreakerState) => void
  #sampling: SamplingBreaker
  #countedAt = 0
  #state: BreakerState = 'closed'
  #pass = 0
  /** Open: until one may try. Half-open: until the one that tries is given up; 0 when there is none. */
  #until = 0

  constructor(
    {
      threshold = 0.5,
      window = 10_000,
      minimumRequests = 10,
      openFor = 10_000,
      now = () => performance.now(),
    }: BreakerOptions,
    onChange: (state: BreakerState) => void,
  ) {
    this.#window = window
    this.#openFor = openFor
    this.#now = now
    // cockatiel thinks per second; half a request less makes up for what division loses.
    const minimumRps = ((minimumRequests - 0.5) * 1000) / window
    this.#newSampling = () => new SamplingBreaker({ threshold, duration: window, minimumRps })
    this.#sampling = this.#newSampling()
    this.#onChange = onChange
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Milliseconds until it lets a request through; undefined when it does. */
  waitMs(): number | undefined {
    if (this.#state === 'closed') return undefined
    const wait = this.#until - this.#now()
    if (wait <= 0) return undefined
    return this.#state === 'open' ? wait : Math.min(triedSoon, wait)
  }

  /** The pass of a request; undefined when none is let through. */
  enter(): number | undefined {
    if (this.#state === 'closed') return this.#pass
    if (this.waitMs() !== undefined) return undefined
    this.#pass++
    // One that never tells what became of it must not keep all others out.
    this.#until = this.#now() + this.#openFor
    this.#become('half_open')
    return this.#pass
  }

  /** The provider answers, though the request is not over yet, or was refused: it is there. */
  alive(pass: number): void {
    if (pass !== this.#pass || this.#state !== 'half_open') return
    this.#sampling = this.#newSampling()
    this.#become('closed')
  }

  succeed(pass: number): void {
    this.alive(pass)
    if (pass !== this.#pass || this.#state !== 'closed') return
    this.#count().success(CircuitState.Closed)
  }

  fail(pass: number): void {
    if (pass !== this.#pass || this.#state === 'open') return
    if (this.#state === 'closed' && !this.#count().failure(CircuitState.Closed)) return
    this.#pass++
    this.#until = this.#now() + this.#openFor
    this.#become('open')
  }

  /** The request is over, and nothing was learnt: the next may try. */
  leave(pass: number): void {
    if (pass === this.#pass && this.#state === 'half_open') this.#until = 0
  }

  /** cockatiel forgets as it counts: what is older than a window after a silence, it would still know. */
  #count(): SamplingBreaker {
    const now = this.#now()
    if (now - this.#countedAt > this.#window) this.#sampling = this.#newSampling()
    this.#countedAt = now
    return this.#sampling
  }

  #become(state: BreakerState): void {
    if (this.#state === state) return
    this.#state = state
    this.#onChange(state)
  }
}
