import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { ResponseBuilder } from '../../src/responses/response-builder.ts'
import type { ChatCompletionChunk } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { assertStream } from './stream-rules.ts'

export const builderOf = (fields: object = {}): ResponseBuilder =>
  new ResponseBuilder(asResponseRequest({ model: 'm', input: 'hi', ...fields }), { id: 'resp_1', createdAt: 1000 })

/** Everything that comes of chunks and a normal end, held against the API's description. */
export function run(chunks: ChatCompletionChunk[], fields: object = {}) {
  const builder = builderOf(fields)
  const events = [...builder.start(), ...chunks.flatMap((each) => builder.add(each)), ...builder.finish()]
  assertStream(events)
  assertSchema('Response', builder.response)
  return { events, types: events.map(({ type }) => type.replace('response.', '')), response: builder.response }
}
