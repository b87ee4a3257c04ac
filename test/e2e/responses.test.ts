/** The Responses API through the service, with OpenAI's own client. */
import { setTimeout as sleep } from 'node:timers/promises'
import type OpenAI from 'openai'
import { APIError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from 'openai'
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod'
import t from 'tap'
import { z } from 'zod'
import type { ResponseEvent } from '../../src/responses/response-types.ts'
import { eventually } from '../core.ts'
import { startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { talk } from '../raw-http.ts'
import { assertStream } from '../responses/stream-rules.ts'
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
const client = gateway.client()
const model = 'openai/gpt-4o-mini'

type Streamed = OpenAI.Responses.ResponseStreamEvent

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Everything that a stream of the SDK yields, held to the API's description. */
async function all(stream: AsyncIterable<Streamed>): Promise<Streamed[]> {
  const events = await collected(stream)
  assertStream(events as ResponseEvent[])
  return events
}

t.test('create', async (t) => {
  const response = await client.responses.create({ model, input: 'hello', instructions: 'Be brief.' })
  t.equal(response.output_text, 'You said: hello')
  t.match(response._request_id, /^req_/)
  const { output_text: _text, ...body } = response
  assertSchema('Response', body)
  t.match(upstream.last().headers.authorization, 'Bearer sk-gateway-to-upstream')
})

t.test('create, streamed', async (t) => {
  const events = await all(await client.responses.create({ model, input: 'hello', stream: true }))
  t.equal(events.at(-1)?.type, 'response.completed')
})

t.test('the helper that puts a stream together', async (t) => {
  const seen: string[] = []
  const runner = client.responses.stream({ model, input: 'hello there' })
  runner.on('response.output_text.delta', ({ delta, snapshot }) => seen.push(delta, snapshot))
  const response = await runner.finalResponse()
  t.equal(response.output_text, 'You said: hello there')
  t.equal(seen.at(-1), 'You said: hello there')
})

t.test('parse: structured output, and arguments of a function', async (t) => {
  const format = zodTextFormat(z.object({ sky: z.string() }), 'weather')
  upstream.next(up.completion({ text: '{"sky":"blue"}' }), up.completion({ text: '{"sky":"grey"}' }))
  const parsed = await client.responses.parse({ model, input: 'sky?', text: { format } })
  t.strictSame(parsed.output_parsed, { sky: 'blue' })
  t.match(upstream.last().body, {
    response_format: { type: 'json_schema', json_schema: { name: 'weather', strict: true } },
  })
  const streamed = await client.responses.stream({ model, input: 'sky?', text: { format } }).finalResponse()
  t.strictSame(streamed.output_parsed, { sky: 'grey' })

  const tool = zodResponsesFunction({ name: 'weather', parameters: z.object({ city: z.string() }) })
  upstream.next(up.completion({ toolCalls: [{ id: 'c1', name: 'weather', arguments: '{"city":"Rome"}' }] }))
  const called = await client.responses.parse({ model, input: 'sky?', tools: [tool] })
  t.match(called.output, [{ type: 'function_call', parsed_arguments: { city: 'Rome' } }])
})

t.test('a tool, in two turns', async (t) => {
  const tools: OpenAI.Responses.Tool[] = [{ type: 'function', name: 'weather', parameters: {}, strict: false }]
  upstream.next(
    up.completion({ toolCalls: [{ id: 'c1', name: 'weather', arguments: '{}' }] }),
    up.completion({ text: 'Sunny.' }),
  )
  const first = await client.responses.create({ model, input: 'sky?', tools })
  const output: OpenAI.Responses.ResponseInputItem = { type: 'function_call_output', call_id: 'c1', output: 'sunny' }
  const second = await client.responses.create({ model, input: [output], tools, previous_response_id: first.id })
  t.equal(second.output_text, 'Sunny.')
  t.match(upstream.last().body, {
    messages: [{ role: 'user' }, { tool_calls: [{ id: 'c1' }] }, { role: 'tool', content: 'sunny' }],
  })
})

t.test('retrieve, list its input, delete', async (t) => {
  const created = await client.responses.create({ model, input: 'hello' })
  const retrieved = await client.responses.retrieve(created.id)
  t.strictSame(retrieved, created)
  const items = await collected(client.responses.inputItems.list(created.id, { limit: 1 }))
  t.match(items, [{ role: 'user', content: [{ type: 'input_text', text: 'hello' }] }])
  await client.responses.delete(created.id)
  const gone = await client.responses.retrieve(created.id).catch((error: unknown) => error)
  t.type(gone, NotFoundError)
})

t.test('another user’s are not there', async (t) => {
  const { id } = await client.responses.create({ model, input: 'hello' })
  const bob = gateway.client({ apiKey: 'sk-of-bob-0001' })
  for (const ask of [
    () => bob.responses.retrieve(id),
    () => bob.responses.delete(id),
    () => bob.responses.inputItems.list(id),
    () => bob.responses.cancel(id),
  ]) {
    t.type(await Promise.resolve(ask()).catch((error: unknown) => error), NotFoundError)
  }
  const next = bob.responses.create({ model, input: 'x', previous_response_id: id })
  t.match(await next.catch((error: unknown) => error), { status: 400, code: 'previous_response_not_found' })
})

t.test('in the background: polled, followed, cancelled', async (t) => {
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  let response = await client.responses.create({ model, input: 'hello', background: true })
  t.equal(response.status, 'queued')
  gate.release(10)
  while (response.status === 'queued' || response.status === 'in_progress') {
    await sleep(5)
    response = await client.responses.retrieve(response.id)
  }
  t.equal(response.output_text, 'one two')
  const replay = await all(await client.responses.retrieve(response.id, { stream: true }))
  t.match(replay.at(-1), { type: 'response.completed', response: { id: response.id } })

  upstream.next(up.gated([]).behaviour)
  const running = await client.responses.create({ model, input: 'hello', background: true })
  t.match(await client.responses.cancel(running.id), { status: 'cancelled' })
  const { id } = await client.responses.create({ model, input: 'hello' })
  t.type(await client.responses.cancel(id).catch((error: unknown) => error), BadRequestError)
})

t.test('a lost connection is resumed by the number of the last event', async (t) => {
  const tokens = Array.from({ length: 8 }, (_, n) => ` ${n}`)
  for (const count of [1, 4, 9]) {
    const gate = up.gated(tokens)
    upstream.next(gate.behaviour)
    gate.release(8)
    const events: Streamed[] = []
    const stream = await client.responses.create({ model, input: 'hello', background: true, stream: true })
    for await (const event of stream) if (events.push(event) === count) break
    const [first] = events
    if (first?.type !== 'response.created') throw new Error(`began with ${first?.type}`)
    const after = events.at(-1)?.sequence_number ?? 0
    const rest = client.responses.retrieve(first.response.id, { stream: true, starting_after: after })
    gate.release(100)
    for await (const event of await rest) events.push(event)
    assertStream(events as ResponseEvent[])
    t.match(events.at(-1), {
      type: 'response.completed',
      response: { output: [{ content: [{ text: tokens.join('') }] }] },
    })
  }
})

t.test('the helper resumes, too', async (t) => {
  const stream = await client.responses.create({ model, input: 'hello there', background: true, stream: true })
  const events = await all(stream)
  const last = events.at(-1)
  if (last?.type !== 'response.completed') throw new Error(`ended with ${last?.type}`)
  const final = await client.responses.stream({ response_id: last.response.id }).finalResponse()
  t.equal(final.output_text, 'You said: hello there')
})

t.test('errors are what the client’s classes say', async (t) => {
  const failing = async (ask: () => PromiseLike<unknown>) => {
    const error = await Promise.resolve(ask()).catch((error: unknown) => error)
    if (!(error instanceof APIError)) throw new Error(`no error of the API: ${error}`)
    return error
  }
  const request = { model, input: 'hello' }
  const hosted = await failing(() => client.responses.create({ ...request, tools: [{ type: 'web_search' }] }))
  t.type(hosted, BadRequestError)
  t.match(hosted, { code: 'unsupported', param: 'tools[0].type' })
  const orphan = await failing(() => client.responses.create({ ...request, previous_response_id: 'resp_nope' }))
  t.match(orphan, { status: 400, code: 'previous_response_not_found', param: 'previous_response_id' })
  upstream.next(up.failWith(429), up.failWith(500), up.failWith(500))
  t.type(await failing(() => client.responses.create(request)), RateLimitError)
  t.type(await failing(() => client.responses.create(request)), InternalServerError)
  t.type(await failing(() => client.responses.create({ ...request, stream: true })), InternalServerError)
  upstream.next(up.dropAfter(3))
  const broken = await client.responses.create({ ...request, stream: true })
  const seen: string[] = []
  const error = await (async () => {
    for await (const { type } of broken) seen.push(type)
  })().catch((error: unknown) => error)
  t.ok(seen.includes('response.output_text.delta'))
  t.type(error, APIError, 'a broken stream never looks whole')
  t.match(error, { code: 'upstream_connection_lost' })
})

t.test('retries of the client’s get through', async (t) => {
  upstream.next(up.failWith(503, undefined, { 'retry-after': '0' }))
  const patient = gateway.client({ maxRetries: 2 })
  t.equal((await patient.responses.create({ model, input: 'hello' })).output_text, 'You said: hello')
  t.equal(upstream.requests.length, 2)
})

t.test('a client that leaves ends the call of the upstream', async (t) => {
  upstream.next(up.gated(['one']).behaviour)
  const controller = new AbortController()
  const asking = client.responses.create({ model, input: 'hello', stream: true }, { signal: controller.signal })
  asking.catch(() => {})
  await upstream.request(0)
  controller.abort()
  t.match(await upstream.last().closed, { aborted: true })
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
})

t.test('paths are forgiving as elsewhere', async (t) => {
  const { id } = await client.responses.create({ model, input: 'hello' })
  const head = `host: x\r\nauthorization: Bearer sk-client-to-gateway\r\n\r\n`
  for (const path of [
    `/v1/responses/${id}/`,
    `//v1//responses/${id}`,
    `/v1/responses/${id}?include[]=a&stream=false`,
  ]) {
    const [answer] = await talk(gateway.port, [`GET ${path} HTTP/1.1\r\n${head}`])
    t.equal(answer?.status, 200, path)
  }
  const [answer] = await talk(gateway.port, [`HEAD /v1/responses/${id} HTTP/1.1\r\n${head}`], { head: true })
  t.equal(answer?.status, 200)
})

t.test('a service that keeps files goes on after a restart', async (t) => {
  const config = { store: { kind: 'file', directory: t.testdir() } }
  const before = await startGateway(t, { upstream, config })
  const { id } = await before.client().responses.create({ model, input: 'one' })
  await before.close()
  const after = await startGateway(t, { upstream, config })
  await after.client().responses.create({ model, input: 'two', previous_response_id: id })
  t.match(upstream.last().body, { messages: [{ content: 'one' }, { content: 'You said: one' }, { content: 'two' }] })
})

t.test('a shutdown waits for what is made in the background, for as long as it may', async (t) => {
  const slow = await startGateway(t, { upstream, config: { server: { drainTimeout: '10s' } } })
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  await slow.client().responses.create({ model, input: 'hello', background: true })
  await upstream.request(0)
  let drained = false
  const draining = slow.app.drain().then(() => {
    drained = true
  })
  await sleep(30)
  t.equal(drained, false)
  gate.release(10)
  await draining
  t.match(await upstream.last().closed, { aborted: false })

  const hasty = await startGateway(t, { upstream, config: { server: { drainTimeout: '20ms' } } })
  upstream.next(up.gated(['one']).behaviour)
  await hasty.client().responses.create({ model, input: 'hello', background: true })
  await upstream.request(1)
  await hasty.app.drain()
  t.match(await upstream.last().closed, { aborted: true })
})
