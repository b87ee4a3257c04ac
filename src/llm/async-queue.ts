/**
 * A queue between a producer that pushes (a socket) and one consumer that awaits (a `for await`).
 *
 * It tells the producer to pause when what waits has a size of `highWaterMark`, and to resume when it is consumed, so
 * that a slow reader slows the upstream instead of filling memory.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T> {
  #items: T[] = []
  #head = 0
  #size = 0
  #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void } | undefined
  #ended = false
  #error: unknown
  #paused = false
  readonly #producer: { pause(): void; resume(): void; cancel(): void }
  readonly #highWaterMark: number

  constructor(producer: { pause(): void; resume(): void; cancel(): void }, highWaterMark = 64 * 1024) {
    this.#producer = producer
    this.#highWaterMark = highWaterMark
  }

  /** `size` is in the unit of the high-water mark. */
  push(item: T, size = 1): void {
    if (this.#ended) return
    if (this.#waiting) {
      const { resolve } = this.#waiting
      this.#waiting = undefined
      resolve({ done: false, value: item })
      return
    }
    this.#items.push(item)
    this.#size += size
    if (!this.#paused && this.#size >= this.#highWaterMark) {
      this.#paused = true
      this.#producer.pause()
    }
  }

  /** No more items; with an error, the consumer meets it after the items that came before. */
  end(error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    if (!this.#waiting) return
    const { resolve, reject } = this.#waiting
    this.#waiting = undefined
    if (error === undefined) resolve({ done: true, value: undefined })
    else reject(this.#takeError())
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#head < this.#items.length) {
      const value = this.#items[this.#head++] as T
      if (this.#head === this.#items.length) {
        this.#items = []
        this.#head = 0
        this.#size = 0
        if (this.#paused) {
          this.#paused = false
          this.#producer.resume()
        }
      }
      return Promise.resolve({ done: false, value })
    }
    if (this.#error !== undefined) return Promise.reject(this.#takeError())
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  /** The consumer has had enough: what waits is dropped and the producer cancelled. */
  return(): Promise<IteratorResult<T>> {
    const running = !this.#ended
    this.#items = []
    this.#head = 0
    this.#error = undefined
    this.end()
    if (running) this.#producer.cancel()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #takeError(): unknown {
    const error = this.#error
    this.#error = undefined
    return error
  }
}
