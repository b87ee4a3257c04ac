import { bodyOf } from './event-body.ts'
import { EventStream } from './sse.ts'

/** What a request is answered with, before it is known how that is sent. */
export class Answer {
  readonly status: number
  /** By their names in lower case. Without the length of the body. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | EventStream<unknown> | null

  constructor(
    status: number,
    headers: Readonly<Record<string, string>>,
    body: string | EventStream<unknown> | null = null,
  ) {
    this.status = status
    this.headers = headers
    this.body = body
  }

  /** As the web has it. */
  toResponse(): Response {
    const { status, headers, body } = this
    return new Response(body instanceof EventStream ? bodyOf(body) : body, { status, headers })
  }
}
