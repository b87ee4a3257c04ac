/** The spans of a request, as a collector gets them. */
import t, { type Test } from 'tap'
import { defineGuardrail, defineTool } from '../../src/index.ts'
import { CLIENT_KEY, type GatewayOptions } from '../gateway.ts'
import { talk } from '../raw-http.ts'
import { startTraced, type TracedGateway, treeOf } from '../traced.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello' }] }
const completions = 'POST /v1/chat/completions'
const keys = [{ key: CLIENT_KEY, user: 'ann' }]

const clock = defineTool({
  name: 'clock',
  description: 'The time.',
  parameters: { type: 'object', properties: {} },
  execute: () => 'noon',
})
const discreet = defineGuardrail({
  name: 'discreet',
  input: (messages) => (/secret/.test(JSON.stringify(messages)) ? { reason: 'Keep it.' } : null),
})

const start = (t: Test, options: GatewayOptions = {}): Promise<TracedGateway> =>
  startTraced(t, {
    upstream,
    extension: { tools: [clock], guardrails: [discreet] },
    ...options,
    config: {
      auth: { keys },
      agents: { helper: { model: 'openai/m', tools: ['clock'], guardrails: ['discreet'] } },
      ...options.config,
    },
  })

t.test('a whole answer: the server’s span, and below it that of the provider’s call', async (t) => {
  const { client, collector } = await start(t)
  const answer = await client().chat.completions.create({ ...ask, temperature: 0.5, max_tokens: 9, n: 2, stop: 'end' })
  const server = await collector.only(completions)
  const attempt = await collector.only('chat m')
  t.equal(server.kind, 'SERVER')
  t.equal(server.parentSpanId, '')
  t.match(server.attributes, {
    'http.request.method': 'POST',
    'http.route': '/v1/chat/completions',
    'http.response.status_code': 200,
    'url.path': '/v1/chat/completions',
    'url.scheme': 'http',
    'user_agent.original': /OpenAI/,
    'user.id': 'ann',
    'signalbox.model': 'openai/*',
    'signalbox.request.id': /^req_/,
  })
  t.notOk('error.type' in server.attributes)
  t.equal(attempt.kind, 'CLIENT')
  t.equal(attempt.traceId, server.traceId)
  t.equal(attempt.parentSpanId, server.spanId)
  t.strictSame(attempt.attributes, {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'openai',
    'gen_ai.request.model': 'm',
    'gen_ai.request.temperature': 0.5,
    'gen_ai.request.max_tokens': 9,
    'gen_ai.request.choice.count': 2,
    'gen_ai.request.stop_sequences': ['end'],
    'server.address': '127.0.0.1',
    'server.port': upstream.port,
    'gen_ai.response.id': answer.id,
    'gen_ai.response.model': answer.model,
    'gen_ai.response.finish_reasons': answer.choices.map(({ finish_reason }) => finish_reason),
    'gen_ai.usage.input_tokens': answer.usage?.prompt_tokens,
    'gen_ai.usage.output_tokens': answer.usage?.completion_tokens,
  })
  t.ok(
    server.start <= attempt.start && attempt.start <= attempt.end && attempt.end <= server.end,
    'one within the other',
  )
  t.strictSame([server.status, attempt.status], ['UNSET', 'UNSET'])
  t.equal(server.resource['service.name'], 'signalbox')
})

t.test('a stream: it tells of the first token, and lasts until the last', async (t) => {
  const { client, collector } = await start(t)
  await client().chat.completions.stream(ask).finalChatCompletion()
  const attempt = await collector.only('chat m')
  t.match(attempt.attributes, {
    'gen_ai.request.stream': true,
    'gen_ai.response.time_to_first_chunk': Number,
    'gen_ai.response.finish_reasons': ['stop'],
    'gen_ai.usage.output_tokens': Number,
  })
  t.strictSame(attempt.events, [{ name: 'signalbox.first_token', attributes: {} }])
})

t.test('embeddings, and requests that ask no provider', async (t) => {
  const { client, collector, url } = await start(t)
  await client().embeddings.create({ model: 'openai/e', input: 'a b', dimensions: 8 })
  await client().models.list()
  await fetch(`${url}/nowhere/at/all?key=${CLIENT_KEY}`)
  await fetch(`${url}/v1/models`)
  const embeddings = await collector.only('embeddings e')
  t.match(embeddings.attributes, {
    'gen_ai.operation.name': 'embeddings',
    'gen_ai.usage.input_tokens': 2,
    'gen_ai.embeddings.dimension.count': 8,
  })
  t.notOk('gen_ai.usage.output_tokens' in embeddings.attributes)
  await collector.named('GET /v1/models', 1)
  const refused = await collector.named('GET', 2)
  t.match(refused[0]?.attributes, { 'url.path': '/nowhere/at/all', 'http.response.status_code': 401 })
  t.notOk(refused.some(({ attributes }) => 'http.route' in attributes))
  t.notMatch(
    JSON.stringify(collector.spans, (_key, value) => (typeof value === 'bigint' ? String(value) : value)),
    CLIENT_KEY,
  )
})

t.test('what Kubernetes and Prometheus ask for is not traced', async (t) => {
  const { client, collector, url } = await start(t)
  for (const path of ['/health', '/ready', '/metrics']) await fetch(url + path)
  await client().models.list()
  await collector.only('GET /v1/models')
  t.equal(collector.spans.length, 1)
})

t.test('an agent: its steps, what each of them asks and calls, and its conversation', async (t) => {
  const { collector, post } = await start(t)
  upstream.next(up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }))
  const answer = await post(
    '/v1/chat/completions',
    { ...ask, model: 'helper' },
    { headers: { 'x-conversation-id': 'c1' } },
  )
  t.equal(answer.status, 200)
  await collector.only(completions)
  const own = collector.spans.filter(({ name }) => !name.startsWith('store '))
  t.strictSame(treeOf(own), [
    completions,
    '  conversation lock',
    '  conversation load',
    '  invoke_agent helper',
    '    step 0',
    '      chat m',
    '      execute_tool clock',
    '    step 1',
    '      chat m',
    '  conversation save',
  ])
  const agent = await collector.only('invoke_agent helper')
  t.strictSame(agent.attributes, {
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.provider.name': 'openai',
    'gen_ai.agent.name': 'helper',
    'gen_ai.conversation.id': 'c1',
  })
  t.match((await collector.only('execute_tool clock')).attributes, {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': 'clock',
  })
  for (const { attributes } of await collector.named('chat m', 2)) t.equal(attributes['gen_ai.conversation.id'], 'c1')
  const [first, second] = (await collector.named(/^step/, 2)).sort((a, b) => Number(a.start - b.start))
  t.ok(first && second && first.end <= second.start && second.end <= agent.end)
  t.ok(
    agent.end <= (await collector.only('conversation save')).start + 1_000_000n,
    'the agent is done when its turn is saved',
  )
})

t.test('a tool that fails is an error of its span only; a guardrail’s stop is an event', async (t) => {
  const { collector, post } = await start(t)
  upstream.next(up.completion({ toolCalls: [{ name: 'nothing_like_it', arguments: '{}' }] }))
  await post('/v1/chat/completions', { ...ask, model: 'helper' })
  const tool = await collector.only('execute_tool _other')
  t.equal(tool.status, 'ERROR')
  t.equal(tool.attributes['error.type'], 'unknown_tool')
  t.equal((await collector.only(completions)).status, 'UNSET')

  await post('/v1/chat/completions', { ...ask, model: 'helper', messages: [{ role: 'user', content: 'a secret' }] })
  const [, stopped] = await collector.named(completions, 2)
  t.strictSame(stopped?.events, [
    {
      name: 'signalbox.guardrail.stop',
      attributes: { 'signalbox.guardrail.name': 'discreet', 'signalbox.guardrail.stage': 'input' },
    },
  ])
})

t.test('a limit that refuses a request is an event, and no error', async (t) => {
  const { collector, post } = await start(t, { config: { limits: { concurrentRequests: 1, tokensPerMinute: 1 } } })
  await post('/v1/chat/completions', { ...ask, max_tokens: 5 })
  const refused = await collector.only(completions)
  t.equal(refused.status, 'UNSET')
  t.strictSame(refused.events, [
    {
      name: 'signalbox.rate_limited',
      attributes: { 'signalbox.limit': 'tokens', 'signalbox.limit.scope': 'gateway' },
    },
  ])
})

t.test('an agent whose model fails has failed, in its last step', async (t) => {
  const { collector, post } = await start(t)
  upstream.next(up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }), up.failWith(500))
  await post('/v1/chat/completions', { ...ask, model: 'helper' })
  const failure = { status: 'ERROR', attributes: { 'error.type': 'upstream_error' } }
  t.match(await collector.only('invoke_agent helper'), failure)
  t.match(await collector.only('step 1'), failure)
  t.match(await collector.only('step 0'), { status: 'UNSET' })
})

t.test('a response made in the background is below the request that ordered it, which was over before', async (t) => {
  const { collector, post, client } = await start(t)
  const gate = up.gated(['a', 'b'])
  upstream.next(gate.behaviour)
  const { id } = (await (
    await post('/v1/responses', { model: 'helper', input: 'hello', background: true })
  ).json()) as { id: string }
  const server = await collector.only('POST /v1/responses')
  gate.release(10)
  const attempt = await collector.only('chat m')
  t.ok(attempt.end > server.end)
  t.equal(attempt.traceId, server.traceId)
  const agent = await collector.only('invoke_agent helper')
  t.equal(agent.parentSpanId, server.spanId)
  t.equal(attempt.parentSpanId, (await collector.only('step 0')).spanId)
  t.equal((await collector.only('step 0')).parentSpanId, agent.spanId)
  t.ok(agent.end >= attempt.end, 'and lasts as long')
  t.equal((await client().responses.retrieve(id)).status, 'completed')
})

t.test('what the end of the gateway breaks off is told before it stops', async (t) => {
  const { collector, post, close } = await start(t)
  const gate = up.gated(['a', 'b'])
  upstream.next(gate.behaviour)
  await post('/v1/responses', { model: 'openai/m', input: 'hello', background: true })
  await upstream.request(0)
  await close()
  t.match(await collector.only('chat m'), { status: 'UNSET', attributes: { 'signalbox.outcome': 'aborted' } })
})

t.test('what a store is asked is below the request that asks it', async (t) => {
  const turn = [
    '  chat m',
    '  conversation load',
    '  conversation lock',
    '  conversation save',
    '  store leases acquire',
    '  store values get',
    '  store values set',
    completions,
  ]
  const trees = ({ collector: { spans } }: TracedGateway): string[][] => {
    const traces = new Set(spans.map(({ traceId }) => traceId))
    return [...traces].map((id) => treeOf(spans.filter(({ traceId }) => traceId === id)).sort())
  }

  t.test('on many connections at a time', async (t) => {
    const gateway = await start(t)
    const { collector, post } = gateway
    upstream.behave(async (request, exchange) => {
      await exchange.sleep(Math.random() * 20)
      await up.completion()(request, exchange)
    })
    const turns = Array.from({ length: 40 }, (_, n) =>
      post('/v1/chat/completions', { ...ask, stream: n % 2 === 0 }, { headers: { 'x-conversation-id': `c${n}` } }).then(
        (answer) => answer.text(),
      ),
    )
    await Promise.all(turns)
    await collector.named(completions, 40)
    t.equal(trees(gateway).length, 40)
    for (const tree of trees(gateway)) t.strictSame(tree, turn)
    const attempts = await collector.named('chat m', 40)
    t.equal(new Set(attempts.map(({ attributes }) => attributes['gen_ai.conversation.id'])).size, 40)
  })

  t.test('one after the other on one connection, and at once', async (t) => {
    const gateway = await start(t)
    const body = JSON.stringify(ask)
    const request = (n: number): string =>
      [
        'POST /v1/chat/completions HTTP/1.1',
        'host: a',
        `authorization: Bearer ${CLIENT_KEY}`,
        `x-conversation-id: c${n}`,
        `content-length: ${body.length}`,
        '',
        body,
      ].join('\r\n')
    const answers = await talk(gateway.port, [request(0) + request(1) + request(2)], { answers: 3 })
    t.strictSame(
      answers.map(({ status }) => status),
      [200, 200, 200],
    )
    await gateway.collector.named(completions, 3)
    t.strictSame(trees(gateway), [turn, turn, turn])
  })

  t.test('and of no request where none does', async (t) => {
    const { app, collector, client } = await start(t)
    await app.store.persistence.set('k', 'v')
    await client().models.list()
    await collector.only('GET /v1/models')
    t.equal(collector.spans.length, 1)
  })

  t.test('each piece of a stream that is kept is no span', async (t) => {
    const { collector, post } = await start(t)
    await (await post('/v1/responses', { model: 'openai/m', input: 'hello', stream: true })).text()
    await collector.only('POST /v1/responses')
    t.notOk(collector.spans.some(({ name }) => name.startsWith('store events')))
  })
})

t.test('log lines say where a request is to be found', async (t) => {
  const gateway = await start(t)
  upstream.next(up.failWith(500))
  await gateway.post('/v1/chat/completions', ask)
  await gateway.post('/v1/chat/completions', ask, { headers: { authorization: 'Bearer sk-wrong-key' } })
  const [failed] = await gateway.collector.named(completions)
  const ids = { trace_id: failed?.traceId, span_id: failed?.spanId, trace_flags: '01' }
  const [line, refused] = gateway.requestLines()
  t.match(line, ids)
  t.match(
    gateway.logs.find(({ msg }) => msg === 'request failed'),
    ids,
  )
  const refusal = (await gateway.collector.named(/POST/, 2)).find(
    ({ attributes }) => attributes['http.response.status_code'] === 401,
  )
  t.match(refused, { trace_id: refusal?.traceId, span_id: refusal?.spanId })
})
