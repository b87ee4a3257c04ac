import { bodyOf } from './event-body.ts'
import { EventStream } from './sse.ts'

/** What a request is answered with, before it is known how that is sent. */
export class Answer {
  readonly status: number
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | EventStream<unknown> | null

  /** `headers` become its own: a text's length is added. */
  constructor(status: number, headers: Record<string, string>, body: string | EventStream<unknown> | null = null) {
    if (typeof body === 'string') headers['content-length'] = String(Buffer.byteLength(body))
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
