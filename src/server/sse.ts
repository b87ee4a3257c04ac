import { toJSONText } from '../source.ts'

const keepAliveComment = Buffer.from(': keep-alive\n\n')
const doneEvent = Buffer.from('data: [DONE]\n\n')

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

/**
 * Events for OpenAI clients: `data: {json}` per item, then (unless they are named) `data: [DONE]`, exactly once and only when all
 * went well.
 */
export function encodeEvents<T>(items: AsyncIterator<T>, options: EventStreamOptions<T>): ReadableStream<Uint8Array> {
  const eventOf = (value: object): Uint8Array => Buffer.from((options.named ? nameOf(value) : '') + dataOf(value))
  let pending = options.first
  let idle = true
  let cancelled = false
  let timer: ReturnType<typeof setInterval> | undefined

  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if (options.keepAliveNow) controller.enqueue(keepAliveComment)
        timer = setInterval(() => {
          // A reader that does not read needs no comments; they would only pile up.
          if (idle && (controller.desiredSize ?? 0) >= 0) controller.enqueue(keepAliveComment)
          idle = true
        }, options.keepAliveMs)
      },
      async pull(controller) {
        try {
          for (;;) {
            const result = await (pending ?? items.next())
            pending = undefined
            if (cancelled) return
            if (result.done) {
              const comment = options.onDone()
              clearInterval(timer)
              if (comment) controller.enqueue(Buffer.from(`: ${comment}\n\n`))
              if (!options.named) controller.enqueue(doneEvent)
              controller.close()
              return
            }
            const event = options.encode(result.value)
            if (!event) continue
            idle = false
            controller.enqueue(eventOf(event))
            return
          }
        } catch (error) {
          if (cancelled) return
          clearInterval(timer)
          items.return?.().catch(() => {})
          controller.enqueue(eventOf(options.onError(error)))
          controller.close()
        }
      },
      async cancel(reason) {
        cancelled = true
        clearInterval(timer)
        options.onCancel(reason)
        await items.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}
