import { toJSONText } from '../source.ts'

const keepAliveComment = ': keep-alive\n\n'
const doneEvent = 'data: [DONE]\n\n'

/** JSON that came with line breaks (an upstream may send `data:` over several lines) is written anew, on one. */
function dataOf(value: object): string {
  const text = toJSONText(value)
  return `data: ${text.includes('\n') ? JSON.stringify(value) : text}\n\n`
}

const nameOf = (value: object): string => ('type' in value ? `event: ${value.type}\n` : '')

export interface EventStreamOptions<T> {
  /** What was asked of the iterator before the stream began. */
  first?: IteratorResult<T> | Promise<IteratorResult<T>>
  /** What to send for an item; undefined to send nothing. */
  encode(item: T): object | undefined
  /** As in the Responses API: each event has its `type` for a name, and nothing follows the last one. Default false. */
  named?: boolean
  /** Each event has its number for an id, `[DONE]` too. Default: they have none. */
  numbered?: {
    firstId: number
    /** Nothing follows this event, not even `[DONE]`. */
    isLast(event: object): boolean
  }
  /** A comment goes out whenever nothing else has for this long, in milliseconds. */
  keepAliveMs: number
  /** Sends the comment at once: the wait for the first item has already taken that long. */
  keepAliveNow?: boolean
  /** Runs when the items are at an end, before the terminal event is sent. Returns a comment to send with it, or nothing. */
  onDone(): string
  /** The items broke off: returns what the client is told. No `[DONE]` follows. */
  onError(error: unknown): object
  /** The client has gone. */
  onCancel(reason: unknown): void
}

/** Where events go. */
export interface EventSink {
  /** Events for which there was no room wait already: not the time for a comment. */
  readonly full: boolean
  /** Undefined when there is room for an event; else resolves when there is. */
  room(): Promise<void> | undefined
  write(text: string): void
  end(): void
}

/**
 * Events for OpenAI clients: `data: {json}` per item, then (unless they are named) `data: [DONE]`, exactly once and only when all
 * went well.
 */
export class EventStream<T> {
  readonly #items: AsyncIterator<T>
  readonly #options: EventStreamOptions<T>
  #timer: ReturnType<typeof setInterval> | undefined
  #nextId: number | undefined
  #idle = true
  #cancelled = false

  constructor(items: AsyncIterator<T>, options: EventStreamOptions<T>) {
    this.#items = items
    this.#options = options
    this.#nextId = options.numbered?.firstId
  }

  /** Sends all there is, to one sink only. Asks for an item when there is room for it. */
  async send(sink: EventSink): Promise<void> {
    const { keepAliveMs, keepAliveNow, onError } = this.#options
    if (keepAliveNow) sink.write(keepAliveComment)
    this.#timer = setInterval(() => {
      // A reader that does not read needs no comments; they would only pile up.
      if (this.#idle && !sink.full) sink.write(keepAliveComment)
      this.#idle = true
    }, keepAliveMs)
    try {
      await this.#sendItems(sink)
    } catch (error) {
      if (this.#cancelled) return
      clearInterval(this.#timer)
      this.#items.return?.().catch(() => {})
      sink.write(this.#eventOf(onError(error)))
    }
    if (!this.#cancelled) sink.end()
  }

  /** The client has gone: the sink gets nothing more, and the items are closed. */
  async cancel(reason: unknown): Promise<void> {
    this.#cancelled = true
    clearInterval(this.#timer)
    this.#options.onCancel(reason)
    // Nobody is there any more to be told.
    await this.#items.return?.().catch(() => {})
  }

  #eventOf(value: object): string {
    return this.#options.named ? nameOf(value) + dataOf(value) : dataOf(value)
  }

  /** What broke off here may go on elsewhere: an error of this stream's own has no number. */
  #idLine(): string {
    return this.#nextId === undefined ? '' : `id: ${this.#nextId++}\n`
  }

  async #sendItems(sink: EventSink): Promise<void> {
    const { first, encode, numbered, onDone } = this.#options
    for (let pending = first; ; pending = undefined) {
      const room = sink.room()
      if (room) await room
      const result = await (pending ?? this.#items.next())
      if (this.#cancelled) return
      if (result.done) break
      const event = encode(result.value)
      if (!event) continue
      this.#idle = false
      sink.write(this.#idLine() + this.#eventOf(event))
      if (!numbered?.isLast(event)) continue
      clearInterval(this.#timer)
      this.#items.return?.().catch(() => {})
      return
    }
    const comment = onDone()
    clearInterval(this.#timer)
    if (comment) sink.write(`: ${comment}\n\n`)
    if (!this.#options.named) sink.write(this.#idLine() + doneEvent)
  }
}
