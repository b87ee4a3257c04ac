import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { GatewayError } from '../../src/index.ts'
import { parseJSON } from '../../src/json.ts'
import { OpenAICompatibleClient, type OpenAICompatibleOptions } from '../../src/llm/openai-compatible.ts'
import { toJSONText } from '../../src/source.ts'
import type { CallOptions, ChatCompletionChunk, ChatRequest, EmbeddingRequest } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

function clientOf(options: Partial<OpenAICompatibleOptions> = {}): OpenAICompatibleClient {
  const client = new OpenAICompatibleClient({
    provider: 'lab',
    model: 'small',
    baseURL: upstream.baseURL,
    headers: { authorization: 'Bearer sk-gateway' },
    ...options,
  })
  t.teardown(() => client.close())
  return client
}

const client = clientOf()
const ask: ChatRequest = { model: 'alias', messages: [{ role: 'user', content: 'hello there' }] }
const streamed: ChatRequest = { ...ask, stream: true }

const textOf = (chunks: ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

/** The chunks of a stream, and the error that ended it. */
async function collect(request = streamed, call?: CallOptions, from = client) {
  const chunks: ChatCompletionChunk[] = []
  let error: unknown
  try {
    for await (const chunk of from.stream(request, call)) chunks.push(chunk)
  } catch (failure) {
    error = failure
  }
  return { chunks, text: textOf(chunks), error }
}

/** The error of an answer that is not streamed, and of one that is. */
function failures(from = client, call?: CallOptions): Promise<unknown[]> {
  return Promise.all([
    from.complete(ask, call).then(
      () => undefined,
      (error: unknown) => error,
    ),
    collect(streamed, call, from).then(({ error }) => error),
  ])
}

t.test('a completion', async (t) => {
  const completion = await client.complete(ask)
  assertSchema('CreateChatCompletionResponse', completion)
  t.equal(completion.choices[0]?.message.content, 'You said: hello there')
  t.match(upstream.last(), { method: 'POST', path: '/v1/chat/completions' })
})

t.test('a stream', async (t) => {
  const { chunks, text, error } = await collect()
  t.equal(error, undefined)
  t.equal(text, 'You said: hello there')
  for (const chunk of chunks) assertSchema('CreateChatCompletionStreamResponse', chunk)
  t.equal(chunks.at(-1)?.choices[0]?.finish_reason, 'stop')
})

t.test('embeddings', async (t) => {
  const request: EmbeddingRequest = { model: 'alias', input: ['a', 'b'], encoding_format: 'base64', dimensions: 4 }
  const answer = await client.embed(request)
  assertSchema('CreateEmbeddingResponse', await client.embed({ model: 'alias', input: 'a' }))
  t.equal(answer.data.length, 2)
  t.equal(typeof answer.data[0]?.embedding, 'string', 'base64 stays base64')
  t.match(upstream.requests[0], { path: '/v1/embeddings', body: { ...request, model: 'small' } })
})

t.test('the request', async (t) => {
  const unusual = {
    ...ask,
    messages: [
      { role: 'developer', content: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }] },
      { role: 'assistant', content: null, refusal: null, reasoning_content: 'hm', tool_calls: [] },
    ],
    a_field_of_next_year: { deep: [1, null, { '': false }] },
    temperature: 0.1,
    stop: null,
  } as unknown as ChatRequest

  t.test('reaches the upstream whole; only the model is rewritten', async (t) => {
    await client.complete(unusual)
    t.strictSame(upstream.last().body, { ...unusual, model: 'small' })
    await collect({ ...unusual, stream: true, stream_options: { include_usage: true } })
    t.strictSame(upstream.last().body, {
      ...unusual,
      model: 'small',
      stream: true,
      stream_options: { include_usage: true },
    })
    t.equal(unusual.model, 'alias', 'and is itself left alone')
  })

  t.test('names its own model to a client for all models', async (t) => {
    const any = clientOf({ model: '*' })
    await any.complete({ ...unusual, model: 'org/large:2' })
    t.strictSame(upstream.last().body, { ...unusual, model: 'org/large:2' })
  })

  t.test('keeps numbers that a double cannot hold, and keys named __proto__', async (t) => {
    const text = '{"model":"small","messages":[],"seed":9223372036854775807,"__proto__":{"a":1},"x":1e400}'
    await client.complete(parseJSON(text) as ChatRequest)
    t.equal(upstream.last().rawBody, text)
  })

  t.test("carries the gateway's headers, and what travels beside it", async (t) => {
    await client.complete(ask, { requestId: 'req_7', traceHeaders: { traceparent: '00-1-2-01', tracestate: 'a=b' } })
    t.match(upstream.last().headers, {
      authorization: 'Bearer sk-gateway',
      'content-type': 'application/json',
      accept: 'application/json',
      'x-request-id': 'req_7',
      traceparent: '00-1-2-01',
      tracestate: 'a=b',
    })
    await collect()
    t.equal(upstream.last().headers.accept, 'text/event-stream')
    t.notOk('x-request-id' in upstream.last().headers)
  })

  t.test('goes without stream_options where a provider refuses them', async (t) => {
    const { error } = await collect(
      { ...streamed, stream_options: { include_usage: true } },
      {},
      clientOf({ streamOptions: false }),
    )
    t.equal(error, undefined)
    t.strictSame(upstream.last().body, { ...streamed, model: 'small' })
  })
})

t.test('the answer comes back whole', async (t) => {
  const extra = { a_field_of_next_year: [1], usage_extra: null, choices_hash: 9.5 }
  upstream.behave(
    up.completion({
      n: 2,
      logprobs: true,
      reasoning: 'I think',
      usage: { prompt_tokens_details: { cached_tokens: 3, audio_tokens: 0 } },
      extra,
    }),
  )
  const completion = await client.complete(ask)
  t.match(completion, {
    ...extra,
    service_tier: 'default',
    system_fingerprint: 'fp_upstream',
    usage: { prompt_tokens_details: { cached_tokens: 3 } },
  })
  t.equal(completion.choices.length, 2)
  t.match(completion.choices[1], { index: 1, message: { reasoning_content: 'I think' }, logprobs: { content: [{}] } })
  for (const chunk of (await collect()).chunks) t.match(chunk, extra)

  upstream.behave((_request, exchange) => {
    exchange.raw.setHeader('content-type', 'application/json')
    exchange.raw.end('{"id":"x","created":18446744073709551615,"choices":[]}')
  })
  t.match(JSON.stringify(await client.complete(ask)), '18446744073709551615')
  t.equal(toJSONText(await client.complete(ask)), '{"id":"x","created":18446744073709551615,"choices":[]}')
})

t.test('parallel tool calls come piece by piece, as they were sent', async (t) => {
  const toolCalls = [
    { id: 'call_a', name: 'a', arguments: '{"text":"a long argument"}' },
    { id: 'call_b', name: 'b', arguments: '{"text":"another one"}' },
  ]
  let sent: up.Json[] = []
  upstream.behave((request, exchange) => {
    sent = [...up.completionChunks(request, { toolCalls })]
    exchange.startStream()
    for (const chunk of sent) exchange.event(chunk)
    return exchange.done()
  })
  t.strictSame((await collect()).chunks, sent)
})

t.test('a chunk is there before the upstream has sent the next', async (t) => {
  const gate = up.gated(['one', 'two'])
  upstream.behave(gate.behaviour)
  const chunks = client.stream(streamed)[Symbol.asyncIterator]()
  const seen: (string | null | undefined)[] = []
  for (let sent = 1; sent <= 4; sent++) {
    const next = chunks.next()
    gate.release()
    const { value } = (await next) as IteratorYieldResult<ChatCompletionChunk>
    seen.push(value.choices[0]?.delta.content)
    t.equal(gate.sent, sent)
  }
  t.strictSame(seen, ['', 'one', 'two', undefined])
  t.match(await chunks.next(), { done: true })
})

t.test('events in any form that the standard allows', async (t) => {
  const chunk = (content: string, finish_reason: string | null = null) =>
    JSON.stringify({
      id: 'c',
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta: { content }, finish_reason }],
    })
  const text = 'é 漢 😀'
  const forms: Record<string, (string | Buffer)[]> = {
    'CRLF line ends': [`data: ${chunk(text)}\r\n\r\ndata: ${chunk('', 'stop')}\r\n\r\ndata: [DONE]\r\n\r\n`],
    comments: [
      `: hello\n\ndata: ${chunk(text)}\n: between\n\n: OPENROUTER PROCESSING\n\ndata: ${chunk('', 'stop')}\n\ndata: [DONE]\n\n`,
    ],
    'other fields': [`event: message\nid: 1\nretry: 10\ndata: ${chunk(text, 'stop')}\n\ndata: [DONE]\n\n`],
    'no blank after the colon': [`data:${chunk(text, 'stop')}\n\ndata:[DONE]\n\n`],
    'data over several lines': [
      `data: {"id":"c","choices":[\ndata: {"index":0,"delta":{"content":"${text}"},\ndata: "finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`,
    ],
    'cut inside a character': [
      Buffer.from(`data: ${chunk('é')}`).subarray(0, -20),
      Buffer.from(`data: ${chunk('é')}`).subarray(-20),
      '\n\n',
      Buffer.from(`data: ${chunk(' 漢 😀', 'stop')}\n\ndata: [DONE]\n\n`).subarray(0, 90),
      Buffer.from(`data: ${chunk(' 漢 😀', 'stop')}\n\ndata: [DONE]\n\n`).subarray(90),
    ],
    'byte by byte': Array.from(Buffer.from(`data: ${chunk(text, 'stop')}\n\ndata: [DONE]\n\n`), (byte) =>
      Buffer.of(byte),
    ),
  }
  for (const [name, parts] of Object.entries(forms)) {
    upstream.behave(up.rawStream(parts, name === 'byte by byte' ? 0 : 5))
    const { text: received, error } = await collect()
    t.equal(error, undefined, name)
    t.equal(received, text, name)
  }
})

t.test('what comes after [DONE] is nothing', async (t) => {
  const chunk = { id: 'c', choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop' }] }
  upstream.behave(
    up.rawStream([`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\ndata: {"error":{"message":"late"}}\n\n`]),
  )
  const { chunks, error } = await collect()
  t.equal(error, undefined)
  t.equal(chunks.length, 1)
})

t.test('the end', async (t) => {
  t.test('without [DONE] is one when every choice has said why it ended', async (t) => {
    upstream.behave(up.endWithoutDone(Number.POSITIVE_INFINITY))
    const { text, error } = await collect()
    t.equal(error, undefined)
    t.equal(text, 'You said: hello there')
  })

  t.test('before that is a truncated answer, however clean', async (t) => {
    for (const chunks of [0, 1, 3]) {
      upstream.behave(up.endWithoutDone(chunks))
      const result = await collect()
      t.equal(result.chunks.length, chunks)
      t.match(result.error, { kind: 'upstream_truncated', status: 502 }, `after ${chunks} chunks`)
    }
    const one = { index: 0, delta: { content: 'a' }, finish_reason: 'stop' }
    const two = { index: 1, delta: { content: 'b' }, finish_reason: null }
    upstream.behave(up.rawStream([`data: ${JSON.stringify({ id: 'c', choices: [one, two] })}\n\n`]))
    t.match((await collect()).error, { kind: 'upstream_truncated' }, 'one of two choices is not all of them')
  })

  t.test('of a body that is no stream is told as such, and not to be asked for again', async (t) => {
    upstream.behave((_request, exchange) => exchange.json(200, { id: 'not a stream' }))
    t.match((await collect()).error, { kind: 'upstream_malformed', headers: { 'x-should-retry': 'false' } })
  })
})

t.test('a connection that breaks', async (t) => {
  t.test('instead of an answer', async (t) => {
    upstream.behave(up.dropBeforeResponse())
    for (const error of await failures()) t.match(error, { kind: 'upstream_connection_lost', status: 502 })
  })

  t.test('in the middle of a stream, after what had arrived', async (t) => {
    upstream.behave(up.dropAfter(3))
    const { chunks, error } = await collect()
    t.equal(chunks.length, 3)
    t.match(error, { kind: 'upstream_connection_lost', status: 502 })
  })

  t.test('in the middle of a body', async (t) => {
    upstream.behave(async (_request, exchange) => {
      exchange.raw.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 })
      await exchange.write('{"id":"c","choices":[')
      await exchange.sleep(20)
      exchange.drop()
    })
    await t.rejects(client.complete(ask), { code: 'upstream_connection_lost', status: 502 })
  })
})

t.test('an answer that is no JSON object is malformed', async (t) => {
  upstream.behave(up.notJson(200))
  await t.rejects(client.complete(ask), { code: 'upstream_malformed', status: 502 })
  for (const body of ['[]', '"text"', 'null', '', '{"id":']) {
    upstream.behave((_request, { raw }) => void raw.writeHead(200, { 'content-type': 'application/json' }).end(body))
    await t.rejects(client.complete(ask), { code: 'upstream_malformed' }, body)
  }
})

t.test('an event that is no JSON object breaks the stream off, and nothing after it passes', async (t) => {
  upstream.behave(up.malformedAfter(2))
  const { chunks, error } = await collect()
  t.equal(chunks.length, 2)
  t.match(error, { kind: 'upstream_malformed', status: 502 })
  upstream.behave(up.rawStream(['data: {"id":\n\n', 'data: [DONE]\n\n'], 60_000))
  t.match((await collect()).error, { kind: 'upstream_malformed' })
  t.equal((await upstream.last().closed).aborted, true, 'and the upstream is let go')
  for (const data of ['[]', 'null', '7', '"text"', 'hello']) {
    upstream.behave(up.rawStream([`data: ${data}\n\ndata: [DONE]\n\n`]))
    t.match((await collect()).error, { kind: 'upstream_malformed' }, data)
  }
})

t.test('an error event breaks the stream off', async (t) => {
  upstream.behave(up.errorEventAfter(2))
  const failed = await collect()
  t.equal(failed.chunks.length, 2)
  t.match(failed.error, { kind: 'upstream_error', status: 502 })
  t.notMatch(JSON.stringify((failed.error as GatewayError).toBody()), up.UPSTREAM_SECRET)

  upstream.behave(up.errorEventAfter(0, { message: 'slow down', code: 429 }))
  t.match((await collect()).error, { kind: 'upstream_rate_limited', status: 429 })
})

t.test('an error answer is told by the failure table, streamed or not', async (t) => {
  for (const [status, kind, sent] of [
    [400, 'upstream_rejected', 400],
    [401, 'upstream_auth_error', 502],
    [403, 'upstream_auth_error', 502],
    [404, 'upstream_rejected', 404],
    [413, 'upstream_rejected', 413],
    [422, 'upstream_rejected', 422],
    [429, 'upstream_rate_limited', 429],
    [500, 'upstream_error', 502],
    [503, 'upstream_overloaded', 503],
  ] as const) {
    upstream.behave(up.failWith(status, undefined, { 'retry-after': '7' }))
    for (const error of await failures()) {
      t.match(error, { kind, status: sent }, `${status}`)
      if (sent === 429) t.match(error, { headers: { 'retry-after': '7' } })
    }
    upstream.behave(up.notJson(status))
    for (const error of await failures()) t.match(error, { kind, status: sent }, `${status} with a page`)
  }
})

t.test("an upstream's 400 keeps its body", async (t) => {
  const error = { message: 'n must be below 8', type: 'invalid_request_error', param: 'n', code: 'too_many', extra: 1 }
  upstream.behave(up.failWith(400, { error }))
  for (const failure of await failures()) {
    t.ok(failure instanceof GatewayError)
    t.strictSame((failure as GatewayError).toBody(), { error })
  }
})

t.test('a provider that nobody listens for is unreachable', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  for (const error of await failures(clientOf({ baseURL: `http://127.0.0.1:${port}/v1` }))) {
    t.match(error, { kind: 'upstream_unreachable', status: 503, headers: { 'retry-after': '1' } })
  }
})

t.test('time runs out', async (t) => {
  t.test('for a connection, TLS included', async (t) => {
    const silent = createServer((socket) => void socket.on('error', () => undefined)).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    t.teardown(() => silent.close())
    const { port } = silent.address() as AddressInfo
    const impatient = clientOf({ baseURL: `https://127.0.0.1:${port}/v1`, timeouts: { connect: 100 } })
    await t.rejects(impatient.complete(ask), { code: 'upstream_connect_timeout', status: 504 })
  })

  t.test('for the first piece of a streamed answer, whatever came before it', async (t) => {
    const headsAndComments: up.Behaviour = async (_request, exchange) => {
      exchange.startStream()
      for (;;) {
        await exchange.write(': thinking\n\n')
        await exchange.sleep(20)
      }
    }
    for (const behaviour of [up.hang(), up.stallFirstByte(60_000), headsAndComments]) {
      upstream.behave(behaviour)
      const { error } = await collect(streamed, { timeouts: { firstToken: 100, idle: 60 } })
      t.match(error, { kind: 'upstream_first_token_timeout', status: 504 })
    }
  })

  t.test('between two pieces of an answer', async (t) => {
    upstream.behave(up.stallFirstByte(60_000))
    await t.rejects(client.complete(ask, { timeouts: { idle: 100 } }), { code: 'upstream_idle_timeout', status: 504 })
    upstream.behave(up.completion({ tokens: ['One', ' two'], delayMs: 60_000 }))
    const { chunks, error } = await collect(streamed, { timeouts: { idle: 100 } })
    t.match(error, { kind: 'upstream_idle_timeout', status: 504 })
    t.ok(chunks.length > 0)
  })

  t.test('but not while its reader has not read', async (t) => {
    const tokens = new Array<string>(40).fill('x'.repeat(16_384))
    upstream.behave(up.completion({ tokens }))
    const chunks = client.stream(streamed, { timeouts: { idle: 100, firstToken: 5000 } })[Symbol.asyncIterator]()
    t.notOk((await chunks.next()).done)
    await sleep(400)
    let last = await chunks.next()
    for (let next = last; !next.done; next = await chunks.next()) last = next
    t.match(last.value, { choices: [{ finish_reason: 'stop' }] })
  })

  t.test('for the whole call', async (t) => {
    upstream.behave(up.hang())
    for (const error of await failures(client, { timeouts: { total: 100 } })) {
      t.match(error, { kind: 'upstream_timeout', status: 504 })
    }
    upstream.behave(up.completion({ tokens: new Array(100).fill('x'), delayMs: 20 }))
    const { chunks, error } = await collect(streamed, { timeouts: { total: 150 } })
    t.match(error, { kind: 'upstream_timeout' }, 'also while it is being streamed')
    t.ok(chunks.length > 0)
  })

  t.test('by what the client is set to, unless the call says otherwise', async (t) => {
    upstream.behave(up.completion({ firstDelayMs: 200 }))
    const impatient = clientOf({ timeouts: { total: 50, firstToken: 50 } })
    for (const error of await failures(impatient)) t.match(error, { status: 504 })
    t.strictSame(await failures(impatient, { timeouts: { total: 5000, firstToken: 5000 } }), [undefined, undefined])
  })

  t.test('and the upstream is let go', async (t) => {
    upstream.behave(up.hang())
    await t.rejects(client.complete(ask, { timeouts: { total: 50 } }), { code: 'upstream_timeout' })
    t.equal((await upstream.last().closed).aborted, true)
  })
})

t.test('a caller that leaves closes the upstream, which would not end by itself', async (t) => {
  /** Leaves once the call has come so far, and says how it ended and how long the upstream took to notice. */
  const leave = async (
    behaviour: up.Behaviour,
    call: (signal: AbortSignal, ready: () => void) => Promise<unknown>,
  ): Promise<unknown> => {
    upstream.reset()
    upstream.behave(behaviour)
    const abort = new AbortController()
    const ready = Promise.withResolvers<void>()
    const ended = call(abort.signal, ready.resolve).then(
      () => undefined,
      (error: unknown) => error,
    )
    await ready.promise
    const request = await upstream.request(0)
    abort.abort(new Error('left'))
    const error = await ended
    const { aborted } = await request.closed
    t.equal(aborted, true)
    return error
  }

  const read =
    (chunks: number) =>
    async (signal: AbortSignal, ready: () => void): Promise<void> => {
      let received = 0
      if (chunks === 0) ready()
      for await (const _chunk of client.stream(streamed, { signal })) if (++received === chunks) ready()
    }

  const states: [string, up.Behaviour, (signal: AbortSignal, ready: () => void) => Promise<unknown>][] = [
    [
      'while an answer is awaited',
      up.hang(),
      (signal, ready) => {
        ready()
        return client.complete(ask, { signal })
      },
    ],
    [
      'while the body of an answer is awaited',
      up.stallFirstByte(60_000),
      async (signal, ready) => {
        const answer = client.complete(ask, { signal })
        await upstream.request(0)
        await sleep(30)
        ready()
        return answer
      },
    ],
    ['before the head of a stream', up.hang(), read(0)],
    ['before its first chunk', up.stallFirstByte(60_000), read(0)],
    ['between two chunks', up.completion({ tokens: ['a', 'b', 'c'], delayMs: 60_000 }), read(1)],
    ['while chunks keep coming', up.completion({ tokens: new Array(5000).fill('x'), delayMs: 1 }), read(20)],
  ]
  for (const [name, behaviour, call] of states) {
    const error = await leave(behaviour, call)
    t.match(error, { kind: 'client_closed', status: 499 }, name)
  }

  t.test('also by leaving the loop', async (t) => {
    upstream.behave(up.completion({ tokens: new Array(5000).fill('x'), delayMs: 1 }))
    for await (const _chunk of client.stream(streamed)) {
      break
    }
    const { aborted } = await upstream.last().closed
    t.equal(aborted, true)
  })

  t.test('also while it does not read', async (t) => {
    upstream.behave(up.pacedFlood(64 * 1024 * 1024, 64 * 1024).behaviour)
    const abort = new AbortController()
    const chunks = client.stream(streamed, { signal: abort.signal })[Symbol.asyncIterator]()
    await chunks.next()
    await sleep(100)
    abort.abort()
    const { aborted } = await upstream.last().closed
    t.equal(aborted, true)
  })

  t.test('while the connection is being opened: the call ends, and nothing is sent', async (t) => {
    const abort = new AbortController()
    const fresh = clientOf()
    const whole = fresh.complete(ask, { signal: abort.signal }).catch((error: unknown) => error)
    const stream = collect(streamed, { signal: abort.signal }, fresh)
    abort.abort()
    t.match(await whole, { kind: 'client_closed' })
    t.match((await stream).error, { kind: 'client_closed' })
    await sleep(50)
    t.equal(upstream.requests.length, 0)
  })

  t.test('before the call: nothing is sent either', async (t) => {
    for (const error of await failures(client, { signal: AbortSignal.abort() })) {
      t.match(error, { kind: 'client_closed' })
    }
    const reason = new GatewayError('shutting_down', 'stopping')
    for (const error of await failures(client, { signal: AbortSignal.abort(reason) })) t.equal(error, reason)
    t.equal(upstream.requests.length, 0)
  })

  t.test('after the answer: nobody minds', async (t) => {
    const abort = new AbortController()
    await client.complete(ask, { signal: abort.signal })
    t.equal((await collect(streamed, { signal: abort.signal })).error, undefined)
    abort.abort()
    t.equal((await upstream.last().closed).aborted, false)
  })
})

t.test('a slow reader slows the upstream instead of filling memory', async (t) => {
  const total = 64 * 1024 * 1024
  const flood = up.pacedFlood(total, 16 * 1024)
  upstream.behave(flood.behaviour)
  const chunks = client.stream(streamed)[Symbol.asyncIterator]()
  await chunks.next()
  let before = -1
  while (before !== flood.written) {
    before = flood.written
    await sleep(100)
  }
  t.ok(flood.written < total / 4, `${Math.round(flood.written / 1024)} KiB were taken`)
  let received = 1
  for await (const _chunk of { [Symbol.asyncIterator]: () => chunks }) received++
  t.equal(received, total / (16 * 1024) + 2, 'and nothing is lost')
})

t.test('a connection serves one call after the other', async (t) => {
  const own = await up.startUpstream()
  t.teardown(() => own.close())
  const fresh = clientOf({ baseURL: own.baseURL })
  for (let i = 0; i < 5; i++) {
    await fresh.complete(ask)
    await sleep(5)
    await collect(streamed, {}, fresh)
    await sleep(5)
  }
  t.equal(own.requests.length, 10)
  t.ok(own.openConnections() <= 2, `${own.openConnections()} connections`)
})

t.test('a stalled stream holds up nobody else', async (t) => {
  upstream.next(up.completion({ tokens: ['a', 'b'], delayMs: 60_000 }))
  const abort = new AbortController()
  const stalled = client.stream(streamed, { signal: abort.signal })[Symbol.asyncIterator]()
  await stalled.next()
  for (let i = 0; i < 20; i++) t.equal((await collect()).error, undefined)
  abort.abort()
  await t.rejects(stalled.next(), { code: 'client_closed' })
})

t.test('closing lets running calls finish, and refuses new ones', async (t) => {
  upstream.behave(up.completion({ tokens: ['a', 'b', 'c'], delayMs: 20 }))
  const closing = clientOf()
  const running = collect(streamed, {}, closing)
  await upstream.request(0)
  await closing.close()
  t.match(await running, { text: 'abc', error: undefined })
  for (const error of await failures(closing)) t.ok(error instanceof GatewayError)
  await closing.close()
})

t.test('a provider that leaves its answer open after [DONE] holds up nothing', async (t) => {
  const upstream = await up.startUpstream()
  t.teardown(() => upstream.close())
  upstream.behave(async (request, exchange) => {
    exchange.startStream()
    for (const chunk of up.completionChunks(request)) await exchange.event(chunk)
    await exchange.write('data: [DONE]\n\n')
  })
  const client = new OpenAICompatibleClient({ provider: 'lab', model: 'm', baseURL: upstream.baseURL, headers: {} })
  const stream = client.stream({ model: 'model', messages: [{ role: 'user', content: 'hi' }], stream: true })
  let chunks = 0
  for await (const _chunk of stream) chunks++
  t.ok(chunks > 1, 'the answer is whole')
  await client.close()
  t.match(await upstream.last().closed, { aborted: true })
})

t.test('an event that is named error is one, whatever its data is called', async (t) => {
  upstream.behave(
    up.rawStream(['event: error\ndata: {"object":"error","message":"boom","code":400}\n\n', 'data: [DONE]\n\n']),
  )
  t.match((await collect()).error, { kind: 'upstream_rejected', status: 400 })
  upstream.behave()
})
