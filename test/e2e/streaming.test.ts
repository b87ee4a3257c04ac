import { APIError } from 'openai'
import type { ChatCompletionChunk } from 'openai/resources/chat/completions'
import t from 'tap'
import { dataOf, startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import {
  completion,
  completionChunks,
  endWithoutDone,
  failWith,
  gated,
  type Json,
  rawStream,
  startUpstream,
  UPSTREAM_SECRET,
} from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const gateway = await startGateway(t, { upstream })
const client = gateway.client()

const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello there' }] }
const streamed = { ...ask, stream: true as const }

/** The text of a whole stream. */
async function textOf(body: object, { post } = gateway): Promise<string> {
  const answer = await post('/v1/chat/completions', { ...streamed, ...body })
  return answer.text()
}

/** The chunks of a stream that ended well, each checked against the contract. */
async function chunksOf(body: object): Promise<ChatCompletionChunk[]> {
  const data = dataOf(await textOf(body))
  if (data.pop() !== '[DONE]') throw new Error('the stream did not end well')
  const chunks = data.map((chunk): ChatCompletionChunk => JSON.parse(chunk))
  for (const chunk of chunks) assertSchema('CreateChatCompletionStreamResponse', chunk)
  return chunks
}

const contentOf = (chunks: ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

t.test('the head says that events follow and that nobody may keep them back', async (t) => {
  const answer = await gateway.post('/v1/chat/completions', streamed, { headers: { accept: 'application/json' } })
  t.equal(answer.status, 200)
  t.match(Object.fromEntries(answer.headers), {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
    'x-request-id': /^req_/,
  })
  t.match(await answer.text(), /^data: \{.*\n\ndata: \[DONE\]\n\n$/s)
})

t.test('each chunk is at the client before the upstream has sent the next', async (t) => {
  const tokens = Array.from({ length: 40 }, (_, index) => `${index} `)
  const gate = gated(tokens)
  upstream.behave(gate.behaviour)
  gate.release()
  const answer = await gateway.post('/v1/chat/completions', streamed)
  const reader = (answer.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream()).getReader()
  const expected = ['', ...tokens]
  for (const [index, content] of expected.entries()) {
    const { value = '' } = await reader.read()
    const events = dataOf(value)
    t.equal(events.length, 1, 'nothing is merged')
    t.equal(JSON.parse(events[0] ?? '').choices[0].delta.content, content)
    t.equal(gate.sent, index + 1, 'nothing was sent ahead')
    gate.release()
  }
  gate.release()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) break
    rest += value
  }
  t.equal(dataOf(rest).length, 2, 'the finish reason, and the end')
})

t.test('the official client iterates while the upstream still speaks', async (t) => {
  const gate = gated(['a', 'b', 'c'])
  upstream.behave(gate.behaviour)
  gate.release()
  const stream = await client.chat.completions.create(streamed)
  let received = 0
  for await (const { choices } of stream) {
    received += 1
    t.equal(gate.sent, Math.min(received, 5))
    t.equal(choices[0]?.delta.content, ['', 'a', 'b', 'c', undefined][received - 1])
    gate.release(received < 5 ? 1 : Number.POSITIVE_INFINITY)
  }
  t.equal(received, 5)
})

t.test('a burst in one segment stays as many chunks as it was, in order', async (t) => {
  const chunks: Json[] = []
  upstream.behave(async (request, exchange) => {
    chunks.push(...completionChunks(request, { tokens: Array.from({ length: 500 }, (_, index) => `t${index} `) }))
    exchange.startStream()
    await exchange.write(`${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`)
    exchange.raw.end()
  })
  const text = await textOf({ stream_options: { include_usage: true } })
  t.equal(chunks.length, 503)
  t.strictSame(dataOf(text), [...chunks.map((chunk) => JSON.stringify(chunk)), '[DONE]'])
})

t.test('the deltas of parallel tool calls keep their index and order', async (t) => {
  const toolCalls = [
    { name: 'weather', arguments: '{"city":"Lisbon","unit":"celsius"}' },
    { name: 'time', arguments: '{"zone":"Europe/Lisbon"}' },
  ]
  upstream.behave(completion({ toolCalls }))
  const pieces = (await chunksOf({})).flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? [])
  t.same(
    pieces.map(({ index, id, function: call }) => [index, id !== undefined, call?.name]),
    [[0, true, 'weather'], [1, true, 'time'], ...[0, 1, 0, 1, 0, 1, 0, 0].map((index) => [index, false, undefined])],
  )
  const joined = [0, 1].map((lane) =>
    pieces.flatMap(({ index, function: call }) => (index === lane ? (call?.arguments ?? '') : [])).join(''),
  )
  t.same(
    joined,
    toolCalls.map((call) => call.arguments),
  )
})

t.test('the chunks of several choices stay interleaved as the upstream sent them', async (t) => {
  const chunks = await chunksOf({ n: 3 })
  t.same(
    chunks.map(({ choices }) => choices[0]?.index),
    [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 2, 0, 1, 2],
  )
  t.equal(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size, 1)
})

t.test('usage is shown to who asked for it: null in every chunk, then a chunk without choices', async (t) => {
  const chunks = await chunksOf({ stream_options: { include_usage: true } })
  const last = chunks.pop()
  t.same(last?.choices, [])
  t.match(last?.usage, { completion_tokens: 4, prompt_tokens_details: { cached_tokens: 0 } })
  t.ok(chunks.every(({ usage }) => usage === null))
})

t.test('usage is not shown to who did not ask, though the gateway asks the upstream and learns it', async (t) => {
  for (const body of [{}, { stream_options: null }, { stream_options: { include_usage: false } }]) {
    const completed = Promise.withResolvers<object | undefined>()
    gateway.hooks.once('onCompletion', ({ usage }) => completed.resolve(usage))
    const chunks = await chunksOf(body)
    t.notOk(chunks.some((chunk) => 'usage' in chunk))
    t.ok(chunks.every(({ choices }) => choices.length === 1))
    t.match(await completed.promise, { completion_tokens: 4 })
    t.match(upstream.last().body, { stream_options: { include_usage: true } })
  }
})

t.test('usage that the upstream sends unasked with a choice passes', async (t) => {
  upstream.behave(async (_request, exchange) => {
    exchange.startStream()
    const choices = [{ index: 0, delta: { role: 'assistant', content: 'a' }, finish_reason: 'stop' }]
    await exchange.event({ choices, usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })
    await exchange.done()
  })
  t.match(JSON.parse(dataOf(await textOf({}))[0] ?? ''), { choices: [{ delta: { content: 'a' } }] })
})

t.test('[DONE] comes exactly once, also from an upstream that never sends it or goes on after it', async (t) => {
  const count = (text: string) => text.split('data: [DONE]\n\n').length - 1
  t.equal(count(await textOf({})), 1)
  upstream.behave(endWithoutDone(Number.POSITIVE_INFINITY))
  t.equal(count(await textOf({})), 1)
  upstream.behave(async (request, exchange) => {
    exchange.startStream()
    for (const chunk of completionChunks(request)) await exchange.event(chunk)
    await exchange.write('data: [DONE]\n\ndata: [DONE]\n\n')
    await exchange.done()
  })
  const text = await textOf({})
  t.equal(count(text), 1)
  t.ok(text.endsWith('data: [DONE]\n\n'))
})

const head = '"id":"c","object":"chat.completion.chunk","created":1,"model":"m"'
const chunk = (content: string, finish: string): string =>
  `{${head},"choices":[{"index":0,"delta":{"role":"assistant","content":"${content}"},"finish_reason":${finish}}]}`
const spoken = 'é – 漢字 😀🏳️‍🌈'
const first = chunk(spoken, 'null')
const last = chunk('.', '"stop"')
const plain = `data: ${first}\n\ndata: ${last}\n\ndata: [DONE]\n\n`

const wires: Record<string, (string | Buffer)[]> = {
  'one byte a segment': [...Buffer.from(plain)].map((byte) => Buffer.of(byte)),
  'CRLF line ends': [plain.replaceAll('\n', '\r\n')],
  'CR line ends': [plain.replaceAll('\n', '\r')],
  'CRLF cut in two': plain.replaceAll('\n', '\r\n').split(/(?<=\r)/),
  'comments, fields of other kinds and empty lines': [
    `: hello\n\n:\n\nretry: 10\nid: 1\nevent: message\ndata: ${first}\n\n: between\n\n\n\n`,
    `x-odd: 1\ndata: ${last}\n: inside\n\nevent: end\ndata: [DONE]\n\n`,
  ],
  'data without the space': [plain.replaceAll('data: ', 'data:')],
  'data over several lines': [
    `data: ${first.replace(',"choices"', '\ndata: ,"choices"').replace('"delta"', '\ndata:\ndata:"delta"')}\n\n`,
    `data: ${last}\n\ndata: [DONE]\n\n`,
  ],
  'a byte-order mark': [`\uFEFF${plain}`],
}

for (const [name, parts] of Object.entries(wires)) {
  t.test(`an upstream that sends ${name} is understood`, async (t) => {
    upstream.behave(rawStream(parts, 1))
    const text = await textOf({})
    t.strictSame(
      dataOf(text).map((data) => (data === '[DONE]' ? data : JSON.parse(data))),
      [JSON.parse(first), JSON.parse(last), '[DONE]'],
    )
    t.equal(contentOf(await chunksOf({})), `${spoken}.`)
  })
}

t.test('the helpers of the official client work', async (t) => {
  t.test('chat.completions.stream', async (t) => {
    const stream = client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } })
    const contents: string[] = []
    stream.on('content', (delta) => contents.push(delta))
    const completion = await stream.finalChatCompletion()
    t.equal(completion.choices[0]?.message.content, 'You said: hello there')
    t.equal(completion.usage?.completion_tokens, 4)
    t.same(contents, ['You', ' said:', ' hello', ' there'])
  })

  for (const stream of [true, false]) {
    t.test(`chat.completions.runTools, ${stream ? 'streaming' : 'not streaming'}`, async (t) => {
      upstream.next(completion({ toolCalls: [{ id: 'call_1', name: 'weather', arguments: '{"city":"Lisbon"}' }] }))
      const cities: unknown[] = []
      const tool = {
        type: 'function' as const,
        function: {
          name: 'weather',
          description: 'the weather in a city',
          parameters: { type: 'object', properties: { city: { type: 'string' } } },
          parse: JSON.parse,
          function: ({ city }: { city: string }) => {
            cities.push(city)
            return '21 °C'
          },
        },
      }
      const runner = stream
        ? client.chat.completions.runTools({ ...ask, stream: true, tools: [tool] })
        : client.chat.completions.runTools({ ...ask, tools: [tool] })
      t.equal(await runner.finalContent(), 'You said: hello there')
      t.same(cities, ['Lisbon'])
      t.match(upstream.last().body, {
        messages: [
          ask.messages[0],
          { role: 'assistant', tool_calls: [{ id: 'call_1', function: { name: 'weather' } }] },
          { role: 'tool', tool_call_id: 'call_1', content: '21 °C' },
        ],
      })
    })
  }
})

t.test('a stream that is silent for long gets a comment now and then', async (t) => {
  const patient = await startGateway(t, { upstream, config: { server: { keepAlive: '50ms' } } })

  t.test('before the first chunk', async (t) => {
    upstream.behave(completion({ firstDelayMs: 600 }))
    const text = await textOf({}, patient)
    t.match(text, /^(: keep-alive\n\n){2,}data: \{/)
    t.equal(dataOf(text).at(-1), '[DONE]')
  })

  t.test('between chunks, and the official client does not mind', async (t) => {
    upstream.behave(completion({ tokens: ['a', 'b'], delayMs: 400 }))
    const [text, completed] = await Promise.all([
      textOf({}, patient),
      patient.client().chat.completions.stream(ask).finalChatCompletion(),
    ])
    t.match(text, /"role":"assistant".*\n\n: keep-alive\n\n.*"a".*\n\n: keep-alive\n\n.*"b"/s)
    t.equal(completed.choices[0]?.message.content, 'ab')
  })

  t.test('but none while chunks flow', async (t) => {
    upstream.behave(completion({ tokens: Array.from({ length: 40 }, String), delayMs: 5 }))
    t.notMatch(await textOf({}, patient), /^:/m)
  })

  t.test('and a failure after it is told by an event, since the status is spent', async (t) => {
    upstream.behave(async (request, exchange) => {
      await exchange.sleep(120)
      await failWith(429)(request, exchange)
    })
    const text = await textOf({}, patient)
    t.match(text, /^(: keep-alive\n\n)+data: \{"error":\{[^\n]*\n\n$/)
    t.notMatch(text, UPSTREAM_SECRET)
    assertSchema('ErrorResponse', JSON.parse(dataOf(text)[0] ?? ''))

    const stream = await patient.client().chat.completions.create(streamed)
    const failure = await t.rejects(async () => {
      for await (const _ of stream);
    })
    t.type(failure, APIError)
    t.match(failure, { code: 'rate_limit_exceeded', type: 'rate_limit_error', param: null })
  })
})
