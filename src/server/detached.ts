import type { CallOptions } from '../types.ts'

/**
 * Items that are made whether or not anybody reads them. One reader gets them as they come; what it has not read yet waits for it,
 * so that a reader who has silently gone holds up nobody.
 */
export class Detached<T extends object> implements AsyncIterator<T> {
  /** Settles when all are made, or that has failed. */
  readonly over: Promise<void>
  #unread: T[] = []
  #isRead = true
  #isOver = false
  #news = Promise.withResolvers<void>()

  constructor(items: AsyncIterator<T>) {
    this.over = this.#make(items)
    // The reader hears of it, if there is one.
    this.over.catch(() => {})
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.#unread.length === 0 && !this.#isOver) await this.#news.promise
    const value = this.#unread.shift()
    if (value) return { done: false, value }
    await this.over
    return { done: true, value: undefined }
  }

  /** The reader leaves. */
  async return(): Promise<IteratorResult<T>> {
    this.#isRead = false
    this.#unread = []
    return { done: true, value: undefined }
  }

  async #make(items: AsyncIterator<T>): Promise<void> {
    try {
      for (let next = await items.next(); !next.done; next = await items.next()) {
        if (this.#isRead) this.#unread.push(next.value)
        this.#tell()
      }
    } finally {
      this.#isOver = true
      this.#tell()
    }
  }

  #tell(): void {
    this.#news.resolve()
    this.#news = Promise.withResolvers()
  }
}

/**
 * Until the head of its answer is sent, what goes on without its client still ends with it, or with the gateway: nobody has been
 * told yet where to find it. Returns what unties it.
 */
export function tied(run: { abort(reason: unknown): void }, { signal }: CallOptions): () => void {
  const end = (): void => run.abort(signal?.reason)
  if (signal?.aborted) end()
  signal?.addEventListener('abort', end, { once: true })
  return () => signal?.removeEventListener('abort', end)
}
