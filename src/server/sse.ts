const encoder = new TextEncoder()
const keepAliveComment = encoder.encode(': keep-alive\n\n')
const doneEvent = encoder.encode('data: [DONE]\n\n')

export interface EventStreamOptions<T> {
  /** Events that were taken from the iterator before the stream began. */
  first?: IteratorResult<T>
  /** What to send for an item; undefined to send nothing. */
  encode(item: T): object | undefined
  /** A comment goes out whenever nothing else has for this long, in milliseconds. */
  keepAliveMs: number
  /** Sends the comment at once: the wait for the first item has already taken that long. */
  keepAliveNow?: boolean
  /** Runs when the items are at an end, before the terminal event is sent. */
  onDone(): void
  /** The items broke off: returns what the client is told. No `[DONE]` follows. */
  onError(error: unknown): object
  /** The client has gone. */
  onCancel(reason: unknown): void
}

/** Events for OpenAI clients: `data: {json}` per item, then `data: [DONE]`, exactly once and only when all went well. */
export function encodeEvents<T>(items: AsyncIterator<T>, options: EventStreamOptions<T>): ReadableStream<Uint8Array> {
  let pending = options.first
  let idle = false
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
            const result = pending ?? (await items.next())
            pending = undefined
            if (result.done) {
              options.onDone()
              clearInterval(timer)
              controller.enqueue(doneEvent)
              controller.close()
              return
            }
            const event = options.encode(result.value)
            if (!event) continue
            idle = false
            controller.enqueue(encoder.encode(`data: ${JSON.stringify(event)}\n\n`))
            return
          }
        } catch (error) {
          clearInterval(timer)
          controller.enqueue(encoder.encode(`data: ${JSON.stringify(options.onError(error))}\n\n`))
          controller.close()
        }
      },
      async cancel(reason) {
        clearInterval(timer)
        options.onCancel(reason)
        await items.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}
