import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import type { ChatCompletionCreateParamsNonStreaming } from 'openai/resources/chat/completions'
import t from 'tap'
import { boundedRuns } from '../bounded-runs.ts'
import { CLIENT_KEY, dataOf, GATEWAY_KEY, startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { type Behaviour, type CompletionOptions, completionBody, completionChunks, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const gateway = await startGateway(t, { upstream })
const client = gateway.client()

const weather = {
  name: 'weather',
  description: 'of a city',
  parameters: { type: 'object', properties: {} },
  strict: true,
}

/** Every field of the API, and some that nobody has heard of. */
const everything = {
  x_before: null,
  model: 'openai/vendor/gpt-test:free',
  messages: [
    { role: 'developer', content: 'Be brief.' },
    {
      role: 'user',
      name: 'ann',
      content: [
        { type: 'text', text: 'What is this? «é漢😀\u0000»' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=', detail: 'low' } },
        { type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } },
        { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } },
        { type: 'hologram', hologram: { layers: [[1], [2, [3]]] } },
      ],
    },
    {
      role: 'assistant',
      content: null,
      reasoning_content: 'hm',
      tool_calls: [
        { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city": "Lisbon" }' } },
        { id: 'call_2', type: 'custom', custom: { name: 'shell', input: 'ls -l' } },
      ],
    },
    { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: '21 °C' }] },
    { role: 'tool', tool_call_id: 'call_2', content: '' },
    { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }], audio: { id: 'audio_1' } },
    { role: 'oracle', content: 'a role of the future', cache_control: { type: 'ephemeral' } },
  ],
  metadata: { team: 'search', '': 'empty' },
  temperature: 0.1,
  top_p: 1e-7,
  n: 2,
  seed: 42,
  user: 'u-1',
  safety_identifier: 'hash',
  prompt_cache_key: 'k',
  prompt_cache_retention: '24h',
  service_tier: 'flex',
  modalities: ['text', 'audio'],
  audio: { voice: 'ash', format: 'wav' },
  verbosity: 'low',
  reasoning_effort: 'xhigh',
  max_completion_tokens: 100,
  max_tokens: null,
  frequency_penalty: -2,
  presence_penalty: 0,
  web_search_options: { search_context_size: 'low' },
  response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object' }, strict: true } },
  store: true,
  moderation: { model: 'omni-moderation-latest' },
  stop: ['\n', 'END'],
  logit_bias: { '50256': -100, '7': 1.5 },
  logprobs: true,
  top_logprobs: 3,
  prediction: { type: 'content', content: 'draft' },
  tools: [
    { type: 'function', function: weather },
    {
      type: 'custom',
      custom: { name: 'shell', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 's' } } },
    },
    { type: 'telepathy', range: Number.MAX_SAFE_INTEGER },
  ],
  tool_choice: {
    type: 'allowed_tools',
    allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'weather' } }] },
  },
  parallel_tool_calls: false,
  functions: [weather],
  function_call: 'none',
  provider: { order: ['somewhere'], nested: { deeply: [{ still: { here: [null, true, ''] } }] } },
  x_after: [],
}
const request = everything as unknown as ChatCompletionCreateParamsNonStreaming
const sent = { ...everything, model: 'vendor/gpt-test:free' }
const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello there' }] }

t.test('the whole request body reaches the upstream, in order; only the model is rewritten', async (t) => {
  await client.chat.completions.create(request)
  t.equal(upstream.last().path, '/v1/chat/completions')
  t.equal(upstream.last().rawBody, JSON.stringify(sent))
})

t.test('when streaming, only usage is asked for besides', async (t) => {
  const stream = await client.chat.completions.create({ ...request, stream: true })
  for await (const _ of stream);
  t.strictSame(upstream.last().body, { ...sent, stream: true, stream_options: { include_usage: true } })

  for (const stream_options of [null, {}, { include_usage: false, include_obfuscation: false, x_vendor: 1 }]) {
    await gateway.post('/v1/chat/completions', { ...ask, stream: true, stream_options }).then((answer) => answer.text())
    t.strictSame(upstream.last().body, {
      ...ask,
      model: 'm',
      stream: true,
      stream_options: { ...stream_options, include_usage: true },
    })
  }
})

t.test('a provider that refuses stream_options is not sent any', async (t) => {
  const mistral = await startGateway(t, {
    config: { providers: { mistral: { baseURL: upstream.baseURL, apiKey: GATEWAY_KEY } } },
  })
  const body = { ...ask, model: 'mistral/m', stream: true, stream_options: { include_usage: true } }
  await mistral.post('/v1/chat/completions', body).then((answer) => answer.text())
  t.strictSame(upstream.last().body, { ...ask, model: 'm', stream: true })
})

t.test('numbers that no double can hold pass as they were written, both ways', async (t) => {
  const numbers = '"seed":9223372036854775807,"big":-12345678901234567890123,"huge":1e400,"plain":[0.1,2]'
  const head = `"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]`
  upstream.behave((_request, { raw }) => {
    raw.writeHead(200, { 'content-type': 'application/json' }).end(`{${head},${numbers}}`)
  })
  const answer = await gateway.post('/v1/chat/completions', `{${JSON.stringify(ask).slice(1, -1)},${numbers}}`)
  t.equal(upstream.last().rawBody, `{${JSON.stringify({ ...ask, model: 'm' }).slice(1, -1)},${numbers}}`)
  t.equal(await answer.text(), `{${head},${numbers}}`)

  const choice = '"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}]'
  upstream.behave(async (_request, exchange) => {
    exchange.startStream()
    await exchange.write(`data: {${choice},${numbers}}\n\n`)
    await exchange.done()
  })
  const stream = await gateway.post('/v1/chat/completions', { ...ask, stream: true })
  t.same(dataOf(await stream.text()), [`{${choice},${numbers}}`, '[DONE]'])
})

t.test('nothing of the headers of the client reaches the upstream; the key of the gateway does', async (t) => {
  const talkative = gateway.client({
    organization: 'org-client',
    project: 'proj-client',
    defaultHeaders: {
      cookie: 'session=client',
      'x-request-id': 'req-client',
      'x-api-key': CLIENT_KEY,
      'proxy-authorization': 'Basic client',
      'openai-beta': 'client',
      'x-forwarded-for': '10.0.0.1',
      'user-agent': 'client',
    },
  })
  await talkative.chat.completions.create(ask)
  await talkative.chat.completions.create({ ...ask, stream: true }).then(async (stream) => {
    for await (const _ of stream);
  })
  await talkative.embeddings.create({ model: 'openai/e', input: 'text' })
  t.equal(upstream.requests.length, 3)
  for (const { headers } of upstream.requests) {
    t.same(Object.keys(headers).sort(), [
      'accept',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'x-request-id',
    ])
    t.equal(headers.authorization, `Bearer ${GATEWAY_KEY}`)
    t.equal(headers.host, new URL(upstream.baseURL).host)
    t.notMatch(JSON.stringify(headers), /client/)
  }
})

t.test('the headers of the configuration reach the upstream, with the request id of the gateway', async (t) => {
  const configured = await startGateway(t, { upstream, provider: { headers: { 'openai-organization': 'org-ours' } } })
  const { request_id } = await configured.client().chat.completions.create(ask).withResponse()
  t.match(upstream.last().headers, { 'openai-organization': 'org-ours', 'x-request-id': request_id })
})

t.test('none of the private headers of the upstream reach the client', async (t) => {
  const answers = [
    await gateway.post('/v1/chat/completions', ask),
    await gateway.post('/v1/chat/completions', { ...ask, stream: true }),
    await gateway.post('/v1/embeddings', { model: 'openai/e', input: 'text' }),
  ]
  const ids = new Set<string | null>()
  for (const answer of answers) {
    await answer.text()
    const { headers } = answer
    t.notMatch(JSON.stringify([...headers]), /upstream|cookie/i)
    for (const name of ['openai-organization', 'openai-version', 'x-ratelimit-limit-requests']) {
      t.notOk(headers.has(name), name)
    }
    t.match(headers.get('x-request-id'), /^req_/)
    t.match(headers.get('openai-processing-ms'), /^\d+$/)
    ids.add(headers.get('x-request-id'))
  }
  t.equal(ids.size, 3, 'every request has its own id')
})

/** Answers with the options, and keeps what it answered. */
function recorded(options: CompletionOptions): { behaviour: Behaviour; answers: object[] } {
  const answers: object[] = []
  const behaviour: Behaviour = async (request, exchange) => {
    answers.length = 0
    if (!JSON.parse(request.rawBody).stream) {
      const body = completionBody(request, options)
      answers.push(body)
      return exchange.json(200, body)
    }
    answers.push(...completionChunks(request, options))
    exchange.startStream()
    for (const chunk of answers) await exchange.event(chunk)
    return exchange.done()
  }
  return { behaviour, answers }
}

const answers: Record<string, CompletionOptions> = {
  'several choices with log probabilities': { n: 3, logprobs: true, text: 'so probable' },
  'parallel tool calls': {
    text: 'Let me see.',
    toolCalls: [
      { name: 'weather', arguments: '{"city":"Lisbon"}' },
      { name: 'time', arguments: '{"zone":"WET"}' },
    ],
  },
  'a refusal': { refusal: 'I will not say that.' },
  'reasoning, usage details and unknown fields': {
    reasoning: 'thinking hard',
    usage: { prompt_tokens_details: { cached_tokens: 3, cache_write_tokens: 2 }, cost: 0.25 },
    extra: { service_tier: 'scale', system_fingerprint: 'fp_1', provider: 'x', x_vendor: [{ a: null }] },
    finishReason: 'length',
  },
}

for (const [name, options] of Object.entries(answers)) {
  t.test(`the whole answer comes back: ${name}`, async (t) => {
    const { behaviour, answers } = recorded(options)
    upstream.behave(behaviour)
    const whole = await gateway.post('/v1/chat/completions', ask).then((answer) => answer.text())
    t.equal(whole, JSON.stringify(answers[0]))
    assertSchema('CreateChatCompletionResponse', JSON.parse(whole))

    const body = { ...ask, stream: true, stream_options: { include_usage: true } }
    const stream = await gateway.post('/v1/chat/completions', body).then((answer) => answer.text())
    const chunks = dataOf(stream)
    t.strictSame(chunks, [...answers.map((chunk) => JSON.stringify(chunk)), '[DONE]'])
    for (const chunk of chunks.slice(0, -1)) assertSchema('CreateChatCompletionStreamResponse', JSON.parse(chunk))
  })
}

/** Any JSON object, without the fields that would make it mean something. */
const extras = (...known: string[]): fc.Arbitrary<Record<string, unknown>> =>
  fc.dictionary(
    fc
      .oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', 'constructor', 'toJSON', 'then', ''))
      .filter((key) => !known.includes(key)),
    fc.jsonValue({ stringUnit: 'binary' }),
  )

t.test('any field in a request and in an answer arrives as it was sent', async () => {
  const asked = extras('model', 'messages', 'stream', 'stream_options', 'n', 'stop', 'user', 'tools')
  const answered = extras('error', 'usage', 'choices')
  await fc.assert(
    fc.asyncProperty(asked, answered, answered, async (inRequest, inAnswer, inDelta) => {
      const question = {
        ...ask,
        ...inRequest,
        messages: [{ ...ask.messages[0], ...inRequest, role: 'user', content: '' }],
      }
      const answer = { ...inAnswer, choices: [{ index: 0, message: inDelta, finish_reason: 'stop', x: inAnswer }] }
      upstream.behave((_request, exchange) => exchange.json(200, answer))
      const whole = await gateway.post('/v1/chat/completions', question)
      deepStrictEqual(upstream.last().body, JSON.parse(JSON.stringify({ ...question, model: 'm' })))
      deepStrictEqual(await whole.json(), JSON.parse(JSON.stringify(answer)))

      const chunk = { ...inAnswer, choices: [{ index: 0, delta: inDelta, finish_reason: 'stop', x: inAnswer }] }
      upstream.behave(async (_request, exchange) => {
        exchange.startStream()
        await exchange.event(chunk)
        await exchange.done()
      })
      const stream = await gateway.post('/v1/chat/completions', { ...question, stream: true })
      const [first = '', done] = dataOf(await stream.text())
      deepStrictEqual(JSON.parse(first), JSON.parse(JSON.stringify(chunk)))
      deepStrictEqual(done, '[DONE]')
      upstream.reset()
    }),
    boundedRuns(150),
  )
})
