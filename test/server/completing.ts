import { equal } from 'node:assert/strict'
import type { ChatCompletion, ChatCompletionChunk, OaiServer } from '../../src/index.ts'
import { assertSchema } from '../openapi.ts'
import type { Json } from '../upstream.ts'

type Stored = ChatCompletion & { metadata: Json }

/** A request to the core, below `/v1/chat/completions`. */
export function ask(server: OaiServer, method: string, path: string, body?: Json, init: RequestInit = {}) {
  const text = body === undefined ? {} : { body: JSON.stringify(body) }
  return server.handle(new Request(`http://localhost/v1/chat/completions${path}`, { method, ...text, ...init }))
}

/** The JSON in an answer, checked against the contract. */
async function bodyIn<Body>(answer: Response | Promise<Response>, schema: string): Promise<Body> {
  const body = await (await answer).json()
  equal((await answer).status, 200, JSON.stringify(body))
  assertSchema(schema, body)
  return body as Body
}

export const completionIn = (answer: Response | Promise<Response>) =>
  bodyIn<Stored>(answer, 'CreateChatCompletionResponse')

export interface List<Item> {
  object: 'list'
  data: Item[]
  first_id: string
  last_id: string
  has_more: boolean
}

export const listIn = (answer: Response | Promise<Response>) => bodyIn<List<Stored>>(answer, 'ChatCompletionList')

export const deletedIn = (answer: Response | Promise<Response>) => bodyIn<Json>(answer, 'ChatCompletionDeleted')

/** The schema knows messages of the assistant's only, whatever OpenAI answers: the role is looked at apart from it. */
export async function messagesIn(answer: Response | Promise<Response>): Promise<List<Json>> {
  const list = (await (await answer).json()) as List<Json>
  equal((await answer).status, 200, JSON.stringify(list))
  assertSchema('ChatCompletionMessageList', {
    ...list,
    data: list.data.map((message) => ({ ...message, role: 'assistant' })),
  })
  return list
}

export interface SSEvent {
  id: string | undefined
  data: string
}

/** The events in a text; comments are left out. */
export const sseIn = (text: string): SSEvent[] =>
  text.split('\n\n').flatMap((part) => {
    if (part === '' || part.startsWith(':')) return []
    const [, id, data] = /^(?:id: (\d+)\n)?data: (.*)$/.exec(part) ?? []
    if (data === undefined) throw new Error(`no event: ${part}`)
    return [{ id, data }]
  })

/** The chunks of a stream that ends with `[DONE]`. */
export function chunksIn(events: readonly SSEvent[]): ChatCompletionChunk[] {
  equal(events.at(-1)?.data, '[DONE]')
  return events.slice(0, -1).map(({ data }) => {
    const chunk = JSON.parse(data)
    assertSchema('CreateChatCompletionStreamResponse', chunk)
    return chunk
  })
}

export const textOf = (chunks: readonly ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
