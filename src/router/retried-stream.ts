import type { Pause } from './pause.ts'
import type { Retry } from './retry.ts'

/** A stream that is asked for again until its first piece is here; from then on it is the provider's own. */
export class RetriedStream<Piece> implements AsyncIterableIterator<Piece> {
  readonly #ask: () => AsyncIterable<Piece>
  readonly #retry: Retry
  #pieces: AsyncIterator<Piece>
  #hasBegun = false
  #isLeft = false
  #pause: Pause | undefined

  constructor(ask: () => AsyncIterable<Piece>, retry: Retry) {
    this.#ask = ask
    this.#retry = retry
    this.#pieces = ask()[Symbol.asyncIterator]()
  }

  next(): Promise<IteratorResult<Piece>> {
    return this.#hasBegun ? this.#pieces.next() : this.#first()
  }

  async return(): Promise<IteratorResult<Piece>> {
    this.#isLeft = true
    this.#pause?.end()
    return (await this.#pieces.return?.()) ?? { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #first(): Promise<IteratorResult<Piece>> {
    let failure: unknown
    for (;;) {
      try {
        const first = await this.#pieces.next()
        this.#hasBegun = true
        return first
      } catch (error) {
        failure = failure === undefined ? error : this.#retry.blame(error, failure)
      }
      this.#pause = this.#retry.after(failure)
      await this.#pause.over
      if (this.#isLeft) return { done: true, value: undefined }
      this.#pieces = this.#ask()[Symbol.asyncIterator]()
    }
  }
}
