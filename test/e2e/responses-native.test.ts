/** Providers that speak the Responses API themselves, through the service, with OpenAI's own client. */
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import t from 'tap'
import { z } from 'zod'
import { startGateway } from '../gateway.ts'
import { everyItem } from '../upstream/hosted-items.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const catalog = { 'openai/gpt-4.1': { prices: { input: 2, output: 8 } } }
const gateway = await startGateway(t, { upstream, provider: { responses: 'native' }, config: { catalog } })
const client = gateway.client()
const model = 'openai/gpt-4.1'
const tools: OpenAI.Responses.Tool[] = [{ type: 'web_search' }]

t.test('create, retrieve, list its input, delete', async (t) => {
  const created = await client.responses.create({ model, input: 'weather?', tools })
  t.equal(created.output_text, 'You said: weather?')
  t.match(created.output, [{ type: 'web_search_call', action: { query: 'weather?' } }, { type: 'message' }])
  t.match(upstream.last(), { path: '/v1/responses', body: { model: 'gpt-4.1', tools, store: false } })
  t.equal(upstream.last().headers.authorization, 'Bearer sk-gateway-to-upstream')
  t.strictSame(await client.responses.retrieve(created.id), created)
  const items = await client.responses.inputItems.list(created.id)
  t.match(items.data, [{ role: 'user' }])
  const costUsd = (created.usage?.input_tokens ?? 0) * 2e-6 + 7 * 8e-6
  const line = gateway.requestLines().find(({ route }) => route === '/v1/responses')
  t.match(line, { status: 200, outcome: 'ok' })
  t.ok(Math.abs(Number(line?.costUsd) - costUsd) < 1e-12, `${line?.costUsd} is ${costUsd}`)
  await client.responses.delete(created.id)
  const gone = await client.responses.retrieve(created.id).catch((error: unknown) => error)
  t.type(gone, OpenAI.NotFoundError)
})

t.test('streamed, with the helper that puts it together', async (t) => {
  upstream.next(up.responses({ items: everyItem() }))
  const seen = new Set<string>()
  const stream = client.responses.stream({ model, input: 'hello', tools })
  for await (const { type } of stream) seen.add(type)
  const response = await stream.finalResponse()
  t.match(
    response.output.map(({ type, id }) => ({ type, id })),
    everyItem().map(({ type }) => ({ type })),
  )
  t.equal(response.output_text, 'It is sunny in Rome.')
  t.ok(seen.has('response.web_search_call.searching') && seen.has('response.reasoning_summary_text.delta'))
})

t.test('parse', async (t) => {
  upstream.next(up.responses({ items: [up.messageItem(up.outputText('{"sky":"blue"}'))] }))
  const format = zodTextFormat(z.object({ sky: z.string() }), 'weather')
  const parsed = await client.responses.parse({ model, input: 'sky?', text: { format, verbosity: 'low' } })
  t.strictSame(parsed.output_parsed, { sky: 'blue' })
  t.match(upstream.last().body, { text: { format: { type: 'json_schema', name: 'weather' }, verbosity: 'low' } })
})

t.test('in the background, and resumed', async (t) => {
  const gate = Promise.withResolvers<void>()
  upstream.next(
    up.responsesUntil('response.output_item.added', async (exchange, rest) => {
      await gate.promise
      await up.sendEvents(exchange, rest)
      exchange.raw.end()
    }),
  )
  const events: OpenAI.Responses.ResponseStreamEvent[] = []
  const stream = await client.responses.create({ model, input: 'hello', background: true, stream: true })
  for await (const event of stream) if (events.push(event) === 3) break
  const [first] = events
  if (first?.type !== 'response.created') throw new Error(`began with ${first?.type}`)
  gate.resolve()
  const { id } = first.response
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: 2 })) events.push(event)
  t.strictSame(
    events.map(({ sequence_number }) => sequence_number),
    [...events.keys()],
  )
  t.match(events.at(-1), { type: 'response.completed', response: { id, background: true } })
  let response = await client.responses.retrieve(id)
  while (response.status === 'in_progress') {
    await sleep(5)
    response = await client.responses.retrieve(id)
  }
  t.equal(response.output_text, 'You said: hello')
})

t.test('a thread of a reasoning model, by previous_response_id and by hand', async (t) => {
  const asked = { model: 'openai/gpt-5', tools, include: ['reasoning.encrypted_content' as const] }
  const first = await client.responses.create({ ...asked, input: 'one' })
  t.equal(first.output[0]?.type, 'reasoning')
  const second = await client.responses.create({ ...asked, input: 'two', previous_response_id: first.id })
  t.equal(second.output_text, 'You said: two')
  const sent = (upstream.last().body as { input: { type: string; id?: string }[] }).input
  t.strictSame(
    sent.map(({ type }) => type),
    ['message', 'reasoning', 'web_search_call', 'message', 'message'],
  )
  t.notOk(sent.some(({ id }) => id))
  const input = [{ role: 'user', content: 'one' }, ...first.output, { role: 'user', content: 'three' }]
  const third = await client.responses.create({
    ...asked,
    store: false,
    input: input as OpenAI.Responses.ResponseInput,
  })
  t.equal(third.output_text, 'You said: three')
})

t.test('errors are what the client’s classes say', async (t) => {
  const failure = (asked: object) =>
    client.responses.create({ model, input: 'hello', ...asked }).then(
      () => undefined,
      (error: unknown) => error,
    )
  const refused = await failure({ include: ['reasoning.encrypted_content'] })
  t.type(refused, OpenAI.BadRequestError)
  t.match(refused, { param: 'include', error: { message: 'Encrypted content is not supported with this model.' } })
  upstream.next(up.failWith(401), up.failWith(429))
  t.match(await failure({}), { status: 502, code: 'upstream_auth_error' })
  t.type(await failure({}), OpenAI.RateLimitError)
  upstream.next(up.responsesUntil('response.output_text.delta', (exchange) => void exchange.raw.end()))
  const stream = await client.responses.create({ model, input: 'hello', stream: true })
  await t.rejects(
    (async () => {
      for await (const { type } of stream) t.not(type, 'response.completed')
    })(),
    { code: 'upstream_truncated' },
  )
})

t.test('a provider that is not marked refuses hosted tools, before it is asked', async (t) => {
  const translated = await startGateway(t, { upstream })
  const refused = translated.client().responses.create({ model, input: 'hello', tools })
  await t.rejects(refused, { status: 400, code: 'unsupported', param: 'tools[0].type' })
  t.equal(upstream.requests.length, 0)
})
