import { unlessAborted } from '../agent/unless-aborted.ts'
import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import { toJSONText } from '../source.ts'
import type { CacheOutcome, CallOptions, Target } from '../types.ts'

export interface SharedAnswerOptions<Item> {
  /** What is held for those who come later, in bytes of JSON. An answer that is longer is for those who are there. */
  maxBytes: number
  /** The first who asks: what is told of the call of a provider is told to it. */
  call: CallOptions
  /** Makes the answer, piece by piece; says by {@link SharedAnswer.settle} where it is from before the first one. */
  make(call: CallOptions): AsyncIterator<Item>
  /** Nobody else may join: it has failed, everybody has left, or it is too long. At most once. */
  onClosed(): void
  /** It is whole; with all of its pieces. Instead of `onClosed`. */
  onWhole(items: readonly Item[]): void
}

/** One of those who read the answer. */
interface Reader {
  call: CallOptions
  /** The number of the piece that it reads next. */
  at: number
  /** Undefined for the first, which has the answer's own. */
  outcome: CacheOutcome | undefined
  leave(): void
  failure?: GatewayError
}

interface Held<Item> {
  item: Item
  bytes: number
}

/**
 * An answer that is made once, for all who ask for it meanwhile. It is made as fast as the fastest of them reads; who joins gets what came
 * so far. Who leaves leaves the others alone; when the last one has left, the making is aborted at once.
 */
export class SharedAnswer<Item extends object> {
  readonly #options: SharedAnswerOptions<Item>
  readonly #controller = new AbortController()
  readonly #items: AsyncIterator<Item>
  readonly #readers = new Set<Reader>()
  readonly #warnings: { warning: string; cause: unknown }[] = []
  /** From the piece of number `#first` on. */
  readonly #held: Held<Item>[] = []
  #first = 0
  #bytes = 0
  #target: Target | undefined
  #outcome: CacheOutcome | undefined
  /** Whom a provider bills for it. */
  #payer: Reader | undefined
  #end: 'whole' | { error: unknown } | undefined
  #isOpen = true
  #pulling: Promise<void> | undefined

  constructor(options: SharedAnswerOptions<Item>) {
    this.#options = options
    this.#items = options.make({
      ...options.call,
      signal: this.#controller.signal,
      onTarget: (target) => {
        this.#target = target
        for (const { call } of this.#readers) call.onTarget?.(target)
      },
      onWarning: (warning, cause) => {
        this.#warnings.push({ warning, cause })
        for (const { call } of this.#readers) call.onWarning?.(warning, cause)
      },
    })
  }

  /** What those who read were told that was not honoured. */
  get warnings(): string[] {
    return this.#warnings.map(({ warning }) => warning)
  }

  /** Where it is from. To be called once, before the first piece. */
  settle(outcome: CacheOutcome): void {
    this.#outcome = outcome
    for (const reader of this.#readers) this.#report(reader)
  }

  /** A reader, which gets all pieces from the first on. Its call's signal, or its `return`, is how it leaves. */
  join(call: CallOptions): Required<Pick<AsyncIterator<Item>, 'next' | 'return'>> {
    const isFirst = this.#payer === undefined
    const follows = this.#end === 'whole' ? 'hit' : 'shared'
    const leave = (): void => this.#leave(reader)
    const reader: Reader = { call, at: 0, outcome: isFirst ? undefined : follows, leave }
    this.#payer ??= reader
    this.#readers.add(reader)
    call.signal?.addEventListener('abort', leave, { once: true })
    if (call.signal?.aborted) leave()
    for (const { warning, cause } of this.#warnings) call.onWarning?.(warning, cause)
    if (this.#target) call.onTarget?.(this.#target)
    if (this.#outcome) this.#report(reader)
    return {
      next: () => this.#next(reader),
      async return() {
        leave()
        return { done: true, value: undefined }
      },
    }
  }

  async #next(reader: Reader): Promise<IteratorResult<Item>> {
    const { signal } = reader.call
    for (;;) {
      if (signal?.aborted) throw abortedCall(signal.reason)
      if (reader.failure) throw reader.failure
      if (!this.#readers.has(reader)) return { done: true, value: undefined }
      const held = this.#held[reader.at - this.#first]
      if (held) {
        reader.at++
        this.#forget()
        return { done: false, value: held.item }
      }
      if (this.#end) {
        this.#leave(reader)
        if (this.#end === 'whole') return { done: true, value: undefined }
        throw this.#end.error
      }
      await unlessAborted(signal, () => this.#pull())
    }
  }

  /** One piece more, for all who wait for it. */
  #pull(): Promise<void> {
    this.#pulling ??= this.#take().finally(() => {
      this.#pulling = undefined
    })
    return this.#pulling
  }

  async #take(): Promise<void> {
    this.#cutOffSlowReaders()
    try {
      const next = await this.#items.next()
      if (!next.done) this.#hold(next.value)
      else if (this.#readers.size > 0) this.#finish()
    } catch (error) {
      this.#end = { error }
      this.#close()
    }
  }

  #hold(item: Item): void {
    const bytes = Buffer.byteLength(toJSONText(item))
    this.#held.push({ item, bytes })
    this.#bytes += bytes
    if (this.#bytes > this.#options.maxBytes) this.#close()
  }

  #finish(): void {
    this.#end = 'whole'
    if (this.#isOpen) this.#options.onWhole(this.#held.map(({ item }) => item))
  }

  /** Nobody joins any more: what all have read need not be held. */
  #close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#options.onClosed()
  }

  #forget(): void {
    if (this.#isOpen || this.#readers.size === 0) return
    const slowest = Math.min(...[...this.#readers].map(({ at }) => at))
    const isRead = Math.max(0, slowest - this.#first)
    for (const { bytes } of this.#held.splice(0, isRead)) this.#bytes -= bytes
    this.#first += isRead
  }

  /** The last piece does not count: all are about to read it. */
  #cutOffSlowReaders(): void {
    if (this.#isOpen || this.#readers.size < 2) return
    const { maxBytes } = this.#options
    for (const reader of this.#readers) {
      const unread = this.#held.slice(reader.at - this.#first, -1)
      if (unread.reduce((sum, { bytes }) => sum + bytes, 0) <= maxBytes) continue
      const message = `the stream was read too slowly: it is more than ${maxBytes} bytes behind others that share it`
      reader.failure = new GatewayError('response_interrupted', message)
      this.#leave(reader)
    }
    this.#forget()
  }

  #leave(reader: Reader): void {
    if (!this.#readers.delete(reader)) return
    reader.call.signal?.removeEventListener('abort', reader.leave)
    if (this.#end) return
    const [heir] = this.#readers
    if (!heir) {
      this.#close()
      this.#controller.abort(reader.call.signal?.reason)
      this.#items.return?.().catch(() => {})
    } else if (reader === this.#payer) {
      this.#payer = heir
      if (!this.#outcome) return
      this.#report(reader)
      this.#report(heir)
    }
  }

  #report(reader: Reader): void {
    const outcome = this.#outcome === 'hit' ? 'hit' : (reader.outcome ?? this.#outcome)
    const isBilled = this.#outcome !== 'hit' && reader === this.#payer
    if (outcome) reader.call.onCache?.({ outcome, isBilled })
  }
}
