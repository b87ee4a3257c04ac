import type { EventSink, EventStream } from './sse.ts'

/** The events as a web stream. They begin when somebody reads. */
export function bodyOf(events: EventStream<unknown>): ReadableStream<Uint8Array> {
  let sink: BodySink | undefined
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (sink) {
          sink.want()
          return
        }
        sink = new BodySink(controller)
        events.send(sink).catch((error: unknown) => controller.error(error))
      },
      cancel: (reason) => events.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}

/** There is room for an event when the reader has asked for one. */
class BodySink implements EventSink {
  readonly #controller: ReadableStreamDefaultController<Uint8Array>
  #wanted = true
  #resolve: (() => void) | undefined

  constructor(controller: ReadableStreamDefaultController<Uint8Array>) {
    this.#controller = controller
  }

  want(): void {
    this.#wanted = true
    this.#resolve?.()
  }

  get full(): boolean {
    return (this.#controller.desiredSize ?? -1) < 0
  }

  room(): Promise<void> | undefined {
    if (this.#wanted) return undefined
    return new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  write(text: string): void {
    this.#wanted = false
    this.#controller.enqueue(Buffer.from(text))
  }

  end(): void {
    this.#controller.close()
  }
}
