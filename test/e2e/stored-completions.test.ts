/** Stored chat completions through the service, with OpenAI's own client. */
import OpenAI from 'openai'
import t from 'tap'
import { EventSource } from 'undici'
import { startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const auth = {
  keys: [
    { key: 'sk-client-to-gateway', user: 'alice' },
    { key: 'sk-of-bob-0001', user: 'bob' },
  ],
}
const gateway = await startGateway(t, { upstream, config: { auth } })
const { completions } = gateway.client().chat
const model = 'openai/gpt-4o-mini'
const notFound = { status: 404, code: 'not_found' }
const ask = { model, messages: [{ role: 'user' as const, content: 'Hello there' }], store: true }

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

t.test('stored, retrieved, updated, listed, deleted', async (t) => {
  const made = await completions.create({ ...ask, metadata: { shop: 'a' } })
  const stored = await completions.retrieve(made.id)
  assertSchema('CreateChatCompletionResponse', stored)
  t.match(stored, { ...made, metadata: { shop: 'a' } })
  const updated = await completions.update(made.id, { metadata: { shop: 'b' } })
  t.match(updated, { id: made.id, metadata: { shop: 'b' } })
  t.strictSame(
    (await completions.list({ metadata: { shop: 'b' }, model })).data.map(({ id }) => id),
    [made.id],
  )
  t.strictSame((await completions.list({ metadata: { shop: 'a' } })).data, [])
  t.match(await collected(await completions.messages.list(made.id)), [{ role: 'user', content: 'Hello there' }])
  t.match(await completions.delete(made.id), { id: made.id, object: 'chat.completion.deleted', deleted: true })
  await t.rejects(completions.retrieve(made.id), notFound)
})

t.test('a stream is stored as its own helper puts it together', async (t) => {
  const behaviours = [
    up.completion({ tokens: ['one', ' two'] }),
    up.completion({ toolCalls: [{ id: 'c1', name: 'f', arguments: '{"x":1}' }] }),
    up.completion({ refusal: 'I would rather not.' }),
  ]
  for (const behaviour of behaviours) {
    upstream.next(behaviour)
    const stream = completions.stream({ ...ask, stream_options: { include_usage: true } })
    const final = await stream.finalChatCompletion()
    const stored = await completions.retrieve(final.id)
    assertSchema('CreateChatCompletionResponse', stored)
    t.equal(stored.id, final.id)
    t.strictSame(stored.usage, final.usage)
    t.equal(stored.choices[0]?.finish_reason, final.choices[0]?.finish_reason)
    t.equal(stored.choices[0]?.message.content, final.choices[0]?.message.content)
    t.equal(stored.choices[0]?.message.refusal, final.choices[0]?.message.refusal)
    t.match(stored.choices[0]?.message.tool_calls ?? [], (final.choices[0]?.message.tool_calls ?? []) as object[])
  }
})

t.test('all pages, while what was seen is deleted', async (t) => {
  const ids: string[] = []
  for (let n = 0; n < 12; n++) {
    ids.push((await completions.create({ ...ask, metadata: { run: 'pages', n: String(n) } })).id)
  }
  const query = { metadata: { run: 'pages' }, limit: 5 }
  t.strictSame(
    (await collected(completions.list(query))).map(({ id }) => id),
    ids.toSorted(),
  )
  t.strictSame(
    (await collected(completions.list({ ...query, order: 'desc' }))).map(({ id }) => id),
    ids.toSorted().toReversed(),
  )
  const seen: string[] = []
  for await (const { id } of completions.list(query)) {
    seen.push(id)
    await completions.delete(id)
  }
  t.strictSame(seen, ids.toSorted())
  t.strictSame((await completions.list(query)).data, [])
})

t.test('another user’s is not there', async (t) => {
  const { id } = await completions.create(ask)
  const bobs = gateway.client({ apiKey: 'sk-of-bob-0001' }).chat.completions
  await t.rejects(bobs.retrieve(id), notFound)
  await t.rejects(bobs.update(id, { metadata: {} }), notFound)
  await t.rejects(bobs.delete(id), notFound)
  await t.rejects(collected(bobs.messages.list(id)), notFound)
  t.strictSame((await bobs.list()).data, [])
  t.ok(await completions.retrieve(id))
})

t.test('the client asks for a stream that it can resume, and an EventSource resumes it by itself', async (t) => {
  const open = await startGateway(t, { upstream })
  const client = new OpenAI({ baseURL: `${open.url}/v1`, apiKey: 'any', maxRetries: 0 })
  const tokens = Array.from({ length: 20 }, (_, n) => ` ${n}`)
  const gate = up.gated(tokens)
  upstream.next(gate.behaviour)
  gate.release(5)
  const { data: stream, response } = await client.chat.completions
    .create({ ...ask, stream: true }, { headers: { 'x-signalbox-resumable': 'true' } })
    .withResponse()
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
  const source = new EventSource(`${open.url}${response.headers.get('x-signalbox-resume')}`)
  t.teardown(() => source.close())
  const ids: string[] = []
  const texts: string[] = []
  const ended = Promise.withResolvers<void>()
  source.onmessage = ({ data, lastEventId }) => {
    ids.push(lastEventId)
    if (data === '[DONE]') return
    texts.push(JSON.parse(data).choices[0]?.delta.content ?? '')
    if (ids.length !== 5) return
    // Its connection breaks; it is back with the id of the last event that it has seen.
    open.app.server.closeAllConnections()
    gate.release(100)
  }
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) ended.resolve()
  }
  await ended.promise
  t.equal(texts.join(''), tokens.join(''))
  t.strictSame(
    ids,
    ids.map((_, index) => String(index + 1)),
  )
})
