import t from 'tap'
import { createLLM } from '../../src/index.ts'
import { parseJSON } from '../../src/json.ts'
import { SDKTransport } from '../../src/llm/ai-sdk-fetch.ts'
import type { GatewayError } from '../../src/server/errors.ts'
import type { CallOptions, ChatRequest } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { anthropic, startAnthropic, SIGNATURE as THOUGHT } from '../upstream/anthropic.ts'
import { play, refuse } from '../upstream/dialect.ts'
import { google, SIGNATURE, startGoogle } from '../upstream/google.ts'
import { type Behaviour, startUpstream } from '../upstream.ts'

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
    [claude, { max_tokens: 100_000 }, [/^max_completion_tokens is not supported by anthropic: 100000/]],
    [gemini, { reasoning_effort: 'heroic' }, ['reasoning_effort is not supported by google and was ignored']],
    [
      gemini,
      { messages: [...hello.messages, { role: 'system', content: 'Be kind.' }, ...hello.messages] },
      ['a system message in the middle of the conversation was moved to its beginning'],
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
    ...{ parallel_tool_calls: true, service_tier: 'auto', stop: null, tools: [], user: 'alice', store: true },
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
    [user({ type: 'image_url' }), null],
    [user({ type: 'image_url', image_url: 'https://example.com/cat.png' }), 'messages[0].content[0].image_url.url'],
    [user({ type: 'image_url', image_url: { url: 'data:text/plain,%zz' } }), null],
    [[...hello.messages, { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: {} }] }], null],
  ] as const) {
    const request = { ...hello, messages } as unknown as ChatRequest
    t.match(await failure(claude.complete(request)), { status: 400, kind: 'invalid_request', param }, String(param))
  }
  for (const fields of [{ tools: [{ type: 'function' }] }, { response_format: { type: 'json_schema' } }]) {
    const request = { ...hello, ...fields } as unknown as ChatRequest
    t.match(await failure(claude.complete(request)), { status: 400, kind: 'invalid_request' }, JSON.stringify(fields))
  }
  const audio = user({ type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } })
  const unheard = await failure(claude.complete({ ...hello, messages: audio } as unknown as ChatRequest))
  t.match(unheard, { status: 400, kind: 'invalid_request', message: /audio/ }, 'or by the SDK, as this by Claude')
  t.strictSame([messagesAPI.requests.length, geminiAPI.requests.length], [0, 0])
})

t.test('a message of nothing is refused by the provider', async (t) => {
  for (const content of ['', [], null]) {
    const request = { ...hello, messages: [{ role: 'user', content }] } as unknown as ChatRequest
    for (const client of [claude, gemini])
      t.match(await failure(client.complete(request)), { kind: 'upstream_rejected' })
  }
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
  await claude.complete({ ...hello, messages: [{ role: 'user', content: content.slice(0, 1) }] })
  t.match(messagesAPI.last().body, {
    messages: [
      {
        content: [
          {
            type: 'document',
            title: 'a.pdf',
            source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' },
          },
        ],
      },
    ],
  })
})

t.test('a result that is but a file is a result: every Gemini wants one for each call', async (t) => {
  const call = { id: 'c', type: 'function' as const, function: { name: 'camera', arguments: '{}' } }
  const content = [{ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }]
  for (const model of ['gemini-2.5-flash', 'gemini-3-pro-preview']) {
    const client = createLLM({ model: `google/${model}`, apiKey: 'k', baseURL: geminiAPI.baseURL })
    t.teardown(() => client.close?.())
    await client.complete({
      ...hello,
      tools: [{ type: 'function', function: { name: 'camera' } }],
      messages: [
        ...hello.messages,
        { role: 'assistant', tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c', content },
      ],
    } as unknown as ChatRequest)
    const { images, results } = google.understood(geminiAPI.last())
    t.strictSame(images, ['image/png;base64,iVBORw0KGgo='])
    t.strictSame(results, [{ id: 'c', text: 'See the file.' }])
  }
})

t.test('the gateway fetches no address that a request names', async (t) => {
  const somewhere = await startUpstream()
  t.teardown(() => somewhere.close())
  const image = { type: 'image_url' as const, image_url: { url: `http://127.0.0.1:${somewhere.port}/cat.png` } }
  const call = { id: 'c', type: 'function' as const, function: { name: 'weather', arguments: '{}' } }
  const shown: ChatRequest = { ...hello, messages: [{ role: 'user', content: [image] }] }
  const returned = {
    ...hello,
    tools: [weather],
    messages: [
      ...hello.messages,
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c', content: [image] },
    ],
  } as unknown as ChatRequest
  await claude.complete(shown)
  await claude.complete(returned)
  t.strictSame(anthropic.understood(messagesAPI.last()).images, [image.image_url.url], 'the provider may')
  await gemini.complete(shown)
  t.match(await failure(gemini.complete(returned)), { kind: 'invalid_request', param: 'messages[2].content' })
  t.equal(somewhere.requests.length, 0)

  const transport = new SDKTransport()
  t.teardown(() => transport.close())
  const { fetch } = transport.open({}, false)
  t.match(await failure(fetch(image.image_url.url)), { kind: 'invalid_request' }, 'whatever a package of the SDK tries')
  t.equal(somewhere.requests.length, 0)
})

t.test('numbers that no double can hold go in as they are', async (t) => {
  const parameters = '{"type":"object","properties":{"id":{"type":"integer","maximum":9223372036854775807}}}'
  const request = parseJSON(`{"model":"asked",
    "tools":[{"type":"function","function":{"name":"weather","parameters":${parameters}}}],
    "messages":[
      {"role":"user","content":"Hello!"},
      {"role":"assistant","tool_calls":[
        {"id":"c","type":"function","function":{"name":"weather","arguments":"{\\"id\\":9007199254740993}"}}]},
      {"role":"tool","tool_call_id":"c","content":"sunny"}]}`) as ChatRequest
  for (const [client, api] of [
    [claude, messagesAPI],
    [gemini, geminiAPI],
  ] as const) {
    await client.complete(request)
    t.match(api.last().rawBody, '9223372036854775807')
    t.match(api.last().rawBody, '{"id":9007199254740993}')
  }
})

t.test('a tool without parameters takes an object', async (t) => {
  for (const parameters of [undefined, {}, { properties: {} }]) {
    const tool = { type: 'function' as const, function: { name: 'clock', ...(parameters && { parameters }) } }
    await claude.complete({ ...hello, tools: [tool] })
    t.match(messagesAPI.last().body, { tools: [{ input_schema: { type: 'object', properties: {} } }] })
  }
})

t.test("the ids of another provider's calls are made such that this one takes them", async (t) => {
  const ids = ['functions.weather:0', 'functions.weather:1', 'x'.repeat(100)]
  await claude.complete({
    ...hello,
    tools: [weather],
    messages: [
      ...hello.messages,
      {
        role: 'assistant',
        tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'weather', arguments: '{}' } })),
      },
      ...ids.map((id) => ({ role: 'tool' as const, tool_call_id: id, content: `of ${id}` })),
    ],
  })
  const { calls, results } = anthropic.understood(messagesAPI.last())
  t.strictSame(
    results.map(({ id, text }) => [id, text]),
    calls.map(({ id }, index) => [id, `of ${ids[index]}`]),
  )
  t.equal(new Set(calls.map(({ id }) => id)).size, ids.length)
})

t.test('calls that Gemini gives no ids have some all the same, and each its own', async (t) => {
  const answer: Behaviour = (request, exchange) => {
    const part = { functionCall: { name: 'weather', args: { city: 'Paris' } } }
    const body = { candidates: [{ content: { parts: [part, part] }, finishReason: 'STOP' }] }
    if (!google.isStream(request)) return exchange.json(200, body)
    exchange.startStream()
    exchange.raw.end(`data: ${JSON.stringify(body)}\r\n\r\n`)
  }
  geminiAPI.next(answer, answer)
  const request = { ...hello, tools: [weather] }
  const whole = (await gemini.complete(request)).choices[0]?.message.tool_calls ?? []
  t.equal(new Set(whole.flatMap(({ id }) => id || [])).size, 2)
  const streamed: string[] = []
  for await (const { choices } of gemini.stream(request)) {
    for (const { index, id } of choices[0]?.delta.tool_calls ?? []) if (id) streamed[index] = id
  }
  t.equal(new Set(streamed.filter(Boolean)).size, 2)
})

t.test('a stream has one id and one time, whenever the provider tells its own', async (t) => {
  geminiAPI.next(async (request, exchange) => {
    exchange.startStream()
    for (const [index, event] of google.events(request, { text: ['a', 'b'] }).entries()) {
      await exchange.write(index === 0 ? event.replace('responseId', 'unheard') : event)
    }
    exchange.raw.end()
  })
  const heads = new Set<string>()
  for await (const { id, created, model } of gemini.stream(hello)) heads.add(`${id} ${created} ${model}`)
  t.equal(heads.size, 1)
})

t.test('a Claude that knows no JSON schemas answers by a tool, which nobody sees', async (t) => {
  const old = createLLM({ model: 'anthropic/claude-3-5-haiku-latest', apiKey: 'k', baseURL: messagesAPI.baseURL })
  t.teardown(() => old.close?.())
  const schema = { type: 'object', properties: { city: { type: 'string' } } }
  const request: ChatRequest = {
    ...hello,
    max_tokens: 100,
    response_format: { type: 'json_schema', json_schema: { name: 'place', schema } },
  }
  const script = { calls: [{ id: 'toolu_1', name: 'json', arguments: { city: 'Paris' } }] }
  messagesAPI.next(play(anthropic, script), play(anthropic, script))
  t.match((await old.complete(request)).choices[0], {
    finish_reason: 'stop',
    message: { content: '{"city":"Paris"}', tool_calls: undefined },
  })
  t.match(messagesAPI.last().body, { tools: [{ name: 'json', input_schema: schema }], tool_choice: { type: 'any' } })
  let text = ''
  let finish: string | null | undefined
  for await (const { choices } of old.stream(request)) {
    text += choices[0]?.delta.content ?? ''
    finish = choices[0]?.finish_reason
    t.equal(choices[0]?.delta.tool_calls, undefined)
  }
  t.strictSame([JSON.parse(text), finish], [{ city: 'Paris' }, 'stop'])
})

t.test("every reason to stop has one of OpenAI's", async (t) => {
  for (const [client, api, key, reasons] of [
    [
      claude,
      messagesAPI,
      'stop_reason',
      {
        end_turn: 'stop',
        stop_sequence: 'stop',
        pause_turn: 'stop',
        max_tokens: 'length',
        model_context_window_exceeded: 'length',
        refusal: 'content_filter',
        tool_use: 'tool_calls',
        of_tomorrow: 'stop',
      },
    ],
    [
      gemini,
      geminiAPI,
      'finishReason',
      {
        STOP: 'stop',
        MAX_TOKENS: 'length',
        SAFETY: 'content_filter',
        RECITATION: 'content_filter',
        PROHIBITED_CONTENT: 'content_filter',
        OF_TOMORROW: 'stop',
      },
    ],
  ] as const) {
    for (const [reason, expected] of Object.entries(reasons)) {
      api.next((request, exchange) => {
        const dialect = api === messagesAPI ? anthropic : google
        const text = JSON.stringify(dialect.body(request, { text: ['a'] }))
        return exchange.json(200, JSON.parse(text.replace(new RegExp(`"${key}":"\\w+"`), `"${key}":"${reason}"`)))
      })
      t.equal((await client.complete(hello)).choices[0]?.finish_reason, expected, reason)
    }
  }
})

t.test('a prompt that Gemini will not answer is filtered content', async (t) => {
  const blocked = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' }, usageMetadata: { promptTokenCount: 4 } }
  geminiAPI.next(
    (_request, exchange) => exchange.json(200, blocked),
    (_request, exchange) => {
      exchange.startStream()
      exchange.raw.end(`data: ${JSON.stringify(blocked)}\r\n\r\n`)
    },
  )
  t.match(await gemini.complete(hello), {
    choices: [{ finish_reason: 'content_filter', message: { content: '' } }],
    usage: { prompt_tokens: 4, completion_tokens: 0 },
  })
  let finish: string | null | undefined
  for await (const { choices } of gemini.stream(hello)) finish = choices[0]?.finish_reason
  t.equal(finish, 'content_filter')
})

t.test('tokens that were written to a cache are of the prompt', async (t) => {
  messagesAPI.next((request, exchange) => {
    const body = anthropic.body(request, { text: ['a'], usage: { prompt: 10, cached: 4, completion: 3, reasoning: 0 } })
    return exchange.json(200, { ...body, usage: { ...(body.usage as object), cache_creation_input_tokens: 20 } })
  })
  t.match((await claude.complete(hello)).usage, {
    prompt_tokens: 30,
    completion_tokens: 3,
    total_tokens: 33,
    prompt_tokens_details: { cached_tokens: 4, cache_write_tokens: 20 },
  })
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

t.test("an account of Anthropic's without credit is no fault of the client, though it says 400", async (t) => {
  for (const message of [
    'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to purchase credits.',
    'You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:00 UTC.',
  ]) {
    messagesAPI.next(refuse(anthropic, 400, message))
    const error = await failure(claude.complete(hello))
    t.match(error, { status: 429, code: 'insufficient_quota', headers: { 'x-should-retry': 'false' } })
    t.notMatch(JSON.stringify(error.toBody()), message)
  }
})

t.test('Claude that is overloaded says so in the first event of a 200', async (t) => {
  messagesAPI.next(async (_request, exchange) => {
    exchange.startStream()
    const error = { type: 'overloaded_error', message: 'Overloaded' }
    await exchange.write(`event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`)
  })
  const reading = async (): Promise<void> => {
    for await (const chunk of claude.stream(hello)) t.fail(JSON.stringify(chunk))
  }
  t.match(await failure(reading()), { status: 503, code: 'upstream_overloaded' })
  t.match(await messagesAPI.last().closed, { aborted: true }, 'and need not hang up')
})

t.test('a provider that leaves its stream open after the end holds nobody up', async (t) => {
  messagesAPI.next(async (request, exchange) => {
    exchange.startStream()
    for (const event of anthropic.events(request, { text: ['a'] })) await exchange.write(event)
  })
  let last: string | null | undefined
  let isClosed = false
  for await (const { choices } of claude.stream(hello)) {
    void messagesAPI.last().closed.then(() => {
      isClosed = true
    })
    last = choices[0]?.finish_reason
  }
  t.equal(last, 'stop')
  t.equal(isClosed, false, 'it has not been waited for')
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
