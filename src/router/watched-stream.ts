import type { Passage } from './passage.ts'

/** A stream whose passage is told how it ends. Its reader gets the very promises of the stream. */
export class WatchedStream<Piece> implements AsyncIterableIterator<Piece> {
  readonly #pieces: AsyncIterator<Piece>
  readonly #passage: Passage
  #hasBegun = false
  #isOver = false

  constructor(ask: () => AsyncIterable<Piece>, passage: Passage) {
    this.#passage = passage
    try {
      this.#pieces = ask()[Symbol.asyncIterator]()
    } catch (error) {
      passage.fail(error)
      throw error
    }
  }

  next(): Promise<IteratorResult<Piece>> {
    const next = this.#pieces.next()
    next.then(this.#take, this.#fail)
    return next
  }

  async return(): Promise<IteratorResult<Piece>> {
    if (!this.#isOver) this.#passage.leave()
    this.#isOver = true
    return (await this.#pieces.return?.()) ?? { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  readonly #take = ({ done }: IteratorResult<Piece>): void => {
    if (this.#isOver) return
    if (done) {
      this.#isOver = true
      this.#passage.end()
    } else if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#passage.begin()
    }
  }

  readonly #fail = (error: unknown): void => {
    if (this.#isOver) return
    this.#isOver = true
    this.#passage.fail(error)
  }
}
