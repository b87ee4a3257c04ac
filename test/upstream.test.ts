import { equal } from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request as send } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t from 'tap'
import { assertSchema } from './openapi.ts'
import * as up from './upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const client = new OpenAI({ baseURL: upstream.baseURL, apiKey: 'x', maxRetries: 0 })
const ask = { model: 'm', messages: [{ role: 'user' as const, content: 'hello there' }] }

function post(body: unknown, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(`${upstream.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  })
}

/** The `data:` payloads of a stream that ended cleanly. */
async function events(response: Response): Promise<string[]> {
  const text = await response.text()
  return text.split('\n\n').flatMap((event) => (event === '' ? [] : event.replace(/^data: /, '')))
}

/** The chunks of a complete stream, each checked against the contract. */
async function chunks(body: object): Promise<OpenAI.ChatCompletionChunk[]> {
  const payloads = await events(await post({ ...ask, stream: true, ...body }))
  equal(payloads.pop(), '[DONE]')
  const parsed = payloads.map((payload): OpenAI.ChatCompletionChunk => JSON.parse(payload))
  for (const chunk of parsed) assertSchema('CreateChatCompletionStreamResponse', chunk)
  return parsed
}

/** Starts a streamed request with node:http, which shows segments and does not read ahead. */
async function open(body: object = {}): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  const request = send(`${upstream.baseURL}/chat/completions`, { method: 'POST', agent: false })
  request.on('error', () => undefined)
  request.end(JSON.stringify({ ...ask, stream: true, ...body }))
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { request, response }
}

/** What the official client makes of the answer: the tokens it got, and the error. */
async function stream(): Promise<{ text: string; error: unknown }> {
  let text = ''
  try {
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    return { text, error: undefined }
  } catch (error) {
    return { text, error }
  }
}

t.test('records what it receives, and when it is over', async (t) => {
  const started = performance.now()
  const response = await fetch(`${upstream.baseURL}/chat/completions?api-version=1`, {
    method: 'POST',
    headers: { authorization: 'Bearer key' },
    body: JSON.stringify(ask),
  })
  await response.text()
  const recorded = upstream.last()
  t.match(recorded, { method: 'POST', path: '/v1/chat/completions?api-version=1', body: ask })
  t.equal(recorded.headers.authorization, 'Bearer key')
  t.equal(recorded.rawBody, JSON.stringify(ask))
  t.ok(recorded.receivedAt > started)
  t.match(await recorded.closed, { aborted: false, at: Number })

  await post('not an object').then((response) => response.text())
  t.equal(upstream.last().body, 'not an object')
  await fetch(upstream.baseURL, { method: 'POST', body: '{' }).then((response) => response.text())
  t.equal(upstream.last().body, undefined)
  t.equal(upstream.requests.length, 3)
  upstream.reset()
  t.throws(() => upstream.last())
})

t.test('answers 404 to unknown routes, in the envelope', async (t) => {
  for (const [method, path] of [
    ['POST', '/nowhere'],
    ['GET', '/chat/completions'],
  ]) {
    const response = await fetch(`${upstream.baseURL}${path}`, { method: method ?? '' })
    t.equal(response.status, 404)
    assertSchema('ErrorResponse', await response.json())
  }
})

t.test('lists models', async (t) => {
  const body = await fetch(`${upstream.baseURL}/models`).then((response) => response.json())
  assertSchema('ListModelsResponse', body)
  const page = await client.models.list()
  t.same(
    page.data.map((model) => model.id),
    ['upstream-large', 'upstream-small'],
  )
})

t.test('completes', async (t) => {
  const response = await post(ask)
  t.equal(response.headers.get('openai-organization'), 'org-upstream')
  const body = await response.json()
  assertSchema('CreateChatCompletionResponse', body)
  t.match(body, {
    object: 'chat.completion',
    model: 'm',
    service_tier: 'default',
    system_fingerprint: 'fp_upstream',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'You said: hello there', refusal: null }, logprobs: null },
    ],
    usage: { completion_tokens: 4, prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 } },
  })
  const parts = await client.chat.completions.create({
    model: 'm',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'in parts' }] }],
  })
  t.equal(parts.choices[0]?.message.content, 'You said: in parts')
})

t.test('streams', async (t) => {
  const plain = await chunks({})
  t.same(
    plain.map((chunk) => chunk.choices[0]?.delta),
    [
      { role: 'assistant', content: '', refusal: null },
      { content: 'You' },
      { content: ' said:' },
      { content: ' hello' },
      { content: ' there' },
      {},
    ],
  )
  t.same(
    plain.map((chunk) => chunk.choices[0]?.finish_reason),
    [null, null, null, null, null, 'stop'],
  )
  t.notOk(plain.some((chunk) => 'usage' in chunk))
  t.equal(new Set(plain.map((chunk) => `${chunk.id} ${chunk.created}`)).size, 1)

  const counted = await chunks({ stream_options: { include_usage: true } })
  const last = counted.pop()
  t.same(last?.choices, [])
  t.equal(last?.usage?.completion_tokens, 4)
  t.ok(counted.every((chunk) => chunk.usage === null))

  const completion = await client.chat.completions.stream(ask).finalChatCompletion()
  t.equal(completion.choices[0]?.message.content, 'You said: hello there')
})

t.test('says the same in both modes, whatever it says', async (t) => {
  const toolCalls = [
    { name: 'weather', arguments: '{"city":"Lisbon","unit":"celsius"}' },
    { id: 'call_time', name: 'time', arguments: '{"zone":"WET"}' },
  ]
  const variants: Record<string, up.CompletionOptions> = {
    tools: { toolCalls },
    'tools with text': { toolCalls, text: 'Let me see.' },
    refusal: { refusal: 'I will not say that.' },
    choices: { n: 3 },
    tokens: { tokens: ['to', 'k', 'ens\n\n', ' ✓'], finishReason: 'length' },
    logprobs: { text: 'so probable', logprobs: true },
  }
  for (const [name, options] of Object.entries(variants)) {
    upstream.behave(up.completion(options))
    const whole = await client.chat.completions.create(ask)
    assertSchema('CreateChatCompletionResponse', whole)
    await chunks({})
    const streamed = await client.chat.completions.stream(ask).finalChatCompletion()
    t.equal(streamed.choices.length, options.n ?? 1, name)
    const gist = (completion: OpenAI.ChatCompletion) =>
      completion.choices.map(({ index, finish_reason, logprobs, message }) => ({
        index,
        finish_reason,
        scores: logprobs?.content,
        content: message.content,
        refusal: message.refusal,
        calls: message.tool_calls?.map((call) => (call.type === 'function' ? call.function : undefined)),
      }))
    // The helper adds `parsed_arguments` to the calls.
    t.match(gist(streamed), gist(whole), name)
  }
})

t.test('interleaves parallel tool calls by index, with id and name once', async (t) => {
  const toolCalls = [
    { name: 'a', arguments: '{"text":"a long argument"}' },
    { name: 'b', arguments: '{"text":"another one"}' },
  ]
  upstream.behave(up.completion({ toolCalls }))
  const pieces = (await chunks({})).flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])
  t.same(
    pieces.map((piece) => piece.index),
    [0, 1, 0, 1, 0, 1, 0, 1, 0],
  )
  t.same(
    pieces.map((piece) => piece.function?.name),
    ['a', 'b', ...new Array(7).fill(undefined)],
  )
  t.equal(pieces.filter((piece) => piece.id).length, 2)
})

t.test('takes usage, reasoning and extra fields', async (t) => {
  const extra = { provider: 'somewhere', choice_count: 1 }
  upstream.behave(up.completion({ reasoning: 'thinking hard', usage: { total_tokens: 99 }, extra }))
  const body = (await post(ask).then((response) => response.json())) as OpenAI.ChatCompletion
  t.match(body, { ...extra, usage: { total_tokens: 99, completion_tokens_details: { reasoning_tokens: 2 } } })
  t.match(body.choices[0]?.message, { reasoning_content: 'thinking hard' })
  const streamed = await chunks({ stream_options: { include_usage: true } })
  t.ok(streamed.every((chunk) => 'provider' in chunk))
  t.match(streamed[1]?.choices[0]?.delta, { reasoning_content: 'thinking' })

  upstream.behave(up.completion({ usage: false }))
  t.notOk('usage' in (await client.chat.completions.create(ask)))
  t.notOk((await chunks({ stream_options: { include_usage: true } })).some((chunk) => 'usage' in chunk))
})

t.test('paces', async (t) => {
  upstream.behave(up.completion({ tokens: ['a', 'b'], firstDelayMs: 60, delayMs: 30 }))
  const started = performance.now()
  const response = await post({ ...ask, stream: true })
  t.ok(performance.now() - started > 55, 'the head waits, too')
  await response.text()
  t.ok(performance.now() - started > 60 + 3 * 30 - 10)
})

t.test('embeds, deterministically and in both encodings', async (t) => {
  const embed = (body: object) =>
    fetch(`${upstream.baseURL}/embeddings`, { method: 'POST', body: JSON.stringify({ model: 'e', ...body }) })
  const vectors: unknown[] = []
  for (const input of ['one text', ['one text'], ['one text', 'two'], [1, 2, 3], [[1, 2, 3], [4]]]) {
    const body = (await embed({ input }).then((response) => response.json())) as OpenAI.CreateEmbeddingResponse
    assertSchema('CreateEmbeddingResponse', body)
    vectors.push(body.data.map((each) => each.embedding))
    // The official client asks for base64 and decodes it.
    const { data } = await client.embeddings.create({ model: 'e', input })
    t.match(upstream.last().body, { encoding_format: 'base64' })
    t.same(
      data.map((each) => each.embedding),
      vectors.at(-1),
    )
  }
  const [one, same, two, tokens, lists] = vectors as number[][][]
  t.same(one, same)
  t.same(one, two?.slice(0, 1))
  t.same(tokens, lists?.slice(0, 1))
  t.notSame(one?.[0], tokens?.[0])
  const { data, usage } = await client.embeddings.create({ model: 'e', input: [[1, 2, 3], [4]], dimensions: 100 })
  t.equal(data[1]?.embedding.length, 100)
  t.same(usage, { prompt_tokens: 4, total_tokens: 4 })
})

t.test('takes behaviours one by one, then the standing one', async (t) => {
  upstream.behave(up.failWith(500))
  upstream.next(up.failWith(429, undefined, { 'retry-after': '7' }), up.failWith(400, { odd: true }))
  const first = await post(ask)
  t.equal(first.status, 429)
  t.equal(first.headers.get('retry-after'), '7')
  const body = await first.json()
  assertSchema('ErrorResponse', body)
  t.match(JSON.stringify(body), up.UPSTREAM_SECRET)
  t.same(await post(ask).then((response) => response.json()), { odd: true })
  t.type(await stream().then(({ error }) => error), OpenAI.InternalServerError)
  upstream.behave()
  t.equal((await post(ask)).status, 200)

  upstream.next(up.notJson(502))
  const page = await post(ask)
  t.equal(page.headers.get('content-type'), 'text/html')
  t.match(await page.text(), up.UPSTREAM_SECRET)
})

t.test('hangs, and sees the peer go', async (t) => {
  upstream.behave(up.hang())
  const controller = new AbortController()
  const answer = post(ask, controller.signal)
  const recorded = await upstream.request(0)
  t.ok(upstream.openConnections() > 0)
  const at = performance.now()
  controller.abort()
  await t.rejects(answer)
  const closed = await recorded.closed
  t.ok(closed.aborted)
  t.ok(closed.at >= at && closed.at - at < 500)
})

t.test('does not record a request that never became complete', async (t) => {
  const request = send(`${upstream.baseURL}/chat/completions`, { method: 'POST', agent: false })
  request.on('error', () => undefined)
  const open = upstream.openConnections()
  request.write('{')
  while (upstream.openConnections() === open) await sleep(1)
  request.destroy()
  while (upstream.openConnections() > open) await sleep(1)
  t.equal(upstream.requests.length, 0)
})

t.test('stalls the first byte, after the head', async (t) => {
  for (const stream of [true, false]) {
    upstream.next(up.stallFirstByte(80))
    const started = performance.now()
    const response = await post({ ...ask, stream })
    t.ok(performance.now() - started < 70)
    t.match(await response.text(), stream ? '[DONE]' : 'You said: hello there')
    t.ok(performance.now() - started > 75)
  }
})

t.test('drops', async (t) => {
  upstream.next(up.dropBeforeResponse())
  t.type(await stream().then(({ error }) => error), OpenAI.APIConnectionError)
  t.match(await upstream.last().closed, { aborted: false })

  upstream.next(up.dropAfter(3))
  const { text, error } = await stream()
  t.equal(text, 'You said:')
  t.ok(error)
})

t.test('breaks the stream', async (t) => {
  upstream.next(up.endWithoutDone(3))
  t.same(await stream(), { text: 'You said:', error: undefined })

  upstream.next(up.malformedAfter(2))
  const malformed = await stream()
  t.equal(malformed.text, 'You')
  t.type(malformed.error, SyntaxError)
  upstream.next(up.malformedAfter(2))
  t.equal((await events(await post({ ...ask, stream: true }))).at(-1), '[DONE]')

  upstream.next(up.errorEventAfter(2), up.errorEventAfter(0, { message: 'own', type: 'server_error', code: 'c' }))
  const failed = await stream()
  t.equal(failed.text, 'You')
  t.match(failed.error, { message: up.UPSTREAM_SECRET })
  t.match((await stream()).error, { message: 'own', code: 'c' })
})

t.test('writes each raw part as a segment of its own', async (t) => {
  const parts = ['data: {"caf', Buffer.from([0xc3]), Buffer.from([0xa9]), '":1}\r', '\n\r\ndata: [DONE]\n', '\n']
  upstream.next(up.rawStream(parts))
  const { response } = await open()
  const received: Buffer[] = []
  for await (const part of response) received.push(part)
  t.same(
    received,
    parts.map((part) => Buffer.from(part)),
  )
})

t.test('sends a chunk only when released', async (t) => {
  const gate = up.gated(['a', 'b'])
  upstream.next(gate.behaviour)
  const { response } = await open()
  response.setEncoding('utf8')
  for (const expected of ['"role":"assistant"', '"content":"a"', '"content":"b"']) {
    await sleep(10)
    const before = gate.sent
    gate.release()
    const [received] = await once(response, 'data')
    t.match(received, expected)
    t.equal(gate.sent, before + 1)
  }
  gate.release(Number.POSITIVE_INFINITY)
  let rest = ''
  for await (const part of response) rest += part
  t.match(rest, /"stop".*\n\ndata: \[DONE\]\n\n$/)

  const abandoned = up.gated(['a'])
  upstream.next(abandoned.behaviour)
  const { request } = await open()
  request.destroy()
  t.match(await upstream.last().closed, { aborted: true })
  abandoned.release()
  await sleep(5)
  t.equal(abandoned.sent, 0, 'the behaviour has ended')
})

t.test('floods no faster than the peer reads', async (t) => {
  const flood = up.pacedFlood(64 << 20, 64 << 10)
  upstream.behave(flood.behaviour)
  const { request, response } = await open()
  let before = -1
  while (flood.written !== before) {
    before = flood.written
    await sleep(100)
  }
  t.ok(before > 0 && before < 32 << 20, `stopped at ${before}`)
  for await (const _ of response.iterator({ destroyOnReturn: false })) if (flood.written > before + (8 << 20)) break
  t.ok(flood.written > before, 'goes on when the peer reads')
  request.destroy()
  t.match(await upstream.last().closed, { aborted: true })
  await sleep(20)
  before = flood.written
  await sleep(50)
  t.equal(flood.written, before)

  const whole = up.pacedFlood(1 << 20, 64 << 10)
  upstream.behave(whole.behaviour)
  t.equal((await stream()).text.length, 1 << 20)
  t.ok(whole.written > 1 << 20)
})

t.test('gives behaviours low-level control that ends with the peer', async (t) => {
  const outcome = Promise.withResolvers<unknown>()
  upstream.next(async (_request, exchange) => {
    exchange.startStream({ 'x-extra': 'yes' })
    await exchange.write(': comment\n\n')
    await exchange.aborted
    // Nobody awaits this one: it must not become an unhandled rejection.
    void exchange.event({})
    await exchange.sleep(60_000).catch(outcome.resolve)
  })
  const { request, response } = await open()
  t.equal(response.headers['x-extra'], 'yes')
  await once(response, 'data')
  request.destroy()
  t.match(await outcome.promise, { message: 'the response is closed' })
})

t.test('closes with requests in flight', async (t) => {
  const other = await up.startUpstream()
  other.behave(up.hang())
  const answer = fetch(other.baseURL)
  const recorded = await other.request(0)
  await Promise.all([t.rejects(answer), other.close()])
  t.match(await recorded.closed, { aborted: true })
  t.equal(other.openConnections(), 0)
})

t.test('the schema validator', async (t) => {
  const chunk = { id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [], usage: null }
  assertSchema('CreateChatCompletionStreamResponse', chunk)
  t.throws(() => assertSchema('NoSuchSchema', {}), { message: /no schema NoSuchSchema/ })
  t.throws(() => assertSchema('CreateChatCompletionStreamResponse', { ...chunk, created: 'now', object: 'x' }), {
    message: /\/created must be integer\n.*\/object must be equal to one of.*\["chat.completion.chunk"\]/,
  })
  t.throws(() => assertSchema('Model', { id: 1 }), { message: /not a Model/ })

  const delta = { type: 'response.output_text.delta', item_id: 'msg_1', output_index: 0, content_index: 0, delta: 'a' }
  assertSchema('ResponseStreamEvent', { ...delta, sequence_number: 4, logprobs: [] })
  const violation = t.throws(() => assertSchema('ResponseStreamEvent', { ...delta, logprobs: [] })) as Error
  t.match(violation.message, "must have required property 'sequence_number'")
  t.ok(violation.message.split('\n').length <= 4, 'reports the branch meant, not all of them')
  t.throws(() => assertSchema('ResponseStreamEvent', { type: 'response.unheard_of' }), { message: /allowed values/ })

  const output = [{ type: 'function_call', call_id: 'c', name: 'f', arguments: 1 }]
  const nested = t.throws(() => assertSchema('ResponseCompletedEvent', { response: { output } })) as Error
  t.match(nested.message, '/response/output/0/arguments must be string')
  t.notMatch(nested.message, 'reasoning', 'reports the item meant, not all of them')

  const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }
  assertSchema('CreateResponse', { model: 'm', input: [item, { role: 'user', content: 'hi' }] })
  const filters = { type: 'and', filters: [{ type: 'or', filters: [{ type: 'eq', key: 'a', value: 1 }] }] }
  assertSchema('CompoundFilter', filters)
  for (const schema of ['Response', 'CreateResponse', 'CreateChatCompletionRequest', 'ConversationItem']) {
    t.throws(() => assertSchema(schema, 1), { message: new RegExp(`not a ${schema}`) })
  }
})

t.test('answers responses natively, stores nothing, and knows nothing of what it said', async (t) => {
  const ask = { model: 'gpt-5', input: 'hello', store: false, include: ['reasoning.encrypted_content' as const] }
  const { output_text, _request_id, ...whole } = await client.responses.create(ask)
  t.equal(output_text, 'You said: hello')
  assertSchema('Response', whole)
  const streamed: OpenAI.Responses.ResponseStreamEvent[] = []
  for await (const event of await client.responses.create({ ...ask, stream: true })) {
    assertSchema('ResponseStreamEvent', event)
    t.equal(event.sequence_number, streamed.push(event) - 1)
  }
  t.equal(streamed.at(-1)?.type, 'response.completed')

  const refused = async (more: object) => client.responses.create({ ...ask, ...more }).catch((error: unknown) => error)
  const item = { role: 'assistant' as const, content: 'x' }
  for (const [more, error] of [
    [{ previous_response_id: whole.id }, { status: 400, code: 'previous_response_not_found' }],
    [{ input: whole.output }, { status: 404, message: /Item with id 'rs_\d+' not found/ }],
    [{ input: [{ ...item, id: 'msg_1' }] }, { status: 404, message: /Item with id 'msg_1' not found/ }],
    [{ input: [{ type: 'reasoning', summary: [] }] }, { status: 404 }],
    [{ input: [{ type: 'reasoning', summary: [], encrypted_content: 'x' }] }, { code: 'invalid_encrypted_content' }],
    [{ input: [{ type: 'mcp_call' }] }, { status: 400, param: 'input[0].id' }],
    [{ model: 'gpt-4.1' }, { status: 400, param: 'include' }],
  ] as const) {
    t.match(await refused(more), error)
  }
  t.match(await refused({ input: [item] }), { status: 'completed' })
})
