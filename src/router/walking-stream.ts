import type { GatewayError } from '../server/errors.ts'
import type { CallOptions } from '../types.ts'
import type { Candidate } from './candidate.ts'
import type { Walk } from './walk.ts'

/** How the pieces of a stream come from a target, and which of them say nothing yet. */
export interface PieceSource<Piece> {
  open(candidate: Candidate, call: CallOptions): AsyncIterable<Piece>
  /** It comes before the answer itself: nothing is lost when it is said again by another target. */
  isPrelude(piece: Piece): boolean
  /** A piece that says, instead of an answer, that there will be none. */
  faultIn?(piece: Piece): GatewayError | undefined
}

/** More than any provider sends before its answer begins. */
const longestPrelude = 16

/**
 * A stream from the first target that begins to answer. What comes before the answer is held back until it begins: while nothing
 * of it was delivered, another target can be asked. Then it is this target's to the end.
 */
export class WalkingStream<Piece> implements AsyncIterableIterator<Piece> {
  readonly #walk: Walk
  readonly #source: PieceSource<Piece>
  readonly #signal: AbortSignal | undefined
  readonly #over = (): void => this.#end()
  readonly #take = (result: IteratorResult<Piece>): IteratorResult<Piece> => {
    if (result.done) this.#end()
    return result
  }
  readonly #fail = (error: unknown): never => {
    this.#end()
    throw error
  }
  #pieces: AsyncIterator<Piece> | undefined
  #held: Piece[] = []
  #isAnswered = false
  #isLeft = false

  constructor(walk: Walk, source: PieceSource<Piece>) {
    const { signal } = walk.call
    this.#walk = walk
    this.#source = source
    this.#signal = signal
    // Who has left may never ask for the next piece, nor say so.
    signal?.addEventListener('abort', this.#over, { once: true })
  }

  next(): Promise<IteratorResult<Piece>> {
    const held = this.#held.shift()
    if (held !== undefined) return Promise.resolve({ done: false, value: held })
    if (!this.#isAnswered) return this.#begin()
    return this.#pieces?.next().then(this.#take, this.#fail) ?? Promise.resolve(end)
  }

  async return(): Promise<IteratorResult<Piece>> {
    const pieces = this.#pieces
    this.#isLeft = true
    this.#isAnswered = true
    this.#held = []
    this.#pieces = undefined
    this.#end()
    return (await pieces?.return?.()) ?? end
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Resolves with the first piece, from whichever target. */
  async #begin(): Promise<IteratorResult<Piece>> {
    try {
      let candidate = this.#walk.begin()
      for (;;) {
        try {
          return await this.#beginAt(candidate)
        } catch (error) {
          if (this.#isLeft) return end
          this.#held = []
          candidate = this.#walk.goOn(error)
        }
      }
    } catch (error) {
      this.#isAnswered = true
      this.#pieces = undefined
      this.#end()
      throw error
    }
  }

  async #beginAt(candidate: Candidate): Promise<IteratorResult<Piece>> {
    const pieces = this.#source.open(candidate, this.#walk.call)[Symbol.asyncIterator]()
    this.#pieces = pieces
    for (;;) {
      const result = await pieces.next()
      if (!result.done && this.#held.length < longestPrelude && this.#source.isPrelude(result.value)) {
        this.#held.push(result.value)
        continue
      }
      const fault = result.done ? undefined : this.#source.faultIn?.(result.value)
      if (fault && this.#walk.canGoOn(fault)) {
        // It is the last piece; what is read to its end is over for all who count.
        pieces.next().catch(() => {})
        throw fault
      }
      this.#isAnswered = true
      this.#walk.answered()
      if (result.done) this.#end()
      const first = this.#held.shift()
      if (first === undefined) return result
      if (!result.done) this.#held.push(result.value)
      return { done: false, value: first }
    }
  }

  #end(): void {
    this.#signal?.removeEventListener('abort', this.#over)
    this.#walk.over()
  }
}

const end = { done: true, value: undefined } as const
