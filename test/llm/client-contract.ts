import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { GatewayError } from '../../src/server/errors.ts'
import type { CallOptions, ChatCompletion, ChatCompletionChunk, ChatRequest, LLMClient } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { type Dialect, play, playPaced, playUntil, refuse, type Script } from '../upstream/dialect.ts'
import type { RecordedRequest, Upstream } from '../upstream.ts'

export interface ContractParts {
  dialect: Dialect
  upstream: Upstream
  /** A client of that upstream, or of another address. */
  connect(baseURL?: string): LLMClient
}

const hello: ChatRequest = { model: 'asked', messages: [{ role: 'user', content: 'Hello!' }] }
const SECRET = 'upstream-secret-detail'
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    description: 'The weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}
const clock = { type: 'function' as const, function: { name: 'clock', parameters: { type: 'object', properties: {} } } }
const calls = [
  { id: 'call_paris', name: 'weather', arguments: { city: 'Paris' } },
  { id: 'call_time', name: 'clock', arguments: {} },
]

/** What every client does, whatever the provider behind it speaks. */
export function clientContract(t: Test, { dialect, upstream, connect }: ContractParts): void {
  const client = connect()
  t.teardown(() => client.close?.())
  t.beforeEach(() => upstream.reset())

  /** An answer, and its stream read to the end; each is checked against the schema. */
  const complete = async (script: Script, request = hello, call?: CallOptions): Promise<ChatCompletion> => {
    upstream.next(play(dialect, script))
    const completion = await client.complete(request, call)
    assertSchema('CreateChatCompletionResponse', completion)
    return completion
  }
  const collect = async (request = hello, call: CallOptions = {}, from = client): Promise<ChatCompletionChunk[]> => {
    const chunks: ChatCompletionChunk[] = []
    const options = { stream: true, stream_options: { include_usage: true } }
    for await (const chunk of from.stream({ ...request, ...options }, call)) {
      assertSchema('CreateChatCompletionStreamResponse', chunk)
      chunks.push(chunk)
    }
    return chunks
  }
  const stream = (script: Script, request = hello): Promise<ChatCompletionChunk[]> => {
    upstream.next(play(dialect, script))
    return collect(request)
  }
  const deltas = (chunks: ChatCompletionChunk[]) => chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta))
  const textOf = (chunks: ChatCompletionChunk[]): string =>
    deltas(chunks)
      .map(({ content }) => content ?? '')
      .join('')
  /** What the provider, which refuses what the real one refuses, makes of a request. */
  const understood = async (request: ChatRequest) => {
    assertSchema('CreateChatCompletionResponse', await client.complete(request))
    return dialect.understood(upstream.last())
  }

  t.test('text', async (t) => {
    const completion = await complete({ text: ['Good', ' day', '!'] })
    t.match(completion, {
      object: 'chat.completion',
      choices: [
        { index: 0, message: { role: 'assistant', content: 'Good day!', refusal: null }, finish_reason: 'stop' },
      ],
    })
    t.equal(completion.choices.length, 1)
    t.ok(completion.id)
    t.ok(Number.isInteger(completion.created))
    const { system, user } = await understood({
      ...hello,
      messages: [
        { role: 'system', content: 'Be kind.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Hello' },
            { type: 'text', text: ' there' },
          ],
        },
      ],
    })
    t.strictSame([system, user], ['Be kind.', 'Hello there'])
  })

  t.test('every system and developer message, wherever it stands', async (t) => {
    const { system } = await understood({
      ...hello,
      messages: [
        { role: 'system', content: 'Be kind.' },
        { role: 'developer', content: [{ type: 'text', text: ' Be brief.' }] },
        ...hello.messages,
        { role: 'assistant', content: [{ type: 'text', text: 'Hi.' }] },
        { role: 'system', content: ' Be quick.' },
        { role: 'user', content: 'Well?' },
      ],
    })
    t.equal(system, 'Be kind. Be brief. Be quick.')
  })

  t.test("texts that are empty are in nobody's way", async (t) => {
    const call = { id: 'call_time', type: 'function' as const, function: { name: 'clock', arguments: '{}' } }
    const empty = { type: 'text' as const, text: '' }
    const { user } = await understood({
      ...hello,
      tools: [clock],
      messages: [
        { role: 'system', content: '' },
        { role: 'user', content: [empty, { type: 'text', text: 'Hello' }] },
        { role: 'assistant', content: '' },
        { role: 'user', content: 'Are you there?' },
        { role: 'assistant', content: ' \n' },
        { role: 'user', content: 'Hello?' },
        { role: 'assistant', content: '\n\n', tool_calls: [call] },
        { role: 'tool', tool_call_id: call.id, content: '' },
      ],
    })
    t.match(user, /^Hello/)
  })

  t.test('a stream: the role first, the finish reason last, then the usage; one id throughout', async (t) => {
    const chunks = await stream({ text: ['Good', ' day', '!'] })
    t.equal(textOf(chunks), 'Good day!')
    t.equal(chunks[0]?.choices[0]?.delta.role, 'assistant')
    t.equal(chunks.filter(({ choices }) => choices[0]?.delta.role).length, 1)
    t.equal(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size, 1)
    t.equal(chunks.at(-2)?.choices[0]?.finish_reason, 'stop')
    t.equal(chunks.filter(({ choices }) => choices[0]?.finish_reason).length, 1)
    t.match(chunks.at(-1), { choices: [], usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 } })
    t.ok(chunks.slice(0, -1).every(({ usage }) => usage === null))
  })

  t.test('a stream without usage, where none was asked for', async (t) => {
    upstream.next(play(dialect, { text: ['Good', ' day'] }))
    const chunks: ChatCompletionChunk[] = []
    for await (const chunk of client.stream({ ...hello, stream: true })) chunks.push(chunk)
    t.equal(textOf(chunks), 'Good day')
    t.ok(chunks.every(({ choices, usage }) => choices.length === 1 && !usage))
  })

  t.test('a stream is passed on token by token: the next is not sent before the last has arrived', async (t) => {
    const text = ['One', ' two', ' three', ' four']
    const arrived = text.map(() => Promise.withResolvers<void>())
    const before = async (n: number): Promise<void> => arrived[n - 1]?.promise
    upstream.next(playPaced(dialect, { text }, before))
    let n = 0
    for await (const { choices } of client.stream({ ...hello, stream: true })) {
      if (!choices[0]?.delta.content) continue
      t.equal(choices[0].delta.content, text[n])
      arrived[n++]?.resolve()
    }
    t.equal(n, text.length)
  })

  t.test('tool calls, in parallel', async (t) => {
    const completion = await complete({ text: ['I look.'], calls }, { ...hello, tools: [weather, clock] })
    t.match(completion.choices[0], { finish_reason: 'tool_calls', message: { content: 'I look.' } })
    const made = completion.choices[0]?.message.tool_calls?.flatMap((call) => (call.type === 'function' ? [call] : []))
    t.strictSame(
      made?.map(({ id, function: { name, arguments: json } }) => ({ id, name, arguments: JSON.parse(json) })),
      calls,
    )
    t.strictSame(dialect.understood(upstream.last()).tools, ['weather', 'clock'])
  })

  t.test('tool calls alone come without content', async (t) => {
    const completion = await complete({ calls }, { ...hello, tools: [weather, clock] })
    t.equal(completion.choices[0]?.message.content, null)
  })

  t.test('tool calls of a stream: by index, id and name once, the arguments in pieces', async (t) => {
    const chunks = await stream({ calls }, { ...hello, tools: [weather, clock] })
    const pieces = deltas(chunks).flatMap(({ tool_calls }) => tool_calls ?? [])
    const made = calls.map((_, index) => {
      const own = pieces.filter((piece) => piece.index === index)
      const [id, ...ids] = own.flatMap((piece) => (piece.id ? [piece.id] : []))
      const [name, ...names] = own.flatMap((piece) => (piece.function?.name ? [piece.function.name] : []))
      t.strictSame([ids, names], [[], []])
      t.equal(own[0]?.id, id, 'the id comes first')
      return { id, name, arguments: JSON.parse(own.map((piece) => piece.function?.arguments ?? '').join('')) }
    })
    t.strictSame(made, calls)
    t.equal(chunks.at(-2)?.choices[0]?.finish_reason, 'tool_calls')
  })

  t.test('tool calls and their results go back', async (t) => {
    const { calls: sent, results } = await understood({
      ...hello,
      tools: [weather, clock],
      messages: [
        ...hello.messages,
        {
          role: 'assistant',
          content: '',
          tool_calls: calls.map(({ id, name, arguments: args }) => ({
            id,
            type: 'function',
            function: { name, arguments: JSON.stringify(args) },
          })),
        },
        { role: 'tool', tool_call_id: 'call_paris', content: 'sunny' },
        { role: 'tool', tool_call_id: 'call_time', content: [{ type: 'text', text: 'noon' }] },
      ],
    })
    t.strictSame(sent, calls)
    t.strictSame(results, [
      { id: 'call_paris', text: 'sunny' },
      { id: 'call_time', text: 'noon' },
    ])
  })

  t.test('tool_choice', async (t) => {
    const named = { type: 'function' as const, function: { name: 'clock' } }
    for (const [tool_choice, expected] of [
      ['auto', 'auto'],
      ['required', 'required'],
      ['none', 'none'],
      [named, 'clock'],
    ] as const) {
      t.equal((await understood({ ...hello, tools: [weather, clock], tool_choice })).toolChoice, expected)
    }
  })

  t.test('images, in the request and by URL', async (t) => {
    const { images, user } = await understood({
      ...hello,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
            { type: 'image_url', image_url: { url: 'https://example.com/cat.png' } },
          ],
        },
      ],
    })
    t.strictSame(images, [`image/png;base64,${pixel}`, 'https://example.com/cat.png'])
    t.equal(user, 'What is this?')
  })

  t.test('images in the result of a tool', async (t) => {
    const call = { id: 'call_cam', type: 'function' as const, function: { name: 'camera', arguments: '{}' } }
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } }
    for (const [content, text] of [
      [[{ type: 'text', text: 'A cat:' }, image], 'A cat:'],
      [[image], String],
    ] as const) {
      const { images, results } = await understood({
        ...hello,
        tools: [{ type: 'function', function: { name: 'camera' } }],
        messages: [
          ...hello.messages,
          { role: 'assistant', tool_calls: [call] },
          { role: 'tool', tool_call_id: 'call_cam', content } as unknown as ChatRequest['messages'][number],
        ],
      })
      t.strictSame(images, [`image/png;base64,${pixel}`])
      t.equal(results.length, 1)
      t.match(results[0], { id: 'call_cam', text })
    }
  })

  t.test('output by a JSON schema', async (t) => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    }
    const response_format = { type: 'json_schema' as const, json_schema: { name: 'place', strict: true, schema } }
    const completion = await complete({ text: ['{"city":', '"Paris"}'] }, { ...hello, response_format })
    t.strictSame(JSON.parse(completion.choices[0]?.message.content ?? ''), { city: 'Paris' })
    t.match(dialect.understood(upstream.last()).schema, { type: 'object', properties: { city: { type: 'string' } } })
    const chunks = await stream({ text: ['{"city":', '"Paris"}'] }, { ...hello, response_format })
    t.strictSame(JSON.parse(textOf(chunks)), { city: 'Paris' })
    t.match(dialect.understood(upstream.last()).schema, { type: 'object', properties: { city: { type: 'string' } } })
  })

  t.test('the parameters that every provider knows', async (t) => {
    const { maxTokens, temperature, topP, stop } = await understood({
      ...hello,
      max_completion_tokens: 77,
      temperature: 0.5,
      stop: ['END'],
    })
    t.strictSame([maxTokens, temperature, topP, stop], [77, 0.5, undefined, ['END']])
    t.equal((await understood({ ...hello, top_p: 0.25 })).topP, 0.25)
  })

  t.test('why it stopped', async (t) => {
    for (const finish of ['stop', 'length', 'content_filter'] as const) {
      t.equal((await complete({ text: ['a'], finish })).choices[0]?.finish_reason, finish)
      t.equal((await stream({ text: ['a'], finish })).at(-2)?.choices[0]?.finish_reason, finish)
    }
  })

  t.test('usage, with cached and reasoning tokens', async (t) => {
    const usage = { prompt: 100, cached: 60, completion: 40, reasoning: 15 }
    const expected = {
      prompt_tokens: 100,
      completion_tokens: 40,
      total_tokens: 140,
      prompt_tokens_details: { cached_tokens: 60 },
      completion_tokens_details: { reasoning_tokens: 15 },
    }
    t.match((await complete({ text: ['a'], usage })).usage, expected)
    t.match((await stream({ text: ['a'], usage })).at(-1)?.usage, expected)
  })

  t.test('reasoning', async (t) => {
    const script = { reasoning: ['First', ' this.'], text: ['Then', ' that.'] }
    t.match((await complete(script)).choices[0]?.message, { reasoning_content: 'First this.', content: 'Then that.' })
    const chunks = await stream(script)
    const reasoning = deltas(chunks).map((delta) => (delta as { reasoning_content?: string }).reasoning_content ?? '')
    t.strictSame([reasoning.join(''), textOf(chunks)], ['First this.', 'Then that.'])
    t.equal(reasoning.filter(Boolean).length, 2, 'as it comes')
  })

  const failure = (work: Promise<unknown>): Promise<GatewayError> =>
    work.then(
      () => Promise.reject(new Error('it did not fail')),
      (error) => error,
    )
  /** The same failure, asked for both ways. */
  const bothWays = async (behave: () => void): Promise<GatewayError[]> => {
    behave()
    const completing = await failure(client.complete(hello))
    behave()
    return [completing, await failure(collect())]
  }

  t.test('abort', async (t) => {
    const isOver = async (t: Test, request: RecordedRequest, since: number): Promise<void> => {
      const { aborted, at } = await request.closed
      t.ok(aborted, 'the upstream sees it')
      t.ok(at - since < 100, `within 100 ms: ${at - since}`)
    }

    t.test('before it began: nothing is sent', async (t) => {
      const call = { signal: AbortSignal.abort() }
      t.match(await failure(client.complete(hello, call)), { kind: 'client_closed' })
      t.match(await failure(collect(hello, call)), { kind: 'client_closed' })
      t.equal(upstream.requests.length, 0)
    })

    t.test('while it waits for the answer', async (t) => {
      for (const [n, start] of [
        (call: CallOptions) => client.complete(hello, call),
        (call: CallOptions) => collect(hello, call),
      ].entries()) {
        upstream.next(() => undefined)
        const controller = new AbortController()
        const failed = failure(start({ signal: controller.signal }))
        const request = await upstream.request(n)
        const since = performance.now()
        controller.abort()
        t.match(await failed, { kind: 'client_closed' })
        await isOver(t, request, since)
      }
    })

    t.test('in the middle of a stream', async (t) => {
      upstream.next(playUntil(dialect, { text: ['One', ' two', ' three'] }, ' two', () => undefined))
      const controller = new AbortController()
      let since = 0
      const reading = async (): Promise<void> => {
        for await (const { choices } of client.stream({ ...hello, stream: true }, { signal: controller.signal })) {
          if (choices[0]?.delta.content !== ' two') continue
          since = performance.now()
          controller.abort()
        }
      }
      t.match(await failure(reading()), { kind: 'client_closed' })
      await isOver(t, upstream.last(), since)
    })

    t.test('a reader that goes away closes the stream', async (t) => {
      upstream.next(playUntil(dialect, { text: ['One', ' two', ' three'] }, ' two', () => undefined))
      let since = 0
      for await (const { choices } of client.stream({ ...hello, stream: true })) {
        if (choices[0]?.delta.content !== ' two') continue
        since = performance.now()
        break
      }
      await isOver(t, upstream.last(), since)
    })
  })

  t.test('a signal that outlives its calls keeps nothing of them', async (t) => {
    const { signal } = new AbortController()
    const call = { signal }
    await client.complete(hello, call)
    await collect(hello, call)
    for await (const _chunk of client.stream({ ...hello, stream: true }, call)) break
    upstream.next(refuse(dialect, 400, 'no'), refuse(dialect, 400, 'no'))
    await failure(client.complete(hello, call))
    await failure(collect(hello, call))
    // A stream is over for its reader a moment before its connection is free again.
    while (upstream.requests.length < 5) await sleep(1)
    await Promise.all(upstream.requests.map(({ closed }) => closed))
    await sleep(10)
    t.equal(getEventListeners(signal, 'abort').length, 0)
  })

  t.test('timeouts', async (t) => {
    const hang = (): void => upstream.next(() => undefined)
    hang()
    t.match(await failure(client.complete(hello, { timeouts: { total: 50 } })), {
      code: 'upstream_timeout',
      status: 504,
    })
    hang()
    const late = failure(collect(hello, { timeouts: { firstToken: 50 } }))
    t.match(await late, { code: 'upstream_first_token_timeout', status: 504 })
    upstream.next(playUntil(dialect, { text: ['One', ' two'] }, 'One', () => undefined))
    const idle = failure(collect(hello, { timeouts: { idle: 50 } }))
    t.match(await idle, { code: 'upstream_idle_timeout', status: 504 })
  })

  t.test('what the client got wrong passes', async (t) => {
    for (const status of [400, 404, 409, 413, 422]) {
      for (const error of await bothWays(() => upstream.next(refuse(dialect, status, 'that is too hot')))) {
        t.match(error, { kind: 'upstream_rejected', status })
        assertSchema('ErrorResponse', error.toBody())
        t.match(error.toBody(), { error: { message: 'that is too hot' } })
      }
    }
  })

  t.test('what the gateway or the provider got wrong does not', async (t) => {
    for (const [status, expected] of [
      [401, { status: 502, code: 'upstream_auth_error', headers: { 'x-should-retry': 'false' } }],
      [402, { status: 502, code: 'upstream_auth_error', headers: { 'x-should-retry': 'false' } }],
      [403, { status: 502, code: 'upstream_auth_error', headers: { 'x-should-retry': 'false' } }],
      [429, { status: 429, code: 'rate_limit_exceeded', headers: { 'retry-after': '7' } }],
      [500, { status: 502, code: 'upstream_error' }],
      [503, { status: 503, code: 'upstream_overloaded', headers: { 'retry-after': '7' } }],
      [504, { status: 504, code: 'upstream_timeout' }],
      [529, { status: 503, code: 'upstream_overloaded', headers: { 'retry-after': '7' } }],
    ] as const) {
      const refused = refuse(dialect, status, SECRET, { 'retry-after': '7' })
      for (const error of await bothWays(() => upstream.next(refused))) {
        t.match(error, expected, String(status))
        t.notMatch(JSON.stringify(error.toBody()), SECRET)
      }
      t.equal(upstream.requests.length, 2, 'nothing is retried here')
      upstream.reset()
    }
  })

  t.test('a provider that is not there', async (t) => {
    const nobody = connect(`http://127.0.0.1:1${dialect.path}`)
    t.teardown(() => nobody.close?.())
    t.match(await failure(nobody.complete(hello)), { status: 503, code: 'upstream_unreachable' })
    t.match(await failure(collect(hello, {}, nobody)), { status: 503, code: 'upstream_unreachable' })
  })

  t.test('a connection that is lost before the answer', async (t) => {
    for (const error of await bothWays(() => upstream.next((_request, exchange) => exchange.drop()))) {
      t.match(error, { status: 502, code: 'upstream_connection_lost' })
    }
  })

  t.test('an answer that is not JSON', async (t) => {
    upstream.next((_request, { raw }) => void raw.writeHead(200, { 'content-type': 'text/html' }).end('<html>'))
    t.match(await failure(client.complete(hello)), { status: 502, code: 'upstream_malformed' })
  })

  t.test('a stream that breaks', async (t) => {
    for (const [name, then, status, code] of [
      ['error event', 500, 502, 'upstream_error'],
      ['event of an overload', 503, 503, 'upstream_overloaded'],
      ['event of a rate limit', 429, 429, 'rate_limit_exceeded'],
      ['end without an end', 'end', 502, 'upstream_truncated'],
      ['reset', 'drop', 502, 'upstream_connection_lost'],
      ['event that is not JSON', 'garbage', 502, 'upstream_malformed'],
    ] as const) {
      upstream.next(
        playUntil(dialect, { text: ['One', ' two', ' three'] }, ' two', async (exchange) => {
          if (typeof then === 'number') await exchange.write(dialect.errorEvent(then))
          if (then === 'garbage') await exchange.write('data: {"broken":[\n\n')
          // A reset right behind the data would let the peer throw away what it has not read yet.
          await sleep(30)
          if (then === 'drop') exchange.drop()
          else exchange.raw.end()
        }),
      )
      const texts: string[] = []
      const reading = async (): Promise<void> => {
        for await (const { choices } of client.stream({ ...hello, stream: true })) {
          texts.push(choices[0]?.delta.content ?? '')
          t.equal(choices[0]?.finish_reason, null, 'it never looks complete')
        }
      }
      const error = await failure(reading())
      t.match(error, { status, code }, name)
      t.equal(texts.join(''), 'One two', name)
    }
  })

  t.test('connections are kept for the next call', async (t) => {
    const ports = new Set<number | undefined>()
    upstream.behave(async (request, exchange) => {
      ports.add(exchange.raw.socket?.remotePort)
      await play(dialect, { text: ['a'] })(request, exchange)
    })
    for (let n = 0; n < 10; n++) await collect()
    // A stream is over for its reader a moment before its connection is free again.
    t.ok(ports.size <= 2, `${ports.size} connections`)
  })
}
