import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  BearerKeyAuth,
  type ConversationHistory,
  createAgent,
  createDemo,
  createLLM,
  defineGuardrail,
  defineTool,
  GatewayError,
  HookBus,
  type HookEvents,
  type LLMClient,
  OaiServer,
  type OaiServerOptions,
} from '../../src/index.ts'
import { eventually, glance, inConversation, messagesOf } from '../core.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, eventsIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const { baseURL } = upstream
const lab = createLLM({ model: 'lab/small', baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const hello = { model: 'm', input: 'hello there' }
const sent = (): string[] => glance(messagesOf(upstream.last()))

function recording(server: OaiServer) {
  const completions: HookEvents['onCompletion'][] = []
  const responses: HookEvents['onResponse'][] = []
  const warnings: HookEvents['onWarning'][] = []
  server.hooks.on('onCompletion', (payload) => completions.push(payload))
  server.hooks.on('onResponse', (payload) => responses.push(payload))
  server.hooks.on('onWarning', (payload) => warnings.push(payload))
  return { completions, responses, warnings }
}

t.test('a whole response', async (t) => {
  const server = serving()
  const { completions, responses } = recording(server)
  const answer = await ask(server, 'POST', '', { ...hello, instructions: 'Be brief.', metadata: { a: 'b' } })
  t.equal(answer.headers.get('content-type'), 'application/json')
  t.match(answer.headers.get('x-request-id'), /^req_/)
  const response = await responseIn(answer)
  t.match(response, { object: 'response', status: 'completed', model: 'small', metadata: { a: 'b' }, store: true })
  t.match(response.id, /^resp_/)
  t.equal(textOf(response), 'You said: hello there')
  t.ok(Number(response.usage?.total_tokens) > 0)
  t.strictSame(sent(), ['system Be brief.', 'user hello there'])
  t.match(upstream.last().body, { model: 'small', stream: undefined })
  t.match(completions, [{ model: 'm', stream: false, usage: { completion_tokens: Number } }])
  t.match(responses, [{ route: '/v1/responses', status: 200, outcome: 'ok', model: 'm' }])
})

t.test('a streamed one', async (t) => {
  const server = serving()
  const { completions, responses } = recording(server)
  const answer = await ask(server, 'POST', '', { ...hello, stream: true })
  t.match(answer.headers.get('content-type'), /^text\/event-stream/)
  const text = await answer.clone().text()
  t.notMatch(text, /\[DONE\]/)
  const events = await streamIn(answer)
  t.match(events[0], { type: 'response.created', sequence_number: 0, response: { status: 'in_progress' } })
  const deltas = events.flatMap((event) => (event.type === 'response.output_text.delta' ? event.delta : []))
  t.ok(deltas.length > 1)
  t.equal(deltas.join(''), 'You said: hello there')
  t.match(lastOf(events), { status: 'completed' })
  t.match(upstream.last().body, { stream: true, stream_options: { include_usage: true } })
  t.match(completions, [{ stream: true, firstTokenMs: Number, usage: { completion_tokens: Number } }])
  t.match(responses, [{ stream: true, status: 200, outcome: 'ok' }])
})

t.test('a client that cannot stream', async (t) => {
  const whole: LLMClient = {
    provider: 'lab',
    model: 'small',
    complete: (request, call) => lab.complete(request, call),
    stream() {
      throw new GatewayError('unsupported', 'no streams')
    },
  }
  const server = serving({ entries: [{ model: 'm', client: whole }], streamChunkChars: 5 })
  const events = await streamIn(ask(server, 'POST', '', { ...hello, stream: true }))
  t.ok(events.filter(({ type }) => type === 'response.output_text.delta').length >= 4)
})

t.test('tools: the calls come back, and their outputs go on from there', async (t) => {
  const server = serving()
  const tools = [{ type: 'function', name: 'weather', parameters: { type: 'object', properties: {} }, strict: false }]
  for (const stream of [false, true]) {
    upstream.next(up.completion({ toolCalls: [{ id: 'c1', name: 'weather', arguments: '{"city":"Rome"}' }] }))
    const answer = ask(server, 'POST', '', { ...hello, tools, stream })
    const response = stream ? lastOf(await streamIn(answer)) : await responseIn(answer)
    t.match(response.output, [{ type: 'function_call', call_id: 'c1', name: 'weather', arguments: '{"city":"Rome"}' }])
    const output = { type: 'function_call_output', call_id: 'c1', output: 'sunny' }
    await responseIn(ask(server, 'POST', '', { model: 'm', tools, previous_response_id: response.id, input: [output] }))
    t.strictSame(sent(), ['user hello there', 'calls c1', 'c1: sunny'])
  }
})

t.test('what is wrong with a request is a 400 that names the field, before anybody is asked', async (t) => {
  const server = serving()
  for (const [param, body] of [
    ['model', { input: 'x' }],
    ['input', { model: 'm' }],
    ['stream', { ...hello, stream: 'yes' }],
    ['tools[0].type', { ...hello, tools: [{ type: 'web_search' }] }],
    ['conversation.id', { ...hello, conversation: {} }],
    ['truncation', { ...hello, truncation: 'sometimes' }],
    ['previous_response_id', { ...hello, previous_response_id: 'resp_1', conversation: 'conv_1' }],
    ['background', { ...hello, background: true, store: false }],
    ['metadata', { ...hello, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [n, ''])) }],
    ['metadata', { ...hello, metadata: { ['k'.repeat(65)]: 'v' } }],
    ['metadata.k', { ...hello, metadata: { k: 'v'.repeat(513) } }],
    ['metadata.k', { ...hello, metadata: { k: 7 } }],
    ['input[0]', { model: 'm', input: [{ type: 'function_call_output', call_id: 'c9', output: '' }] }],
    ['input[0]', { model: 'm', input: [{ type: 'item_reference', id: 'msg_unknown_o0' }] }],
  ] as const) {
    for (const stream of [false, true]) {
      const asked = 'stream' in body ? body : { ...body, stream }
      t.match(
        await errorIn(ask(server, 'POST', '', asked)),
        { status: 400, param, type: 'invalid_request_error' },
        param,
      )
    }
  }
  t.equal(upstream.requests.length, 0)
  const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`${n}`.padEnd(64, 'k'), 'v'.repeat(512)]))
  t.match(
    await responseIn(ask(server, 'POST', '', { ...hello, metadata })),
    { metadata },
    'the limits themselves are within',
  )
})

t.test('models, keys and wrong methods are as everywhere', async (t) => {
  const server = serving({
    auth: new BearerKeyAuth({ keys: [{ key: 'sk-of-alice-01', user: 'alice', models: ['x'] }] }),
  })
  const as = { headers: { authorization: 'Bearer sk-of-alice-01' } }
  t.match(await errorIn(ask(server, 'POST', '', hello)), { status: 401, code: 'invalid_api_key' })
  t.match(await errorIn(ask(server, 'POST', '', hello, as)), { status: 403, code: 'model_not_allowed' })
  t.match(await errorIn(ask(serving(), 'POST', '', { ...hello, model: 'nope' })), {
    status: 404,
    code: 'model_not_found',
  })
  for (const [method, path, allow] of [
    ['GET', '', 'POST'],
    ['POST', '/resp_1', 'GET, HEAD, DELETE'],
    ['GET', '/resp_1/cancel', 'POST'],
    ['DELETE', '/resp_1/input_items', 'GET, HEAD'],
  ] as const) {
    const refused = await errorIn(ask(serving(), method, path))
    t.equal(refused.status, 405, `${method} ${path}`)
    t.equal(refused.headers.get('allow'), allow)
  }
})

t.test('failures of the upstream before its first token keep their status', async (t) => {
  const server = serving()
  for (const [behaviour, status, code] of [
    [up.failWith(500), 502, 'upstream_error'],
    [up.failWith(401), 502, 'upstream_auth_error'],
    [up.failWith(429, undefined, { 'retry-after': '7' }), 429, 'rate_limit_exceeded'],
    [up.dropBeforeResponse(), 502, 'upstream_connection_lost'],
    [up.notJson(503), 503, 'upstream_overloaded'],
  ] as const) {
    for (const stream of [false, true]) {
      upstream.next(behaviour)
      const refused = await errorIn(ask(server, 'POST', '', { ...hello, stream }))
      t.match(refused, { status, code }, code)
      t.notMatch(refused.message, up.UPSTREAM_SECRET)
    }
  }
})

t.test('a stream that breaks off tells so: an error, then the failed response', async (t) => {
  const server = serving()
  const { responses } = recording(server)
  for (const [behaviour, code] of [
    [up.dropAfter(3), 'upstream_connection_lost'],
    [up.endWithoutDone(3), 'upstream_truncated'],
    [up.malformedAfter(3), 'upstream_malformed'],
    [up.errorEventAfter(3), 'upstream_error'],
  ] as const) {
    upstream.next(behaviour)
    const events = await streamIn(ask(server, 'POST', '', { ...hello, stream: true }))
    const error = events.at(-2)
    t.match(error, { type: 'error', code, message: String, param: null })
    t.notMatch(JSON.stringify(events), up.UPSTREAM_SECRET)
    t.match(lastOf(events), { status: 'failed', error: { code: 'server_error' }, output: [{ status: 'incomplete' }] })
    const stored = await responseIn(ask(server, 'GET', `/${lastOf(events).id}`))
    t.strictSame(stored, lastOf(events), 'and is stored as such')
    t.match(
      responses.findLast(({ route }) => route === '/v1/responses'),
      { outcome: 'stream_error', errorCode: code },
    )
  }
})

t.test('an answer that was cut short is incomplete', async (t) => {
  const server = serving()
  upstream.behave(up.completion({ text: 'and so', finishReason: 'length' }))
  const expected = { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }
  t.match(await responseIn(ask(server, 'POST', '', { ...hello, max_output_tokens: 2 })), expected)
  t.match(lastOf(await streamIn(ask(server, 'POST', '', { ...hello, stream: true }))), expected)
  t.match(upstream.requests[0]?.body, { max_completion_tokens: 2 })
})

t.test('the upstream’s own refusal passes, and its timeouts are told', async (t) => {
  const error = { message: 'too hot', type: 'invalid_request_error', param: 'temperature', code: 'too_hot' }
  const hasty = createLLM({
    model: 'lab/small',
    baseURL,
    apiKey: 'sk-gateway',
    timeouts: { total: 60 },
  })
  t.teardown(() => hasty.close?.())
  const server = serving({ entries: [{ model: 'm', client: hasty }] })
  for (const stream of [false, true]) {
    upstream.next(up.failWith(422, { error }), up.hang())
    t.match(await errorIn(ask(server, 'POST', '', { ...hello, stream })), { status: 422, ...error })
    const late = await errorIn(ask(server, 'POST', '', { ...hello, stream }))
    t.match(late, { status: 504, code: 'upstream_timeout' })
  }
})

t.test('a body that is too large, or none', async (t) => {
  const server = serving({ limits: { bodyLimit: 1000 } })
  t.match(await errorIn(ask(server, 'POST', '', { ...hello, input: 'x'.repeat(1000) })), { status: 413 })
  t.match(await errorIn(ask(server, 'POST', '')), { status: 400 })
})

t.test('a conversation that is named by its header: kept as everywhere, one turn at a time', async (t) => {
  const kept = new Map<string, ConversationHistory>()
  const server = serving({
    lockTimeoutMs: 20,
    conversationLoader: {
      load: ({ conversationId }) => kept.get(conversationId) ?? null,
      save: ({ conversationId }, history) => kept.set(conversationId, history),
    },
  })
  const answer = await ask(server, 'POST', '', hello, inConversation('c1'))
  t.equal(answer.headers.get('x-conversation-id'), 'c1')
  await responseIn(answer)
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  const turn = ask(server, 'POST', '', { ...hello, input: 'two', stream: true }, inConversation('c1'))
  await upstream.request(1)
  t.strictSame(sent(), ['user hello there', 'assistant You said: hello there', 'user two'])
  const refused = await errorIn(ask(server, 'POST', '', hello, inConversation('c1')))
  t.match(refused, { status: 409, code: 'conversation_locked' })
  t.equal(refused.headers.get('retry-after'), '1')
  gate.release(10)
  await streamIn(turn)
})

t.test('a whole answer that does not say why it ended is none', async (t) => {
  upstream.next((request, exchange) => {
    const body = up.completionBody(request) as { choices: up.Json[] }
    return exchange.json(200, { ...body, choices: body.choices.map((choice) => ({ ...choice, finish_reason: null })) })
  })
  t.match(await errorIn(ask(serving(), 'POST', '', hello)), { status: 502, code: 'upstream_truncated' })
})

t.test('a silent stream is kept alive, and its failure is told in it', async (t) => {
  const server = serving({ keepAliveMs: 30 })
  upstream.next(up.stallFirstByte(120))
  const slow = await (await ask(server, 'POST', '', { ...hello, stream: true })).text()
  t.match(slow, /^: keep-alive\n\n/)
  t.match(lastOf(eventsIn(slow)), { status: 'completed' })
  upstream.next(async (_request, exchange) => {
    exchange.startStream()
    await exchange.sleep(60)
    exchange.drop()
  })
  const events = await streamIn(ask(server, 'POST', '', { ...hello, stream: true }))
  t.match(events.at(-2), { type: 'error', code: 'upstream_connection_lost' })
})

t.test('a client that leaves ends the call of the upstream; what arrived is counted and stored', async (t) => {
  const server = serving()
  const { completions, responses } = recording(server)
  const gate = up.gated(['one', ' two', ' three'])
  upstream.next(gate.behaviour)
  const controller = new AbortController()
  gate.release(3)
  const answer = await ask(server, 'POST', '', { ...hello, stream: true }, { signal: controller.signal })
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (!text.includes('two')) text += Buffer.from((await reader.read()).value ?? []).toString()
  await reader.cancel()
  t.match(await upstream.last().closed, { aborted: true })
  t.match(completions, [{ usage: { estimated: true, completion_tokens: 3 } }])
  t.match(responses, [{ outcome: 'client_closed' }])
  const id = (JSON.parse(/data: (.*)/.exec(text)?.[1] ?? '') as { response: { id: string } }).response.id
  const stored = await responseIn(ask(server, 'GET', `/${id}`))
  t.match(stored, { status: 'cancelled' })
  t.equal(textOf(stored), 'one two')
  t.equal(server.openRequests, 0)
})

t.test('one that leaves before the first token is nobody’s any more', async (t) => {
  const server = serving()
  const { responses } = recording(server)
  for (const stream of [false, true]) {
    upstream.next(up.hang())
    const controller = new AbortController()
    const answer = ask(server, 'POST', '', { ...hello, stream }, { signal: controller.signal })
    await upstream.request(upstream.requests.length)
    controller.abort()
    t.equal((await answer).status, 499)
    t.match(await upstream.last().closed, { aborted: true })
  }
  t.match(responses, [{ outcome: 'client_closed' }, { outcome: 'client_closed' }])
})

t.test('a shutdown is told', async (t) => {
  const server = serving()
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const answer = await ask(server, 'POST', '', { ...hello, stream: true })
  const reading = streamIn(answer)
  await eventually(() => gate.sent === 2)
  await sleep(10)
  server.abortOpenRequests()
  const events = await reading
  t.match(events.at(-2), { type: 'error', code: 'shutting_down' })
  t.match(lastOf(events), { status: 'failed' })
})

t.test('warnings: in a header, or in a comment at the end', async (t) => {
  const server = serving()
  const { warnings } = recording(server)
  const asked = { ...hello, max_tool_calls: 3 }
  const answer = await ask(server, 'POST', '', asked)
  t.match(answer.headers.get('x-signalbox-warning'), /max_tool_calls is ignored/)
  await responseIn(answer)
  const streamed = await ask(server, 'POST', '', { ...asked, stream: true })
  t.match(streamed.headers.get('x-signalbox-warning'), /max_tool_calls is ignored/)
  await streamIn(streamed)
  t.match(warnings, [{ model: 'm', warning: /max_tool_calls/ }, { warning: /max_tool_calls/ }])
})

t.test('include: logprobs', async (t) => {
  const server = serving()
  const response = await responseIn(
    ask(server, 'POST', '', { ...hello, include: ['message.output_text.logprobs'], top_logprobs: 2 }),
  )
  t.match(upstream.last().body, { logprobs: true, top_logprobs: 2 })
  t.match(response.output, [{ content: [{ logprobs: [{ token: 'You', logprob: Number }] }] }])
})

t.test('reasoning', async (t) => {
  const server = serving()
  upstream.behave(up.completion({ text: 'Rome.', reasoning: 'let me think' }))
  const { output } = await responseIn(ask(server, 'POST', '', { ...hello, reasoning: { effort: 'low' } }))
  t.match(output, [{ type: 'reasoning' }, { type: 'message' }])
  t.match(upstream.last().body, { reasoning_effort: 'low' })
  const events = await streamIn(ask(server, 'POST', '', { ...hello, stream: true }))
  t.ok(events.some(({ type }) => type === 'response.reasoning_text.delta'))
})

t.test('agents: their tools run unseen, their guardrails stop, their steps are counted', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const discretion = defineGuardrail({
    name: 'discretion',
    output: (text) => (text.includes('secret') ? { reason: 'That is a secret.' } : null),
  })
  const agent = createAgent({ client: lab, system: 'Be brief.', tools: [clock], guardrails: [discretion] })
  const hooks = new HookBus()
  const prices = { cost: (_provider: string, _model: string, { total_tokens: n }: { total_tokens: number }) => n }
  const server = serving({ hooks, prices, entries: [{ model: 'agent', client: agent }] })
  const { completions } = recording(server)
  const usage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 }
  const call = up.completion({ toolCalls: [{ id: 'c1', name: 'clock', arguments: '{}' }], usage })
  for (const stream of [false, true]) {
    upstream.next(call, up.completion({ text: 'Noon.', usage }))
    const answer = await ask(server, 'POST', '', { model: 'agent', input: 'time?', stream })
    t.equal(answer.headers.get('x-conversation-id'), null, 'the response is the conversation')
    const response = stream ? lastOf(await streamIn(answer)) : await responseIn(answer)
    t.match(response, { output: [{ type: 'message' }], usage: { total_tokens: 24 } })
    t.equal(textOf(response), 'Noon.')
    t.match(completions.at(-1), { costUsd: 24 })
    t.strictSame(sent(), ['system Be brief.', 'user time?', 'calls c1', 'c1: noon'])
  }
  upstream.next(up.completion({ text: 'The secret is 42.' }), up.completion({ text: 'The secret is 42.' }))
  const stopped = await responseIn(ask(server, 'POST', '', { model: 'agent', input: 'tell' }))
  t.match(stopped, { status: 'incomplete', incomplete_details: { reason: 'content_filter' } })
  t.notMatch(JSON.stringify(stopped), /The secret/)
  const streamed = await streamIn(ask(server, 'POST', '', { model: 'agent', input: 'tell', stream: true }))
  t.notMatch(JSON.stringify(streamed), /The secret/)
})

t.test('truncation', async (t) => {
  const entry = { model: 'm', client: lab, capabilities: { context_window: 100 } }
  const server = serving({ entries: [entry, { model: 'boundless', client: lab }] })
  const input = [1, 2, 3].flatMap((n) => [
    { role: 'user', content: `${n} ${'x'.repeat(100)}` },
    { role: 'assistant', content: `${n}` },
  ])
  input.push({ role: 'user', content: 'now' })
  const count = async (body: up.Json): Promise<number> => {
    await responseIn(ask(server, 'POST', '', { model: 'm', input, ...body }))
    return messagesOf(upstream.last()).length
  }
  t.equal(await count({}), 7, 'off unless asked for')
  t.equal(await count({ truncation: 'disabled' }), 7)
  t.equal(await count({ truncation: 'auto', model: 'boundless' }), 7, 'and nothing goes where the window is not known')
  const kept = await count({ truncation: 'auto' })
  t.ok(kept < 7 && kept >= 1, String(kept))
  t.equal(sent().at(-1), 'user now')
  t.ok((await count({ truncation: 'auto', max_output_tokens: 60 })) < kept, 'the answer has its place')
  t.equal(await count({ truncation: 'auto', max_output_tokens: 10_000 }), 1, 'the newest stays in any case')
  t.equal(await count({ truncation: 'auto', instructions: 'Be brief.' }), kept + 1, 'and so do instructions')
})

t.test('the demo model answers as well', async (t) => {
  const server = new OaiServer({ entries: [{ model: 'demo', client: createDemo({ pace: 0 }) }] })
  t.match(await responseIn(ask(server, 'POST', '', { model: 'demo', input: 'hi' })), { status: 'completed' })
  await streamIn(ask(server, 'POST', '', { model: 'demo', input: 'hi', stream: true }))
})
