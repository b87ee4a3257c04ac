import t from 'tap'
import { createLLM } from '../../src/index.ts'
import type { GatewayError } from '../../src/server/errors.ts'
import type { CallOptions, ChatRequest } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { anthropic, startAnthropic, SIGNATURE as THOUGHT } from '../upstream/anthropic.ts'
import { play, refuse } from '../upstream/dialect.ts'
import { google, SIGNATURE, startGoogle } from '../upstream/google.ts'

const messagesAPI = await startAnthropic()
const geminiAPI = await startGoogle()
const claude = createLLM({ model: 'anthropic/claude-haiku-4-5', apiKey: 'k', baseURL: messagesAPI.baseURL })
const gemini = createLLM({ model: 'google/gemini-2.5-flash', apiKey: 'k', baseURL: geminiAPI.baseURL })
t.teardown(() => Promise.all([claude.close?.(), gemini.close?.(), messagesAPI.close(), geminiAPI.close()]))
t.beforeEach(() => {
  messagesAPI.reset()
  geminiAPI.reset()
})

const hello: ChatRequest = { model: 'asked', messages: [{ role: 'user', content: 'Hello!' }] }
const calls = [{ id: 'call_1', name: 'weather', arguments: { city: 'Paris' } }]
const weather = { type: 'function' as const, function: { name: 'weather', parameters: { type: 'object' } } }

const failure = (work: Promise<unknown>): Promise<GatewayError> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => error,
  )

t.test('what the provider cannot honour is reported, and the request is served', async (t) => {
  for (const [client, fields, expected] of [
    [claude, { n: 2 }, ['n is not supported by anthropic and was ignored']],
    [claude, { logprobs: true, top_logprobs: 3 }, [/^logprobs is not supported/, /^top_logprobs is not supported/]],
    [claude, { logit_bias: { 1: 2 } }, [/^logit_bias is not supported/]],
    [claude, { seed: 7 }, ['seed is not supported by anthropic']],
    [claude, { frequency_penalty: 1 }, ['frequency_penalty is not supported by anthropic']],
    [claude, { temperature: 1.5 }, [/^temperature is not supported by anthropic: 1.5 exceeds/]],
    [
      claude,
      { response_format: { type: 'json_object' } },
      [/^response_format is not supported by anthropic: .*schema/],
    ],
    [gemini, { presence_penalty: 1 }, ['presence_penalty is not supported by google']],
    [gemini, { parallel_tool_calls: false }, [/^parallel_tool_calls is not supported/]],
    [gemini, { something_new: 1 }, [/^something_new is not supported/]],
    [
      gemini,
      { tools: [{ type: 'custom', custom: { name: 'c' } }] },
      ['a tool of the type custom is not supported by google and was ignored'],
    ],
  ] as const) {
    const request = { ...hello, ...fields } as unknown as ChatRequest
    const heard: string[] = []
    const call: CallOptions = { onWarning: (warning) => heard.push(warning) }
    t.ok(await client.complete(request, call))
    t.match(heard, expected, JSON.stringify(fields))
    t.equal(heard.length, expected.length)
    const again: string[] = []
    for await (const _chunk of client.stream(request, { onWarning: (warning) => again.push(warning) })) {
      // What is heard is the point.
    }
    t.strictSame(again, heard, 'and so for a stream')
  }
})

t.test('what asks for nothing, and what is for the gateway, is no reason to warn', async (t) => {
  const request: ChatRequest = {
    ...hello,
    ...{ n: 1, logprobs: false, logit_bias: null, frequency_penalty: 0, presence_penalty: 0, seed: null },
    ...{ parallel_tool_calls: true, service_tier: 'auto', stop: null, tools: [], user: 'alice', store: false },
    metadata: { conversation_id: 'c' },
  }
  for (const client of [claude, gemini]) {
    await client.complete(request, { onWarning: (warning) => t.fail(warning) })
    t.ok(await client.complete(request), 'nobody needs to listen')
  }
})

t.test('what a format of its own has no words for is refused, by its field', async (t) => {
  const call = { id: 'c', type: 'function' as const, function: { name: 'f', arguments: '{"a":' } }
  const user = (...content: object[]) => [{ role: 'user', content }]
  for (const [messages, param] of [
    [[{ role: 'function', name: 'f', content: 'x' }], 'messages[0].role'],
    [[...hello.messages, { role: 'tool', tool_call_id: 'nobody', content: 'x' }], 'messages[1].tool_call_id'],
    [[...hello.messages, { role: 'assistant', tool_calls: [call] }], 'messages[1].tool_calls[0].function.arguments'],
    [user({ type: 'image_url', image_url: { url: 'not a url' } }), 'messages[0].content[0].image_url.url'],
    [
      user({ type: 'text', text: 'a' }, { type: 'image_url', image_url: { url: 'data:x' } }),
      'messages[0].content[1].image_url.url',
    ],
    [user({ type: 'file', file: {} }), 'messages[0].content[0].file'],
    [user({ type: 'hologram' }), 'messages[0].content[0].type'],
  ] as const) {
    const request = { ...hello, messages } as unknown as ChatRequest
    t.match(await failure(claude.complete(request)), { status: 400, kind: 'invalid_request', param }, param)
  }
  const audio = user({ type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } })
  const unheard = await failure(claude.complete({ ...hello, messages: audio } as unknown as ChatRequest))
  t.match(unheard, { status: 400, kind: 'invalid_request', message: /audio/ }, 'or by the SDK, as this by Claude')
  t.strictSame([messagesAPI.requests.length, geminiAPI.requests.length], [0, 0])
})

t.test('files and audio go in', async (t) => {
  const content = [
    { type: 'file' as const, file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } },
    { type: 'input_audio' as const, input_audio: { data: 'SUQz', format: 'mp3' as const } },
    { type: 'image_url' as const, image_url: { url: 'data:image/svg+xml,%3Csvg%2F%3E' } },
  ]
  await gemini.complete({ ...hello, messages: [{ role: 'user', content }] })
  t.strictSame(google.understood(geminiAPI.last()).images, [
    'application/pdf;base64,JVBERi0=',
    'audio/mpeg;base64,SUQz',
    `image/svg+xml;base64,${btoa('<svg/>')}`,
  ])
})

t.test('the signatures of thoughts come as extra_content, and go back', async (t) => {
  for (const { client, api, dialect, script, sent } of [
    {
      client: gemini,
      api: geminiAPI,
      dialect: google,
      script: { calls },
      sent: { contents: [{}, { parts: [{ functionCall: { name: 'weather' }, thoughtSignature: SIGNATURE }] }] },
    },
    {
      client: claude,
      api: messagesAPI,
      dialect: anthropic,
      script: { reasoning: ['Hm', '.'], calls },
      sent: { messages: [{}, { content: [{ type: 'thinking', thinking: 'Hm.', signature: THOUGHT }] }] },
    },
  ]) {
    const request = { ...hello, tools: [weather] }
    const result = { role: 'tool' as const, tool_call_id: 'call_1', content: 'sunny' }
    const goesBack = async (message: object): Promise<void> => {
      const messages = [...hello.messages, message as ChatRequest['messages'][number], result]
      await client.complete({ ...request, messages })
      t.match(api.last().body, sent)
    }

    api.next(play(dialect, script))
    const { choices } = await client.complete(request)
    await goesBack(choices[0]?.message ?? {})

    api.next(play(dialect, script))
    const message: Record<string, unknown> = { role: 'assistant', reasoning_content: '' }
    const call: Record<string, unknown> & { function: { name: string; arguments: string } } = {
      function: { name: '', arguments: '' },
    }
    for await (const chunk of client.stream(request)) {
      const { tool_calls, content: _, ...delta } = chunk.choices[0]?.delta ?? {}
      const reasoning: unknown = 'reasoning_content' in delta ? delta.reasoning_content : ''
      Object.assign(message, delta, { reasoning_content: `${message.reasoning_content}${reasoning}` })
      for (const { function: { name = '', arguments: json = '' } = {}, ...rest } of tool_calls ?? []) {
        Object.assign(call, rest)
        call.function.name += name
        call.function.arguments += json
      }
    }
    await goesBack({ ...message, tool_calls: [call] })
  }
})

t.test('several thoughts are one text, which has no signature', async (t) => {
  messagesAPI.next(async (request, exchange) => {
    exchange.startStream()
    const events = anthropic.events(request, { reasoning: ['Hm'], text: ['So.'] })
    const end = events.findIndex((event) => event.includes('content_block_stop')) + 1
    const again = events.slice(1, end).map((event) => event.replace('"index":0', '"index":9'))
    for (const event of [...events.slice(0, end), ...again, ...events.slice(end)]) await exchange.write(event)
    exchange.raw.end()
  })
  const message: Record<string, unknown> = {}
  for await (const { choices } of claude.stream(hello)) Object.assign(message, choices[0]?.delta)
  t.match(message, { extra_content: null, content: 'So.' })
})

t.test('reasoning_effort makes the model think, and tell', async (t) => {
  await gemini.complete({ ...hello, reasoning_effort: 'low' })
  t.match(geminiAPI.last().body, {
    generationConfig: { thinkingConfig: { includeThoughts: true, thinkingBudget: Number } },
  })
  await gemini.complete({ ...hello, reasoning_effort: 'none' })
  t.match(geminiAPI.last().body, { generationConfig: { thinkingConfig: { thinkingBudget: 0 } } })
  await claude.complete({ ...hello, reasoning_effort: 'low' })
  t.match(messagesAPI.last().body, { thinking: { type: 'enabled', budget_tokens: Number } })
})

t.test('Claude calls one tool at a time when told to', async (t) => {
  const heard: string[] = []
  const request = { ...hello, tools: [weather], parallel_tool_calls: false }
  await claude.complete(request, { onWarning: (warning) => heard.push(warning) })
  t.match(messagesAPI.last().body, { tool_choice: { disable_parallel_tool_use: true } })
  t.strictSame(heard, [])
})

t.test('request id and trace context go to the provider', async (t) => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  await claude.complete(hello, { requestId: 'req_1', traceHeaders: { traceparent } })
  t.match(messagesAPI.last().headers, { 'x-request-id': 'req_1', traceparent })
})

t.test('the answer tells the model that served, and the one asked for when the provider does not say', async (t) => {
  t.equal((await claude.complete(hello)).model, 'claude-haiku-4-5')
  t.equal((await gemini.complete(hello)).model, 'gemini-2.5-flash')
})

t.test('a key that Google does not know is no fault of the client, though it says 400', async (t) => {
  geminiAPI.next((_request, exchange) =>
    exchange.json(400, {
      error: {
        code: 400,
        message: 'API key not valid. Please pass a valid API key.',
        status: 'INVALID_ARGUMENT',
        details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID' }],
      },
    }),
  )
  const error = await failure(gemini.complete(hello))
  t.match(error, { status: 502, code: 'upstream_auth_error' })
  t.notMatch(JSON.stringify(error.toBody()), /API key/)
})

t.test('Claude that is overloaded says so in the first event of a 200', async (t) => {
  messagesAPI.next(async (_request, exchange) => {
    exchange.startStream()
    const error = { type: 'overloaded_error', message: 'Overloaded' }
    await exchange.write(`event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`)
    exchange.raw.end()
  })
  const reading = async (): Promise<void> => {
    for await (const chunk of claude.stream(hello)) t.fail(JSON.stringify(chunk))
  }
  t.match(await failure(reading()), { status: 503, code: 'upstream_overloaded' })
})

t.test('a provider that leaves its stream open after the end holds nobody up', async (t) => {
  messagesAPI.next(async (request, exchange) => {
    exchange.startStream()
    for (const event of anthropic.events(request, { text: ['a'] })) await exchange.write(event)
  })
  const before = performance.now()
  let last: string | null | undefined
  for await (const { choices } of claude.stream(hello)) last = choices[0]?.finish_reason
  t.equal(last, 'stop')
  t.ok(performance.now() - before < 500)
  t.match(await messagesAPI.last().closed, { aborted: true })
})

t.test('an answer that Gemini could not form is an error, never a success', async (t) => {
  geminiAPI.behave((_request, exchange) =>
    exchange.json(200, { candidates: [{ content: { parts: [] }, finishReason: 'MALFORMED_FUNCTION_CALL' }] }),
  )
  t.match(await failure(gemini.complete(hello)), { status: 502, code: 'upstream_malformed' })
})

t.test('usage that the provider does not tell is not made up', async (t) => {
  geminiAPI.behave((_request, exchange) =>
    exchange.json(200, { candidates: [{ content: { parts: [{ text: 'a' }] }, finishReason: 'STOP' }] }),
  )
  t.equal((await gemini.complete(hello)).usage, undefined)
})

t.test('embeddings', async (t) => {
  const embedder = createLLM({ model: 'google/gemini-embedding-001', apiKey: 'k', baseURL: geminiAPI.baseURL })
  t.teardown(() => embedder.close?.())
  const embed = async (fields: { input: string | string[]; encoding_format?: 'base64'; dimensions?: number }) => {
    const answer = await embedder.embed?.({ model: 'asked', ...fields })
    return answer?.data.map(({ embedding }) => embedding)
  }
  const heard: string[] = []
  const call = { onWarning: (warning: string) => heard.push(warning) }
  const answer = await embedder.embed?.({ model: 'asked', input: 'one' }, call)
  assertSchema('CreateEmbeddingResponse', answer)
  t.match(answer, { model: 'gemini-embedding-001', data: [{ index: 0, embedding: [0.5, -0.25] }] })
  t.match(heard, [/usage says 0/])
  t.strictSame(await embed({ input: ['one', 'two'], dimensions: 2 }), [
    [0, 0.5],
    [1, 0.5],
  ])
  t.match(geminiAPI.last().body, { requests: [{ outputDimensionality: 2 }, {}] })
  const [encoded] = (await embed({ input: 'one', encoding_format: 'base64' })) ?? []
  const bytes = Buffer.from(String(encoded), 'base64')
  t.strictSame([bytes.readFloatLE(0), bytes.readFloatLE(4)], [0.5, -0.25])
  t.match(await failure(embedder.embed?.({ model: 'm', input: [1, 2] }) ?? Promise.resolve()), { param: 'input' })
  t.match(await failure(claude.embed?.({ model: 'm', input: 'a' }) ?? Promise.resolve()), { code: 'unsupported' })
  geminiAPI.next(refuse(google, 429, 'slow down', { 'retry-after': '3' }))
  const limited = failure(embedder.embed?.({ model: 'm', input: 'a' }) ?? Promise.resolve())
  t.match(await limited, { status: 429, headers: { 'retry-after': '3' } })
})
