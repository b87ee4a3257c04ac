import { equal } from 'node:assert/strict'
import type { OaiServer } from '../../src/index.ts'
import type { ResponseEvent, ResponseObject } from '../../src/responses/response-types.ts'
import { assertSchema } from '../openapi.ts'
import { assertStream } from '../responses/stream-rules.ts'
import type { Json } from '../upstream.ts'

/** A request to the core, without a framework. */
export function ask(server: OaiServer, method: string, path: string, body?: Json, init: RequestInit = {}) {
  const text = body === undefined ? {} : { body: JSON.stringify(body) }
  return server.handle(new Request(`http://localhost/v1/responses${path}`, { method, ...text, ...init }))
}

/** The Response in an answer, checked against the contract. */
export async function responseIn(answer: Response | Promise<Response>): Promise<ResponseObject> {
  const body = await (await answer).json()
  equal((await answer).status, 200, JSON.stringify(body))
  assertSchema('Response', body)
  return body as ResponseObject
}

/** The error in an answer, checked against the contract. */
export async function errorIn(answer: Response | Promise<Response>) {
  const { status, headers } = await answer
  const body = await (await answer).json()
  assertSchema('ErrorResponse', body)
  const { error } = body as { error: { message: string; type: string; param: string | null; code: string | null } }
  return { ...error, status, headers }
}

/** The events in a text, each with its name; comments are left out. */
export const eventsIn = (text: string): ResponseEvent[] =>
  text.split('\n\n').flatMap((part) => {
    if (part === '' || part.startsWith(':')) return []
    const [, name, data = ''] = /^event: (\S+)\ndata: (.*)$/.exec(part) ?? []
    const event = JSON.parse(data) as ResponseEvent
    equal(name, event.type)
    assertSchema('ResponseStreamEvent', event)
    return [event]
  })

/** The events of a stream from its first to its last, as the API describes them. */
export async function streamIn(answer: Response | Promise<Response>): Promise<ResponseEvent[]> {
  const events = eventsIn(await (await answer).text())
  assertStream(events)
  return events
}

/** The response that the last event carries. */
export function lastOf(events: readonly ResponseEvent[]): ResponseObject {
  const last = events.at(-1)
  if (!last || !('response' in last)) throw new Error(`the last event is ${last?.type}`)
  return last.response
}

export const textOf = ({ output }: ResponseObject): string =>
  output
    .flatMap((item) => (item.type === 'message' ? item.content : []))
    .map((part) => (part.type === 'output_text' ? part.text : ''))
    .join('')
