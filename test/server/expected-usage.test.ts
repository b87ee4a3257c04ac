import t from 'tap'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { ofChat, ofEmbedding, ofResponse } from '../../src/server/expected-usage.ts'
import { asChatRequest, asEmbeddingRequest } from '../../src/server/request-schema.ts'

const messages = [{ role: 'user', content: 'hello there' }]
const chat = (fields: object = {}) => ofChat(asChatRequest({ model: 'm', messages, ...fields }))

t.test('a chat: its messages and tools; the answer as far as the request bounds it, for each choice', async (t) => {
  const { input, output } = chat()
  t.ok(input > 2 && input < 20)
  t.equal(output, undefined)
  t.equal(chat({ max_tokens: 10 }).output, 10)
  t.equal(chat({ max_tokens: 10, max_completion_tokens: 20 }).output, 20)
  t.equal(chat({ max_tokens: 10, n: 3 }).output, 30)
  t.equal(chat({ max_tokens: 0 }).output, 0)
  t.equal(chat({ max_tokens: -5 }).output, undefined)
  const tools = [{ type: 'function', function: { name: 'f', description: 'x'.repeat(400) } }]
  t.ok(chat({ tools }).input > input + 100)
  const picture = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(1_000_000)}` } }
  const seen = chat({ messages: [{ role: 'user', content: [picture] }] }).input
  t.ok(seen >= 1000 && seen < 1100, 'a picture is no text, however long')
})

t.test('embeddings: texts, or tokens as they are', async (t) => {
  const of = (input: unknown) => ofEmbedding(asEmbeddingRequest({ model: 'm', input }))
  t.match(of('x'.repeat(398)), { input: 100, output: 0 })
  t.match(of(['x'.repeat(398), 'x'.repeat(398)]), { input: 200 })
  t.match(of([1, 2, 3]), { input: 3 })
  t.match(of([[1, 2], [3]]), { input: 3 })
})

t.test('a response: its instructions, and all items before it and of its own', async (t) => {
  const body = asResponseRequest({ model: 'm', input: 'hi', instructions: 'x'.repeat(400), max_output_tokens: 7 })
  const item = { id: 'msg_1', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'y'.repeat(400) }] }
  const picture = { type: 'input_image', image_url: `data:image/png;base64,${'A'.repeat(1_000_000)}` }
  const seen = { ...item, content: [picture] }
  t.match(ofResponse(body, []), { output: 7 })
  const [none, one, both] = [[], [item], [item, seen]].map((items) => ofResponse(body, items as never).input)
  t.ok(none !== undefined && none > 100 && none < 110)
  t.ok(one !== undefined && one > 200 && one < 260)
  t.ok(both !== undefined && both > 1200 && both < 1300)
})
