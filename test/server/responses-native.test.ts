import { equal } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  BearerKeyAuth,
  createAgent,
  createLLM,
  defineTool,
  type HookEvents,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  weighted,
} from '../../src/index.ts'
import type { ResponseEvent, ResponseObject } from '../../src/responses/response-types.ts'
import { pinned } from '../../src/router/pinned.ts'
import { eventually, glance, inConversation, messagesOf } from '../core.ts'
import { assertSchema, memberTypes } from '../openapi.ts'
import { audioEvents, everyItem } from '../upstream/hosted-items.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, eventsIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const { baseURL } = upstream
const native = createLLM({ model: 'lab/*', baseURL, apiKey: 'sk-gateway', responses: 'native' })
const chat = createLLM({ model: 'lab/small', baseURL, apiKey: 'sk-gateway' })
t.teardown(() => Promise.all([native.close?.(), chat.close?.()]))

const entries = [
  { model: 'n', client: pinned(native, 'gpt-4.1') },
  { model: 'thinker', client: pinned(native, 'gpt-5') },
  { model: 'c', client: chat },
]
const serving = (options: OaiServerOptions = {}): OaiServer => new OaiServer({ entries, ...options })
const hello = { model: 'n', input: 'hello there' }
const sent = (): up.Json => upstream.last().body as up.Json
const sentItems = (): up.Json[] => sent().input as up.Json[]
const create = (server: OaiServer, body: up.Json) => responseIn(ask(server, 'POST', '', { ...hello, ...body }))
const stream = (server: OaiServer, body: up.Json = {}) => ask(server, 'POST', '', { ...hello, ...body, stream: true })
const get = (server: OaiServer, { id }: { id: string }) => responseIn(ask(server, 'GET', `/${id}`))
const kinds = (items: readonly { type?: unknown }[]): unknown[] => items.map(({ type }) => type)

function recording(server: OaiServer) {
  const completions: HookEvents['onCompletion'][] = []
  const responses: HookEvents['onResponse'][] = []
  const warnings: HookEvents['onWarning'][] = []
  server.hooks.on('onCompletion', (payload) => completions.push(payload))
  server.hooks.on('onResponse', (payload) => responses.push(payload))
  server.hooks.on('onWarning', (payload) => warnings.push(payload))
  return { completions, responses, warnings }
}

/** The events of a stream that is not as regular as the gateway's own: numbered and described all the same. */
async function numberedIn(answer: Response | Promise<Response>): Promise<ResponseEvent[]> {
  const events = eventsIn(await (await answer).text())
  for (const [index, { sequence_number }] of events.entries()) equal(sequence_number, index)
  equal(events[0]?.type, 'response.created')
  return events
}

/** Polls as a client does, until the response is over. */
async function ended(server: OaiServer, response: { id: string }): Promise<ResponseObject> {
  for (;;) {
    const now = await get(server, response)
    if (now.status !== 'queued' && now.status !== 'in_progress') return now
    await sleep(5)
  }
}

t.test('a whole response: the provider’s own, but for what the gateway keeps', async (t) => {
  const server = serving()
  const { completions, responses } = recording(server)
  upstream.next(up.responses({ items: everyItem(), extra: { brand_new: { a: 1 } } }))
  const tools = [{ type: 'web_search', search_context_size: 'low', brand_new: true }, { type: 'image_generation' }]
  const include = ['web_search_call.action.sources']
  const asked = { tools, include, metadata: { a: 'b' }, prompt: { id: 'pmpt_1' }, unheard_of: { b: [2] } }
  const response = await create(server, asked)
  t.match(upstream.last(), { path: '/v1/responses', headers: { authorization: 'Bearer sk-gateway' } })
  t.strictSame(sent(), { ...hello, ...asked, model: 'gpt-4.1', store: false })
  t.match(response, {
    id: /^resp_[0-9a-f]{48}$/,
    status: 'completed',
    model: 'gpt-4.1-2026-01-01',
    store: true,
    metadata: { a: 'b' },
    brand_new: { a: 1 },
    billing: { payer: 'developer' },
    usage: { output_tokens: 7 },
  })
  t.strictSame(kinds(response.output), kinds(everyItem()))
  t.strictSame(response.output.slice(0, 1), everyItem().slice(0, 1), 'ids included')
  t.strictSame(await get(server, response), response, 'and it is stored')
  t.match(completions, [{ model: 'n', provider: 'lab', stream: false, usage: { completion_tokens: 7 } }])
  t.match(responses, [{ route: '/v1/responses', status: 200, outcome: 'ok' }, {}])
})

t.test('a streamed one: every event of the API comes through, as it is', async (t) => {
  const server = serving()
  const { completions } = recording(server)
  const given: up.Json[] = []
  const seen = new Set<string>()
  for (const ending of ['completed', 'incomplete', 'failed'] as const) {
    upstream.next(async (request, exchange) => {
      const [created, progress, ...rest] = up.responseEvents(request, { items: everyItem(), ending })
      const queued = { ...created, type: 'response.queued' }
      const added = [{ type: 'response.brand_new', output_index: 1, extra: { a: 1 } }]
      const audio = audioEvents('resp_upstream')
      given.splice(0, given.length, ...([created, queued, progress, ...audio, ...rest] as up.Json[]))
      if (ending === 'incomplete') given.splice(-1, 0, ...added)
      await up.sendEvents(exchange, given)
      exchange.raw.end()
    })
    const text = await (await stream(server)).text()
    const events = text.split('\n\n').flatMap((part) => (part ? [JSON.parse(part.split('\ndata: ')[1] ?? '')] : []))
    t.strictSame(kinds(events), kinds(given))
    const { id } = events[0].response
    for (const [index, event] of events.entries()) {
      t.equal(event.sequence_number, index)
      if (event.type !== 'response.brand_new') assertSchema('ResponseStreamEvent', event)
      seen.add(event.type)
      if (event.response) t.equal(event.response.id, id)
      else if (event.response_id) t.equal(event.response_id, id)
      else t.strictSame(event, { ...given[index], sequence_number: index })
    }
    t.match(events.at(-1).response, { status: ending, usage: { output_tokens: 7 } })
    t.strictSame(await get(server, { id }), events.at(-1).response, 'the last one is what is stored')
    for (const after of [0, 3, events.length - 2]) {
      const rest = await (await ask(server, 'GET', `/${id}?stream=true&starting_after=${after}`)).text()
      t.equal(rest, text.slice(text.indexOf(`event: ${events[after + 1].type}\ndata: {"type"`, offsetOf(text, after))))
    }
  }
  upstream.next(
    up.responsesUntil('response.in_progress', async (exchange) => {
      await exchange.write('event: error\ndata: {"type":"error","code":"server_error","message":"m","param":null}\n\n')
    }),
  )
  for (const { type } of await numberedIn(stream(server))) seen.add(type)
  t.strictSame([...seen].filter((type) => type !== 'response.brand_new').sort(), memberTypes('ResponseStreamEvent'))
  t.match(completions[0], { stream: true, firstTokenMs: Number, usage: { completion_tokens: 7 } })
})

/** Where the event after the nth begins. */
function offsetOf(text: string, n: number): number {
  let at = 0
  for (let i = 0; i <= n; i++) at = text.indexOf('\n\n', at) + 2
  return at
}

t.test('usage is in the hooks as a chat completion’s is, and priced', async (t) => {
  const hooks: HookEvents['onCompletion'][] = []
  const prices = {
    cost: (_provider: string, model: string, { total_tokens: n }: { total_tokens: number }) =>
      model === 'gpt-4.1' ? n : undefined,
  }
  const server = serving({ prices })
  server.hooks.on('onCompletion', (payload) => hooks.push(payload))
  const usage = {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 4, cache_write_tokens: 0 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 3 },
    total_tokens: 15,
  }
  upstream.behave(up.responses({ extra: { usage } }))
  await create(server, {})
  await streamIn(stream(server))
  await ended(server, await create(server, { background: true }))
  await eventually(() => hooks.length === 3)
  for (const each of hooks) {
    t.match(each, {
      costUsd: 15,
      usage: {
        prompt_tokens: 10,
        completion_tokens: 5,
        total_tokens: 15,
        prompt_tokens_details: { cached_tokens: 4 },
        completion_tokens_details: { reasoning_tokens: 3 },
      },
    })
  }
})

t.test('a thread: the provider, which stores nothing, sees all of it', async (t) => {
  const server = serving()
  upstream.next(up.responses({ items: everyItem() }))
  const first = await create(server, { instructions: 'Be brief.' })
  const results = [
    { type: 'function_call_output', call_id: 'call_1', output: 'sunny' },
    { type: 'custom_tool_call_output', call_id: 'call_2', output: '1' },
  ]
  const second = await create(server, { previous_response_id: first.id, input: results })
  t.equal(textOf(second), 'You said: hello there')
  t.match(second, { previous_response_id: first.id })
  t.notOk('previous_response_id' in sent())
  t.notOk('instructions' in sent())
  t.strictSame(kinds(sentItems()), ['message', ...kinds(everyItem()), ...kinds(results)])
  t.strictSame(sentItems().slice(-2), results, 'the request’s own items are as they were')
  const ids = Object.fromEntries(sentItems().map(({ type, id }) => [type, id]))
  t.match(ids, { reasoning: undefined, message: undefined, function_call: undefined, web_search_call: undefined })
  t.match(ids, { code_interpreter_call: 'ci_1', mcp_call: 'mcp_2', file_search_call: 'fs_1' })
  const third = await create(server, { previous_response_id: second.id, input: 'more' })
  t.equal(sentItems().length, everyItem().length + 5)
  t.equal(textOf(third), 'You said: more')
  const listed = (await (await ask(server, 'GET', `/${second.id}/input_items`)).json()) as { data: unknown[] }
  t.equal(listed.data.length, 2)
})

t.test('thoughts go back if the provider has sealed them, and are left out if not', async (t) => {
  const server = serving()
  for (const include of [[], ['reasoning.encrypted_content']]) {
    const first = await create(server, { model: 'thinker', include })
    t.equal(first.output[0]?.type, 'reasoning')
    await create(server, { model: 'thinker', previous_response_id: first.id, input: 'more' })
    t.strictSame(kinds(sentItems()), ['message', ...(include.length ? ['reasoning'] : []), 'message', 'message'])
    t.notOk('include' in sent(), 'nothing is asked for that the client did not ask for')
    const input = [...first.output, { role: 'user', content: 'more' }]
    await create(server, { model: 'thinker', input: input as unknown as up.Json[] })
  }
})

t.test('a thread goes from a chat model to a native one, and back', async (t) => {
  const server = serving()
  const { warnings } = recording(server)
  upstream.next(up.completion({ reasoning: 'hm', toolCalls: [{ id: 'c1', name: 'f', arguments: '{}' }] }))
  const tools = [{ type: 'function', name: 'f', parameters: { type: 'object' }, strict: false }]
  const first = await create(server, { model: 'c', tools })
  t.strictSame(kinds(first.output), ['reasoning', 'function_call'])
  const output = { type: 'function_call_output', call_id: 'c1', output: 'done' }
  upstream.next(
    up.responses({
      items: everyItem().filter(({ type }) => !String(type).includes('tool_call') && type !== 'function_call'),
    }),
  )
  const second = await create(server, { previous_response_id: first.id, input: [output], tools })
  t.strictSame(kinds(sentItems()), ['message', 'function_call', 'function_call_output'])
  t.notMatch(JSON.stringify(sent()), /signalbox|"id"/)
  const answer = await ask(server, 'POST', '', { model: 'c', previous_response_id: second.id, input: 'and now?' })
  t.match(answer.headers.get('x-signalbox-warning'), /cannot see earlier items of the type web_search_call, /)
  await responseIn(answer)
  t.strictSame(glance(messagesOf(upstream.last())), [
    'user hello there',
    'calls c1',
    'c1: done',
    'assistant It is sunny in Rome.',
    'user and now?',
  ])
  t.equal(warnings.length, 1)
})

t.test('in the background: polled, followed, cancelled', async (t) => {
  const server = serving()
  const gate = Promise.withResolvers<void>()
  upstream.next(
    up.responsesUntil(
      'response.web_search_call.searching',
      async (exchange, rest) => {
        await Promise.race([gate.promise, exchange.aborted])
        await up.sendEvents(exchange, rest)
        exchange.raw.end()
      },
      { items: everyItem() },
    ),
  )
  const queued = await create(server, { background: true })
  t.match(queued, { status: 'queued', background: true, output: [] })
  await upstream.request(0)
  t.match(sent(), { stream: true, store: false, background: undefined })
  t.match(await get(server, queued), { status: 'in_progress', background: true })
  gate.resolve()
  const done = await ended(server, queued)
  t.match(done, { status: 'completed', background: true, store: true })
  t.strictSame(kinds(done.output), kinds(everyItem()))
  const events = await streamIn(ask(server, 'GET', `/${queued.id}?stream=true`))
  t.strictSame(kinds(events).slice(0, 4), [
    'response.created',
    'response.queued',
    'response.in_progress',
    'response.output_item.added',
  ])

  upstream.next(
    up.responsesUntil('response.image_generation_call.generating', (exchange) => exchange.aborted, {
      items: everyItem(),
    }),
  )
  const running = await create(server, { background: true, stream: false })
  await upstream.request(1)
  await sleep(20)
  const cancelled = await responseIn(ask(server, 'POST', `/${running.id}/cancel`))
  t.match(cancelled, { status: 'cancelled' })
  t.match(await upstream.last().closed, { aborted: true })
  t.match(cancelled.output.at(-1), { type: 'image_generation_call', status: 'failed' })
  t.match((await numberedIn(ask(server, 'GET', `/${running.id}?stream=true`))).at(-1), { type: 'response.incomplete' })
  const next = await create(server, {
    previous_response_id: running.id,
    input: [{ type: 'function_call_output', call_id: 'nobody', output: '' }],
  })
  t.equal(next.status, 'completed')

  const streamed = await streamIn(stream(server, { background: true }))
  t.match(lastOf(streamed), { status: 'completed', background: true })
})

t.test('one that was cancelled half-way is gone on from without what was cut off', async (t) => {
  const server = serving()
  const items = everyItem()
    .filter(({ type }) => type === 'function_call' || type === 'message')
    .reverse()
  upstream.next(up.responsesUntil('response.function_call_arguments.delta', (exchange) => exchange.aborted, { items }))
  const running = await create(server, { background: true })
  await upstream.request(0)
  await sleep(20)
  const cancelled = await responseIn(ask(server, 'POST', `/${running.id}/cancel`))
  t.match(cancelled.output, [{ type: 'message' }, { type: 'function_call', status: 'incomplete' }])
  await create(server, { previous_response_id: running.id, input: 'go on' })
  t.strictSame(kinds(sentItems()), ['message', 'message', 'message'])
})

t.test('failures before the first event keep their status', async (t) => {
  const server = serving()
  const error = { message: 'no such tool', type: 'invalid_request_error', param: 'tools[0]', code: 'bad_tool' }
  for (const [behaviour, expected] of [
    [up.failWith(400, { error }), { status: 400, ...error }],
    [up.failWith(422, { error }), { status: 422, ...error }],
    [up.failWith(401), { status: 502, code: 'upstream_auth_error' }],
    [up.failWith(429, undefined, { 'retry-after': '7' }), { status: 429, code: 'rate_limit_exceeded' }],
    [up.failWith(500), { status: 502, code: 'upstream_error' }],
    [up.failWith(503), { status: 503, code: 'upstream_overloaded' }],
    [up.dropBeforeResponse(), { status: 502, code: 'upstream_connection_lost' }],
    [up.notJson(200), { status: 502, code: 'upstream_malformed' }],
  ] as const) {
    for (const streams of [false, true]) {
      upstream.next(behaviour)
      const refused = await errorIn(ask(server, 'POST', '', { ...hello, stream: streams }))
      t.match(refused, expected)
      t.notMatch(refused.message, up.UPSTREAM_SECRET)
    }
  }
  const hosted = await errorIn(ask(server, 'POST', '', { ...hello, include: ['reasoning.encrypted_content'] }))
  t.match(hosted, { status: 400, message: 'Encrypted content is not supported with this model.', param: 'include' })
})

/** What passes through with a provider's own code is its type to hooks and metrics. */
const ownCode = (code: string): string => (code === 'invalid_prompt' ? 'invalid_request_error' : code)

t.test('a whole answer that is none, or has failed, is a failure', async (t) => {
  const server = serving()
  const { completions } = recording(server)
  const attempts: object[] = []
  server.hooks.on('onAttemptEnd', (attempt) => attempts.push(attempt))
  const failed = (code: string, message: string) =>
    up.responses({ ending: 'failed', extra: { error: { code, message } } })
  for (const [behaviour, expected] of [
    [failed('server_error', 'sk-secret'), { status: 502, code: 'upstream_error' }],
    [failed('rate_limit_exceeded', 'for org-secret'), { status: 429, code: 'rate_limit_exceeded' }],
    [failed('invalid_prompt', 'not this one'), { status: 400, code: 'invalid_prompt', message: 'not this one' }],
    [(_: unknown, exchange: up.Exchange) => exchange.json(200, {}), { status: 502, code: 'upstream_malformed' }],
    [
      (_: unknown, exchange: up.Exchange) => exchange.json(200, { error: { code: 'invalid_prompt', message: 'x' } }),
      { status: 400, code: 'invalid_prompt' },
    ],
  ] as const) {
    upstream.next(behaviour)
    const refused = await errorIn(ask(server, 'POST', '', hello))
    t.match(refused, expected)
    t.notMatch(refused.message, /secret/)
    t.match(attempts.at(-1), { outcome: 'error', errorCode: ownCode(expected.code) })
  }
  t.equal(completions.length, 3, 'what the provider has counted is paid for')
})

t.test('a stream that breaks off tells so: an error, then the failed response', async (t) => {
  const server = serving()
  const { responses, completions } = recording(server)
  const broken = (then: (exchange: up.Exchange) => void | Promise<void>) =>
    up.responsesUntil('response.web_search_call.searching', then, { items: everyItem() })
  const errorEvent = (error: object) => (exchange: up.Exchange) =>
    exchange.write(`event: error\ndata: ${JSON.stringify(error)}\n\n`)
  for (const [then, code, outcome = 'stream_error'] of [
    [(exchange: up.Exchange) => void exchange.raw.end(), 'upstream_truncated'],
    [(exchange: up.Exchange) => exchange.sleep(30).then(() => exchange.drop()), 'upstream_connection_lost'],
    [(exchange: up.Exchange) => exchange.write('data: {"type":\n\n'), 'upstream_malformed'],
    [errorEvent({ type: 'error', code: 'server_error', message: 'sk-secret', param: null }), 'upstream_error'],
    [
      errorEvent({ type: 'error', error: { code: 'rate_limit_exceeded', message: 'org-secret' } }),
      'rate_limit_exceeded',
      'stream_refused',
    ],
    [
      errorEvent({ type: 'error', code: 'invalid_prompt', message: 'not this', param: 'input' }),
      'invalid_prompt',
      'stream_refused',
    ],
  ] as const) {
    upstream.next(broken(then))
    const events = await numberedIn(stream(server))
    t.match(events.at(-2), { type: 'error', code, message: String })
    t.notMatch(JSON.stringify(events), /secret/)
    const response = lastOf(events)
    t.match(response, { status: 'failed', error: { message: String } })
    t.match(response.output, [{ type: 'reasoning' }, { type: 'web_search_call', status: 'failed' }])
    t.strictSame(await get(server, response), response, 'and is stored as such')
    t.match(
      responses.findLast(({ route }) => route === '/v1/responses'),
      { outcome, errorCode: ownCode(code) },
    )
  }
  t.equal(completions.length, 6, 'the tokens that had come were paid for')
  t.match(completions[0], { usage: { estimated: true, completion_tokens: Number } })
})

t.test('a response that the provider itself calls failed leaks nothing, and is a failure to the hooks', async (t) => {
  const server = serving()
  const { responses, completions } = recording(server)
  const attempts: object[] = []
  server.hooks.on('onAttemptEnd', (attempt) => attempts.push(attempt))
  upstream.next(up.responses({ ending: 'failed' }))
  const events = await streamIn(stream(server))
  t.equal(events.filter(({ type }) => type === 'error').length, 0, 'the provider sent none')
  t.match(lastOf(events), { status: 'failed', error: { code: 'server_error' } })
  t.notMatch(JSON.stringify(events), /secret/)
  t.match(responses, [{ outcome: 'stream_error', errorCode: 'upstream_error' }])
  t.match(attempts, [{ outcome: 'error', errorCode: 'upstream_error' }])
  upstream.next(up.responses({ ending: 'failed', items: [] }))
  t.match(lastOf(await streamIn(stream(server))), { status: 'failed', output: [] })
  t.match(completions, [{ usage: { completion_tokens: 7 } }, { usage: { completion_tokens: 7 } }], 'both were counted')
  upstream.next(up.responses({ ending: 'incomplete' }))
  t.match(lastOf(await streamIn(stream(server))), {
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  })
  t.match(responses.at(-1), { outcome: 'ok' })
})

t.test('a provider that leaves things out', async (t) => {
  const server = serving()
  upstream.next(async (request, exchange) => {
    const events = [...up.responseEvents(request)].slice(2).map(({ sequence_number: _number, ...event }) => event)
    const last = events.at(-1) as { type: string; response: up.Json }
    await up.sendEvents(exchange, [...events.slice(0, -1), { ...last, response: { ...last.response, output: [] } }])
    await exchange.done()
  })
  const events = await streamIn(stream(server))
  t.match(events[0], { type: 'response.created', response: { status: 'in_progress' } })
  t.equal(textOf(lastOf(events)), 'You said: hello there', 'its items are those that it has told')
})

t.test('a whole answer that does not say how it stands is whole, unless it says otherwise', async (t) => {
  const server = serving()
  upstream.next(up.responses({ extra: { status: undefined } }))
  t.match(await create(server, {}), { status: 'completed' })
  upstream.next(up.responses({ extra: { status: undefined, incomplete_details: { reason: 'max_output_tokens' } } }))
  t.match(await create(server, {}), { status: 'incomplete' })
  upstream.next(up.responses({ extra: { status: 'in_progress' } }))
  t.match(await errorIn(ask(server, 'POST', '', hello)), { status: 502, code: 'upstream_malformed' })
})

t.test('a number that no double holds comes and goes as it is', async (t) => {
  const server = serving()
  const tool = '{"type":"function","name":"f","parameters":{"maximum":9223372036854775807},"strict":false}'
  const raw = (fields: string) => ({ method: 'POST', body: `{"model":"n","input":"hi","tools":[${tool}]${fields}}` })
  const post = (fields: string) => server.handle(new Request('http://localhost/v1/responses', raw(fields)))
  const { rawJSON } = JSON as typeof JSON & { rawJSON(text: string): unknown }
  upstream.behave(up.responses({ extra: { large: rawJSON('9223372036854775806') } }))
  t.match(await (await post('')).text(), '"large":9223372036854775806')
  t.match(upstream.last().rawBody, '"maximum":9223372036854775807')
  const streamed = await (await post(',"stream":true')).text()
  t.match(streamed, 'event: response.completed')
  t.match(streamed, '"large":9223372036854775806')
  const queued = (await (await post(',"background":true')).json()) as { id: string }
  t.match(await ended(server, queued), { status: 'completed' })
})

t.test('a provider whose numbers and items are none', async (t) => {
  const server = serving()
  const { id: conversation } = (await (
    await server.handle(new Request('http://localhost/v1/conversations', { method: 'POST' }))
  ).json()) as { id: string }
  for (const odd of [
    { type: 'response.output_item.added', output_index: 30_000_000, item: { type: 'message', status: 'in_progress' } },
    { type: 'response.output_item.done', output_index: -1, item: { type: 'message' } },
    { type: 'response.in_progress', response: { output: [null] } },
    { type: 'response.in_progress', response: { output: 'none' } },
  ]) {
    upstream.next(async (request, exchange) => {
      const [created] = [...up.responseEvents(request)]
      await up.sendEvents(exchange, [created, odd] as never)
      exchange.drop()
    })
    const text = await (await stream(server, { conversation })).text()
    t.match(text, /event: response\.failed/, JSON.stringify(odd))
    t.ok(text.length < 20_000, `${text.length} characters`)
  }
  t.match(await create(server, { conversation }), { status: 'completed' }, 'its conversation is free')
})

t.test('items that a provider gives no id, or the same again, are all in the conversation', async (t) => {
  const server = serving()
  const at = (path: string, init?: RequestInit) =>
    server.handle(new Request(`http://localhost/v1/conversations${path}`, init))
  const { id: conversation } = (await (await at('', { method: 'POST' })).json()) as { id: string }
  const call = (call_id: string) => ({
    type: 'function_call',
    call_id,
    name: 'f',
    arguments: '{}',
    status: 'completed',
  })
  upstream.next(up.responses({ items: [call('a'), call('b')] }))
  await create(server, { conversation })
  const outputs = ['a', 'b'].map((call_id) => ({ type: 'function_call_output', call_id, output: call_id }))
  upstream.next(up.responses({ items: [{ ...up.messageItem(up.outputText('one')), id: 'msg_0' }] }))
  await create(server, { conversation, input: outputs })
  upstream.next(up.responses({ items: [{ ...up.messageItem(up.outputText('two')), id: 'msg_0' }] }))
  await create(server, { conversation, input: 'more' })
  const { data } = (await (await at(`/${conversation}/items?order=asc`)).json()) as { data: up.Json[] }
  t.strictSame(kinds(data), [
    'message',
    'function_call',
    'function_call',
    'function_call_output',
    'function_call_output',
    'message',
    'message',
    'message',
  ])
  t.equal(new Set(data.map(({ id }) => id)).size, data.length, 'each under an id of its own')
})

t.test('timeouts and clients that leave', async (t) => {
  const hasty = createLLM({ model: 'lab/m', baseURL, apiKey: 'k', responses: 'native', timeouts: { total: 80 } })
  t.teardown(() => hasty.close?.())
  const server = serving({ entries: [...entries, { model: 'hasty', client: hasty }] })
  const { responses } = recording(server)
  for (const streams of [false, true]) {
    upstream.next(up.hang())
    const late = await errorIn(ask(server, 'POST', '', { ...hello, model: 'hasty', stream: streams }))
    t.match(late, { status: 504, code: 'upstream_timeout' })
    upstream.next(up.hang())
    const controller = new AbortController()
    const answer = ask(server, 'POST', '', { ...hello, stream: streams }, { signal: controller.signal })
    await upstream.request(upstream.requests.length)
    controller.abort()
    t.equal((await answer).status, 499)
    t.match(await upstream.last().closed, { aborted: true })
  }
  upstream.next(up.responsesUntil('response.output_text.delta', (exchange) => exchange.aborted))
  const reader = ((await stream(server)).body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (!text.includes('output_text.delta')) text += Buffer.from((await reader.read()).value ?? []).toString()
  await reader.cancel()
  t.match(await upstream.last().closed, { aborted: true })
  t.match(responses.at(-1), { outcome: 'client_closed', usage: { estimated: true, completion_tokens: 1 } })
  const { response } = JSON.parse(/data: (.*)/.exec(text)?.[1] ?? '') as { response: ResponseObject }
  t.match(await get(server, response), { status: 'cancelled', output: [{ status: 'incomplete' }] })
})

t.test('any replica goes on, for its own user only', async (t) => {
  const responseStorePersistence = new MemoryPersistence()
  const auth = new BearerKeyAuth({ keys: { 'sk-of-alice-01': 'alice', 'sk-of-bob-0001': 'bob' } })
  const [one, two] = [serving({ responseStorePersistence, auth }), serving({ responseStorePersistence, auth })]
  const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } })
  const first = await responseIn(ask(one, 'POST', '', hello, as('sk-of-alice-01')))
  const next = { ...hello, input: 'more', previous_response_id: first.id }
  await responseIn(ask(two, 'POST', '', next, as('sk-of-alice-01')))
  t.strictSame(kinds(sentItems()), ['message', 'message', 'message'])
  const refused = await errorIn(ask(two, 'POST', '', next, as('sk-of-bob-0001')))
  t.match(refused, { status: 400, code: 'previous_response_not_found' })
})

t.test('a reference to an item is the item', async (t) => {
  const server = serving()
  const first = await create(server, {})
  const reference = { type: 'item_reference', id: first.output[0]?.id }
  await create(server, { input: [reference, { role: 'user', content: 'go on' }] })
  t.match(sentItems(), [{ type: 'message', role: 'assistant', content: [{ text: 'You said: hello there' }] }, {}])
  const unknown = { type: 'item_reference', id: 'msg_nobody' }
  t.match(await errorIn(ask(server, 'POST', '', { ...hello, input: [unknown] })), { status: 404, param: 'input' })
})

t.test('several targets: native only when all of them are', async (t) => {
  const of = (...clients: (typeof native)[]) => weighted(clients.map((client) => ({ client })))
  const server = serving({
    entries: [
      { model: 'all', client: of(pinned(native, 'a'), pinned(native, 'b')) },
      { model: 'some', client: of(pinned(native, 'a'), chat) },
    ],
  })
  const { completions, responses } = recording(server)
  await create(server, { model: 'all', tools: [{ type: 'web_search' }] })
  t.match(responses, [{ target: /^lab\/[ab]$/ }])
  t.match(completions, [{ provider: 'lab' }])
  t.equal(upstream.last().path, '/v1/responses')
  await create(server, { model: 'some' })
  t.equal(upstream.last().path, '/v1/chat/completions')
})

t.test('agents, entries with tools of their own, and turns of a named conversation are translated', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const server = serving({
    entries: [
      ...entries,
      { model: 'agent', client: createAgent({ client: native, system: 'Be brief.' }) },
      { model: 'tooled', client: pinned(native, 'a'), internalTools: [clock] },
      { model: 'closed', client: pinned(native, 'a'), allowExternalTools: false },
    ],
    conversationLoader: { load: () => null, save: () => {} },
  })
  for (const model of ['agent', 'tooled', 'closed']) {
    await create(server, { model })
    t.equal(upstream.last().path, '/v1/chat/completions', model)
  }
  await responseIn(ask(server, 'POST', '', hello, inConversation('c1')))
  t.equal(upstream.last().path, '/v1/chat/completions')
  for (const model of ['agent', 'c']) {
    const refused = await errorIn(ask(server, 'POST', '', { ...hello, model, tools: [{ type: 'web_search' }] }))
    t.match(refused, { status: 400, code: 'unsupported', param: 'tools[0].type' }, model)
  }
  const prompt = await errorIn(ask(server, 'POST', '', { model: 'c', prompt: { id: 'pmpt_1' } }))
  t.match(prompt, { status: 400, code: 'unsupported', param: 'prompt' })
  await create(server, { input: undefined, prompt: { id: 'pmpt_1' } })
  t.strictSame(sent(), { model: 'gpt-4.1', prompt: { id: 'pmpt_1' }, store: false })
})
