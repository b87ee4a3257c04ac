import { spawnSync } from 'node:child_process'
import Fastify from 'fastify'
import { pino } from 'pino'
import { defineGuardrail, defineTool } from 'signalbox'
import { health, hooks, metrics } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { parseConfig } from '../../src/config/load.ts'
import { eventually } from '../core.ts'
import { CLIENT_KEY, type Gateway, type GatewayOptions, startGateway } from '../gateway.ts'
import { Prometheus } from '../prometheus.ts'
import { startRedis } from '../redis.ts'
import { scraped, sumOf } from '../scrape.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 }
const messages = [{ role: 'user' as const, content: 'hello' }]
const ask = { model: 'fast', messages }

const clock = defineTool({ name: 'clock', execute: () => 'noon' })
const silence = defineGuardrail({ name: 'silence', input: () => ({ reason: 'hush' }) })

const counting = (t: Test, { config, ...options }: GatewayOptions = {}): Promise<Gateway> =>
  startGateway(t, {
    upstream,
    extension: { tools: [clock], guardrails: [silence] },
    config: {
      auth: { keys: [{ key: CLIENT_KEY, user: 'ann' }] },
      models: { fast: { targets: [{ model: 'openai/small' }] }, 'openai/*': { targets: [{ model: 'openai/*' }] } },
      agents: {
        helper: { model: 'fast', tools: ['clock'] },
        quiet: { model: 'fast', guardrails: ['silence'] },
      },
      catalog: { 'openai/small': { prices: { input: 1, output: 10 } } },
      ...config,
    },
    ...options,
  })

/** What is shown of some series: undefined where there is none. */
async function shown(gateway: Gateway) {
  const samples = await scraped(gateway.url)
  return (name: string, labels?: Record<string, string>) => sumOf(samples, name, labels)
}

/** Resolves when the next request is over. */
const over = ({ hooks }: Gateway): Promise<unknown> => new Promise((resolve) => hooks.once('onResponse', resolve))

t.test('real traffic, counted exactly', async (t) => {
  const gateway = await counting(t, { config: { metrics: { users: { enabled: true } } } })
  const client = gateway.client()
  upstream.behave(up.completion({ usage }))

  await client.chat.completions.create(ask)
  await client.chat.completions.create({ ...ask, model: 'openai/other' })
  await client.chat.completions.stream(ask).finalChatCompletion()
  await client.responses.create({ model: 'fast', input: 'hello' })
  upstream.next(up.provider)
  await client.embeddings.create({ model: 'fast', input: 'a b' })
  upstream.next(up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage }))
  await client.chat.completions.create({ ...ask, model: 'helper' })
  await client.chat.completions.create({ ...ask, model: 'quiet' })
  await client.chat.completions.create(ask, { headers: { 'x-conversation-id': 'c' } })

  upstream.next(up.failWith(500))
  await t.rejects(client.chat.completions.create(ask))
  upstream.next(up.dropAfter(2))
  await t.rejects(client.chat.completions.stream(ask).finalChatCompletion())
  await t.rejects(client.chat.completions.create({ ...ask, model: 'nobody' }))
  await t.rejects(gateway.client({ apiKey: 'sk-wrong-key' }).chat.completions.create(ask))
  await fetch(`${gateway.url}/health`)
  await fetch(`${gateway.url}/v1/models`, { method: 'OPTIONS' })

  upstream.next(up.hang())
  const left = over(gateway)
  await t.rejects(client.chat.completions.create(ask, { timeout: 50 }))
  await left
  upstream.next(up.completion({ tokens: Array(50).fill('word '), delayMs: 20 }))
  const leftLater = over(gateway)
  for await (const _ of await client.chat.completions.create({ ...ask, stream: true })) break
  await leftLater
  const attempts = (await shown(gateway))('signalbox_upstream_attempts_total', { outcome: 'aborted' })
  t.equal(attempts, 2, 'both calls were given up')

  const of = await shown(gateway)
  const chat = { route: '/v1/chat/completions', method: 'POST' }
  const small = { provider: 'openai', model: 'fast', target: 'openai/small' }
  const fast = { gen_ai_provider_name: 'openai', gen_ai_request_model: 'fast' }
  const tokens = 'gen_ai_client_token_usage'
  const expected: [name: string, labels: Record<string, string>, value: number | undefined][] = [
    ['signalbox_http_requests_total', { ...chat, status: '2xx', outcome: 'ok' }, 6],
    ['signalbox_http_requests_total', { ...chat, status: '5xx', outcome: 'error' }, 1],
    ['signalbox_http_requests_total', { ...chat, status: '2xx', outcome: 'stream_error' }, 1],
    ['signalbox_http_requests_total', { ...chat, status: '4xx', outcome: 'client_closed' }, 1],
    ['signalbox_http_requests_total', { ...chat, status: '2xx', outcome: 'client_closed' }, 1],
    ['signalbox_http_requests_total', { ...chat, status: '4xx', outcome: 'error' }, 1],
    ['signalbox_http_requests_total', { route: '_other', method: 'POST', status: '4xx', outcome: 'error' }, 1],
    ['signalbox_http_requests_total', { route: '/health', method: 'GET', status: '2xx' }, 1],
    ['signalbox_http_requests_total', { method: 'OPTIONS', status: '2xx' }, 1],
    ['signalbox_http_requests_total', { route: '/metrics' }, 1],
    ['signalbox_errors_total', { code: 'upstream_error' }, 1],
    ['signalbox_errors_total', { code: 'upstream_connection_lost' }, 1],
    ['signalbox_errors_total', { code: 'model_not_found' }, 1],
    ['signalbox_errors_total', { code: 'invalid_api_key' }, 1],
    ['signalbox_errors_total', {}, 4],
    ['signalbox_auth_failures_total', {}, 1],
    ['signalbox_client_disconnects_total', { phase: 'before_answer' }, 1],
    ['signalbox_client_disconnects_total', { phase: 'streaming' }, 1],
    ['signalbox_stream_ends_total', { reason: 'ok' }, 1],
    ['signalbox_stream_ends_total', { reason: 'upstream_connection_lost' }, 1],
    ['signalbox_stream_ends_total', { reason: 'client_closed' }, 1],
    ['signalbox_upstream_truncations_total', { code: 'upstream_connection_lost', model: 'fast' }, 1],
    ['signalbox_upstream_attempts_total', { ...small, outcome: 'ok', code: '' }, 5],
    ['signalbox_upstream_attempts_total', { ...small, outcome: 'error', code: 'upstream_error' }, 1],
    ['signalbox_upstream_attempts_total', { ...small, outcome: 'error', code: 'upstream_connection_lost' }, 1],
    ['signalbox_upstream_attempts_total', { ...small, model: 'helper', outcome: 'ok' }, 2],
    ['signalbox_upstream_attempts_total', { model: 'openai/*', target: 'openai/other', outcome: 'ok' }, 1],
    ['signalbox_upstream_attempts_total', {}, 12],
    ['gen_ai_client_operation_duration_seconds_count', {}, 12],
    ['gen_ai_client_operation_duration_seconds_count', { ...fast, gen_ai_operation_name: 'embeddings' }, 1],
    ['gen_ai_client_operation_duration_seconds_count', { ...fast, error_type: 'upstream_error' }, 1],
    ['gen_ai_server_request_duration_seconds_count', {}, 12],
    ['gen_ai_server_request_duration_seconds_count', { gen_ai_operation_name: 'invoke_agent', error_type: '' }, 2],
    ['gen_ai_server_request_duration_seconds_count', { ...fast, error_type: 'client_closed' }, 2],
    ['signalbox_overhead_seconds_count', {}, 12],
    ['signalbox_overhead_seconds_count', { agent: 'true' }, 2],
    ['gen_ai_server_time_to_first_token_seconds_count', fast, 3],
    ['gen_ai_server_time_per_output_token_seconds_count', fast, 1],
    [`${tokens}_sum`, { ...fast, gen_ai_operation_name: 'embeddings', gen_ai_token_type: 'input' }, 2],
    [`${tokens}_sum`, { gen_ai_request_model: 'helper', gen_ai_token_type: 'input' }, 200],
    [`${tokens}_count`, { gen_ai_request_model: 'helper', gen_ai_token_type: 'input' }, 1],
    [`${tokens}_sum`, { gen_ai_request_model: 'openai/*', gen_ai_token_type: 'output' }, 10],
    ['signalbox_completions_total', { model: 'fast', usage: 'reported' }, 5],
    ['signalbox_completions_total', { model: 'fast', usage: 'estimated' }, 3],
    ['signalbox_completions_total', { model: 'quiet' }, 1],
    ['signalbox_cost_usd_total', { model: 'helper' }, 0.0004],
    ['signalbox_cost_usd_total', { model: 'quiet' }, 0],
    ['signalbox_cost_unknown_total', { model: 'openai/*' }, 1],
    ['signalbox_cost_unknown_total', {}, 1],
    ['signalbox_tool_calls_total', { tool: 'clock', outcome: 'ok' }, 1],
    ['signalbox_guardrail_stops_total', { guardrail: 'silence', stage: 'input' }, 1],
    ['signalbox_conversation_operations_total', { operation: 'save', outcome: 'ok' }, 2],
    ['signalbox_listener_errors_total', {}, undefined],
    ['signalbox_in_flight_requests', {}, 0],
    ['signalbox_open_streams', {}, 0],
    ['signalbox_ready', {}, 1],
    ['signalbox_draining', {}, 0],
    ['signalbox_store_up', {}, undefined],
    ['signalbox_build_info', { version: '0.1.0', node: process.version }, 1],
  ]
  for (const [name, labels, value] of expected) t.equal(of(name, labels), value, `${name} ${JSON.stringify(labels)}`)
  const all = of(`${tokens}_sum`, {})
  t.equal(of('signalbox_user_tokens_total', { user: 'ann' }), all, 'the tokens of users are the tokens of models')
  const [byUser, byModel] = ['signalbox_user_cost_usd_total', 'signalbox_cost_usd_total'].map((name) => of(name))
  t.ok(Math.abs(Number(byUser) - Number(byModel)) < 1e-9, `${byUser} and ${byModel} USD`)
  t.ok((of('signalbox_store_operations_total', { part: 'values', operation: 'set', outcome: 'ok' }) ?? 0) > 0)
  t.equal(of('signalbox_store_operations_total'), of('signalbox_store_operation_duration_seconds_count'))
  for (const name of ['nodejs_eventloop_lag_p99_seconds', 'nodejs_heap_size_used_bytes', 'process_cpu_seconds_total']) {
    t.type(of(name), 'number')
  }
})

t.test('what is under way is shown while it is, and not after', async (t) => {
  const gateway = await counting(t)
  const gate = up.gated(['a', 'b'])
  upstream.next(gate.behaviour, up.hang())
  gate.release()
  const stream = await gateway.client().chat.completions.create({ ...ask, stream: true })
  const controller = new AbortController()
  const whole = gateway.client().chat.completions.create(ask, { signal: controller.signal })
  whole.catch(() => {})
  await upstream.request(1)
  let of = await shown(gateway)
  t.strictSame([of('signalbox_in_flight_requests'), of('signalbox_open_streams')], [2, 1])
  const left = over(gateway)
  controller.abort()
  await left
  of = await shown(gateway)
  t.strictSame([of('signalbox_in_flight_requests'), of('signalbox_open_streams')], [1, 1])
  gate.release(10)
  for await (const _ of stream);
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
  of = await shown(gateway)
  t.strictSame([of('signalbox_in_flight_requests'), of('signalbox_open_streams')], [0, 0])
})

t.test('anybody may read them, also who has no key; other methods do not exist', async (t) => {
  const gateway = await counting(t)
  const { status, headers } = await fetch(`${gateway.url}/metrics?x`)
  t.equal(status, 200)
  t.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  t.match(headers.get('x-request-id'), /^req_/)
  t.equal((await fetch(`${gateway.url}/metrics`, { method: 'HEAD' })).status, 200)
  t.equal((await fetch(`${gateway.url}/metrics`, { method: 'POST' })).status, 401)
  t.strictSame(
    gateway.requestLines().filter(({ route }) => route === '/metrics'),
    [],
    'as quiet as a probe',
  )
})

t.test('a port of their own', async (t) => {
  const gateway = await counting(t, { config: { metrics: { port: 0 } } })
  t.equal((await gateway.post('/metrics', {})).status, 404)
  t.equal((await fetch(`${gateway.url}/metrics`)).status, 401, 'what they were at is a path like any other')
  const said = gateway.logs.map(({ msg }) => /^Metrics are at (http.*\/metrics)$/.exec(String(msg))?.[1]).find(Boolean)
  const url = String(said)
  t.match(await (await fetch(url)).text(), /^signalbox_http_requests_total\{/m)
  t.equal((await fetch(url.replace('/metrics', '/v1/models'))).status, 404)
  await gateway.close()
  await t.rejects(fetch(url), 'it is closed with the gateway')
})

t.test('off', async (t) => {
  const gateway = await counting(t, { config: { metrics: { enabled: false } } })
  t.equal((await fetch(`${gateway.url}/metrics`)).status, 401)
  for (const name of ['onRequest', 'onAttempt', 'onAttemptEnd', 'onCompletion', 'onStore'] as const) {
    t.equal(gateway.hooks.listens(name), false, `nobody listens to ${name}`)
  }
})

t.test('shutting down is shown', async (t) => {
  const gateway = await counting(t)
  gateway.app.readiness.drain()
  const of = await shown(gateway)
  t.strictSame([of('signalbox_draining'), of('signalbox_ready')], [1, 0])
})

t.test('Redis is up, or not', async (t) => {
  const redis = await startRedis(t)
  const gateway = await counting(t, { config: { store: { kind: 'redis', url: redis.url } } })
  const turn = () => gateway.client().chat.completions.create(ask, { headers: { 'x-conversation-id': 'c' } })
  await turn()
  let of = await shown(gateway)
  t.equal(of('signalbox_store_up'), 1)
  t.ok(of('signalbox_store_operations_total', { part: 'leases', outcome: 'ok' }))
  await redis.kill()
  await t.rejects(turn())
  of = await shown(gateway)
  t.equal(of('signalbox_store_up'), 0)
  t.ok(of('signalbox_store_operations_total', { outcome: 'failed' }))
  t.equal(of('signalbox_errors_total', { code: 'store_unavailable' }), 1)
})

t.test('in an app of one’s own, with traces of its own', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(hooks)
  await app.register(health)
  await app.register(metrics)
  const ids = { trace_id: '0af7651916cd43dd8448eb211c80319c', span_id: 'b7ad6b7169203331', trace_flags: '01' }
  app.decorate('tracing', { idsOf: (id: string) => (id === 'r' ? ids : undefined) })
  const target = { provider: 'p', model: 'm' }
  const request = () => ({ model: 'm', messages: [] })
  const attempt = { attempt: 0, operation: 'chat', target, stream: false, request } as const
  for (const requestId of ['r', 'other']) {
    app.hooks.emit('onAttemptEnd', { requestId, ...attempt, outcome: 'ok', durationMs: 1 })
  }
  const accept = 'application/openmetrics-text'
  const { payload, headers } = await app.inject({ url: '/metrics', headers: { accept } })
  t.match(headers['content-type'], accept)
  t.equal(payload.split(`# {trace_id="${ids.trace_id}",span_id="${ids.span_id}"}`).length, 2)
})

t.test('promtool finds nothing to say, and a real Prometheus takes them with their exemplars', async (t) => {
  const config = parseConfig('metrics: { users: { enabled: true } }', 'the test', {})
  const app = await buildApp({ config, logger: pino({ level: 'silent' }) })
  t.teardown(() => app.close())
  const ids = { trace_id: '0af7651916cd43dd8448eb211c80319c', span_id: 'b7ad6b7169203331', trace_flags: '01' }
  app.decorate('tracing', { idsOf: () => ids })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  for (const wanted of [{ model: 'demo/echo' }, { model: 'demo/echo', stream: true }, { model: 'nobody' }]) {
    const body = JSON.stringify({ messages, ...wanted })
    await (await fetch(`${url}/v1/chat/completions`, { method: 'POST', body })).text()
  }

  const input = await (await fetch(`${url}/metrics`)).text()
  const said = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })
  t.strictSame({ status: said.status, said: said.stdout + said.stderr }, { status: 0, said: '' })

  const prometheus = await Prometheus.start(t, { targets: [new URL(url).host] })
  const { activeTargets } = await prometheus.get<{ activeTargets: object[] }>('targets')
  t.match(activeTargets, [{ health: 'up', lastError: '' }])
  const only = async (query: string): Promise<number | undefined> => (await prometheus.query(query))[0]?.value
  t.equal(await only('sum(signalbox_upstream_attempts_total{outcome="ok", code=""})'), 2)
  t.equal(await only('sum(gen_ai_server_request_duration_seconds_bucket{le="+Inf"})'), 2)
  t.equal(await only('signalbox_errors_total{code="model_not_found"}'), 1)
  t.equal(await only('signalbox_in_flight_requests'), 0)
  const exemplars = await prometheus.get<{ exemplars: { labels: { trace_id: string } }[] }[]>('query_exemplars', {
    query: 'gen_ai_server_time_to_first_token_seconds_bucket',
    start: String(Date.now() / 1000 - 60),
    end: String(Date.now() / 1000 + 60),
  })
  t.equal(exemplars[0]?.exemplars[0]?.labels.trace_id, ids.trace_id)
})
