import { toJSONText } from '../source.ts'
import type { CallOptions } from '../types.ts'

/** Characters, as JSON, that wait for a reader in memory. */
const mostUnread = 256 * 1024

/**
 * Items that are made whether or not anybody reads them. One reader gets them as they come; what it has not read yet waits for it,
 * so that a reader who has silently gone holds up nobody. One that falls far behind gets the rest from where they are kept.
 */
export class Detached<T extends object> implements AsyncIterator<T> {
  /** Settles when all are made, or that has failed. */
  readonly over: Promise<void>
  readonly #reread: (from: number) => AsyncIterator<T>
  #rest: AsyncIterator<T> | undefined
  #unread: T[] = []
  #unreadSize = 0
  #given = 0
  #isBehind = false
  #isRead = true
  #isOver = false
  #news = Promise.withResolvers<void>()

  /** @param reread Reads those that were made, from a number (0-based) on; those to come as well. */
  constructor(items: AsyncIterator<T>, reread: (from: number) => AsyncIterator<T>) {
    this.#reread = reread
    this.over = this.#make(items)
    // The reader hears of it, if there is one.
    this.over.catch(() => {})
  }

  /** The reader gets the rest from where it is kept. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.#unread.length === 0 && !this.#isOver && !this.#isBehind) await this.#news.promise
    if (this.#isBehind) {
      this.#rest ??= this.#reread(this.#given)
      return this.#rest.next()
    }
    const value = this.#unread.shift()
    if (value) {
      this.#given += 1
      if (this.#unread.length === 0) this.#unreadSize = 0
      return { done: false, value }
    }
    await this.over
    return { done: true, value: undefined }
  }

  /** The reader leaves. */
  async return(): Promise<IteratorResult<T>> {
    this.#isRead = false
    this.#unread = []
    this.#rest?.return?.().catch(() => {})
    return { done: true, value: undefined }
  }

  async #make(items: AsyncIterator<T>): Promise<void> {
    try {
      for (let next = await items.next(); !next.done; next = await items.next()) {
        if (this.#isRead && !this.#isBehind) this.#put(next.value)
        this.#tell()
      }
    } finally {
      this.#isOver = true
      this.#tell()
    }
  }

  #put(item: T): void {
    // What a reader takes at once is not measured.
    if (this.#unread.length > 0) this.#unreadSize += toJSONText(item).length
    this.#unread.push(item)
    if (this.#unreadSize <= mostUnread) return
    this.#isBehind = true
    this.#unread = []
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
