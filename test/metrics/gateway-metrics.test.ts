import t from 'tap'
import { createAgent, createLLM, defineTool, HookBus, OaiServer } from '../../src/index.ts'
import { GatewayMetrics, type GatewayMetricsOptions, mostUnnamed } from '../../src/metrics/gateway-metrics.ts'
import { chat, eventually } from '../core.ts'
import { type Sample, samplesIn, sumOf } from '../scrape.ts'
import { ask } from '../server/responding.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'k' })
const any = createLLM({ model: 'lab/*', baseURL: upstream.baseURL, apiKey: 'k' })
t.teardown(() => Promise.all([lab.close?.(), any.close?.()]))

/** A server without a framework, and its metrics. */
function counted(options: Partial<GatewayMetricsOptions> = {}) {
  const hooks = new HookBus()
  const metrics = new GatewayMetrics(hooks, {
    version: '1.2.3',
    draining: () => false,
    ready: async () => true,
    ...options,
  })
  const server = new OaiServer({
    hooks,
    entries: [
      { model: 'm', client: lab },
      { model: 'any/*', client: any },
    ],
  })
  const samples = async (): Promise<Sample[]> => samplesIn((await metrics.scrape()).text)
  return { hooks, metrics, server, samples }
}

const body = { model: 'm', messages: [{ role: 'user', content: 'hello' }] }
const ours = /^(signalbox|gen_ai)_/

t.test('10,000 random paths, models, keys, methods, users and codes leave few series', async (t) => {
  const { server, hooks, samples } = counted({ topUsers: 50 })
  const random = (): string => Math.random().toString(36).slice(2)
  upstream.behave((request, exchange) => {
    const { model } = request.body as { model: string }
    if (model.endsWith('a')) return up.failWith(429, { error: { message: 'no', code: random() } })(request, exchange)
    return up.provider(request, exchange)
  })
  const once = (n: number): Promise<Response> => {
    const headers = { authorization: `Bearer ${random()}` }
    if (n % 10 === 0) return chat(server, { ...body, model: `any/${random()}` }, { headers })
    if (n % 10 === 1) return chat(server, { ...body, model: random() }, { headers })
    const method = n % 3 === 0 ? random().replaceAll(/\d/g, 'X') : 'GET'
    return server.handle(new Request(`http://localhost/${random()}/${random()}`, { method, headers }))
  }
  for (let n = 0; n < 10_000; n += 50) {
    await Promise.all(Array.from({ length: 50 }, async (_, k) => (await once(n + k)).text()))
  }
  // What extensions and hosts may put in, too.
  for (let n = 0; n < 1000; n++) {
    const [requestId, model, provider] = [random(), 'm', random()]
    hooks.emit('onTool', { requestId, tool: random(), outcome: 'ok', durationMs: 1 })
    hooks.emit('onGuardrail', { requestId, guardrail: random(), stage: 'input', reason: random() })
    hooks.emit('onCompletion', {
      ...{ requestId, userId: random(), model, provider, stream: false, durationMs: 1, costUsd: 1 },
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    })
  }
  const all = (await samples()).filter(({ name }) => ours.test(name))
  const of = (name: string): number => all.filter((sample) => sample.name === name).length
  t.equal(sumOf(all, 'signalbox_http_requests_total'), 10_000)
  t.ok(of('signalbox_http_requests_total') <= 20)
  // 100 that have answered, and the rest, answered and not.
  t.ok(of('signalbox_upstream_attempts_total') <= mostUnnamed + 4)
  t.equal(sumOf(all, 'signalbox_upstream_attempts_total'), 1000)
  t.ok((sumOf(all, 'signalbox_upstream_attempts_total', { target: '_other' }) ?? 0) > 500)
  t.equal(of('signalbox_tool_calls_total'), mostUnnamed + 1)
  t.equal(of('signalbox_guardrail_stops_total'), mostUnnamed + 1)
  t.equal(of('signalbox_user_cost_usd_total'), 51)
  // Of a hundred providers that nobody named, two histograms of tokens with 17 series each are most of it.
  const bound = (mostUnnamed + 1) * (2 * 17 + 3) + 1000
  t.ok(all.length < bound, `${all.length} series of at most ${bound}`)
})

t.test('targets that the configuration names are labels also while they fail', async (t) => {
  const { server, samples } = counted({ targets: ['lab/small'] })
  upstream.behave(up.failWith(500))
  for (const model of ['m', 'any/thing']) await (await chat(server, { ...body, model })).text()
  const all = await samples()
  const failed = { outcome: 'error', code: 'upstream_error', provider: 'lab' }
  t.equal(sumOf(all, 'signalbox_upstream_attempts_total', { ...failed, model: 'm', target: 'lab/small' }), 1)
  t.equal(sumOf(all, 'signalbox_upstream_attempts_total', { ...failed, model: 'any/*', target: '_other' }), 1)
})

t.test('a provider with a name of its own is called as its spans call it', async (t) => {
  const { server, samples } = counted({ kinds: { lab: 'xai' } })
  await (await chat(server, body)).text()
  const all = await samples()
  t.equal(sumOf(all, 'gen_ai_client_operation_duration_seconds_count', { gen_ai_provider_name: 'x_ai' }), 1)
  t.equal(sumOf(all, 'gen_ai_server_request_duration_seconds_count', { gen_ai_provider_name: 'x_ai' }), 1)
  t.equal(sumOf(all, 'signalbox_upstream_attempts_total', { provider: 'lab' }), 1, 'ours are by its own name')
})

t.test('what models cost begins at 0', async (t) => {
  const { samples } = counted({ models: { m: ['lab'] } })
  const cost = (await samples()).filter(({ name }) => name === 'signalbox_cost_usd_total')
  t.match(cost, [{ labels: { provider: 'lab', model: 'm' }, value: 0 }])
})

t.test('exemplars carry the trace of a request', async (t) => {
  const ids = { trace_id: '0af7651916cd43dd8448eb211c80319c', span_id: 'b7ad6b7169203331' }
  const { server, metrics } = counted({ idsOf: () => ids })
  await (await chat(server, { ...body, stream: true })).text()
  const { text } = await metrics.scrape('application/openmetrics-text')
  for (const name of [
    'gen_ai_client_operation_duration_seconds',
    'gen_ai_server_request_duration_seconds',
    'gen_ai_server_time_to_first_token_seconds',
  ]) {
    t.match(
      text,
      new RegExp(`^${name}_bucket\\{.*\\} 1 # \\{trace_id="${ids.trace_id}",span_id="${ids.span_id}"\\} `, 'm'),
    )
  }
  t.notMatch((await metrics.scrape()).text, ids.trace_id)
  const untraced = counted({ idsOf: () => undefined })
  await (await chat(untraced.server, body)).text()
  t.notMatch((await untraced.metrics.scrape('application/openmetrics-text')).text, 'trace_id')
})

t.test('what is made in the background is counted, and leaves nothing behind', async (t) => {
  const { server, samples } = counted()
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  await ask(server, 'POST', '', { model: 'm', input: 'hello', background: true })
  await upstream.request(0)
  t.equal(sumOf(await samples(), 'signalbox_in_flight_requests'), 0, 'its request is over')
  gate.release(10)
  await eventually(() => server.openRequests === 0)
  const all = await samples()
  t.equal(sumOf(all, 'signalbox_in_flight_requests'), 0)
  t.equal(sumOf(all, 'signalbox_upstream_attempts_total', { outcome: 'ok' }), 1)
  t.equal(sumOf(all, 'gen_ai_client_token_usage_sum', { gen_ai_token_type: 'output' }), 2)
  t.equal(sumOf(all, 'gen_ai_server_time_to_first_token_seconds_count'), undefined, 'nobody waited for its first token')
  t.equal(sumOf(all, 'signalbox_overhead_seconds_count'), 1)
})

t.test('overhead is the time in which no provider was waited for', async (t) => {
  const { server, samples } = counted()
  const slow = defineTool({ name: 'slow', execute: () => new Promise((resolve) => setTimeout(resolve, 50, 'done')) })
  server.register({ model: 'a', client: createAgent({ client: lab, tools: [slow] }) })
  const delayed: up.Behaviour = async (request, exchange) => {
    await exchange.sleep(150)
    return up.provider(request, exchange)
  }
  upstream.next(up.completion({ toolCalls: [{ name: 'slow', arguments: '{}' }] }), delayed)
  await (await chat(server, { ...body, model: 'a' })).text()
  const all = await samples()
  const overhead = sumOf(all, 'signalbox_overhead_seconds_sum', { agent: 'true' }) ?? 0
  const whole = sumOf(all, 'gen_ai_server_request_duration_seconds_sum', { gen_ai_operation_name: 'invoke_agent' }) ?? 0
  t.ok(overhead >= 0.045, 'the tool is in it')
  t.ok(overhead <= whole - 0.145, 'the provider is not')
})

t.test('nor is the time that a client takes to send its body part of it', async (t) => {
  const { server, samples, hooks } = counted()
  let received = 0
  hooks.on('onResponse', ({ receivedMs = 0 }) => {
    received = receivedMs
  })
  async function* slowly(): AsyncGenerator<Uint8Array> {
    const text = Buffer.from(JSON.stringify(body))
    yield text.subarray(0, 10)
    await new Promise((resolve) => setTimeout(resolve, 150))
    yield text.subarray(10)
  }
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, duplex: 'half' }
  const sent = { ...request, body: ReadableStream.from(slowly()) } as RequestInit
  t.equal((await server.handle(new Request('http://localhost/v1/chat/completions', sent))).status, 200)
  const all = await samples()
  const whole = sumOf(all, 'gen_ai_server_request_duration_seconds_sum') ?? 0
  t.ok(received >= 145, 'it is told')
  t.ok(whole >= 0.145, 'and part of the whole')
  t.ok((sumOf(all, 'signalbox_overhead_seconds_sum') ?? 0) <= whole - 0.145)
})

t.test('usage that is no number is not counted, and nothing else is lost', async (t) => {
  const { server, samples, hooks } = counted({ topUsers: 1 })
  hooks.on('onListenerError', ({ error }) => t.fail(String(error)))
  for (const wrong of ['many', -5, null, {}]) {
    const usage = { prompt_tokens: wrong, completion_tokens: wrong } as never
    upstream.next(up.completion({ usage }), up.completion({ usage }))
    await (await chat(server, body)).text()
    await (await chat(server, { ...body, stream: true })).text()
  }
  const all = await samples()
  t.equal(sumOf(all, 'gen_ai_client_token_usage_count'), undefined)
  t.equal(sumOf(all, 'signalbox_completions_total'), 8)
  t.equal(sumOf(all, 'signalbox_user_tokens_total'), 0)
})

t.test('a listener that fails is counted', async (t) => {
  const { server, samples, hooks } = counted()
  hooks.on('onResponse', () => {
    throw new Error('mine')
  })
  await (await chat(server, body)).text()
  t.equal(sumOf(await samples(), 'signalbox_listener_errors_total', { event: 'onResponse' }), 1)
})

t.test('who is closed listens no more, and nothing is observed for it', async (t) => {
  const { server, metrics, hooks, samples } = counted()
  metrics.close()
  await (await chat(server, body)).text()
  t.equal(sumOf(await samples(), 'signalbox_http_requests_total'), undefined)
  for (const name of ['onRequest', 'onAttempt', 'onAttemptEnd', 'onStore', 'onResponse'] as const) {
    t.equal(hooks.listens(name), false)
  }
})

t.test('the configuration in force, and how its last reload went', async (t) => {
  const { hooks, samples } = counted({ revision: 'aaa' })
  const none = { changed: [], needsRestart: [], problems: [] }
  const seen = async () => {
    const all = await samples()
    const of = (name: string) => sumOf(all, `signalbox_config_${name}`)
    const revisions = all.filter(({ name }) => name === 'signalbox_config_revision')
    return {
      revisions: revisions.map(({ labels, value }) => [labels.revision, value]),
      isGood: of('last_reload_successful'),
      restart: of('restart_required'),
      reloads: ['applied', 'unchanged', 'failed'].map((outcome) =>
        sumOf(all, 'signalbox_config_reloads_total', { outcome }),
      ),
    }
  }
  t.strictSame(await seen(), { revisions: [['aaa', 1]], isGood: 1, restart: 0, reloads: [0, 0, 0] })
  hooks.emit('onConfigReload', { ...none, outcome: 'applied', revision: 'bbb', needsRestart: ['store', 'auth'] })
  t.strictSame(await seen(), { revisions: [['bbb', 1]], isGood: 1, restart: 2, reloads: [1, 0, 0] })
  const goodAt = sumOf(await samples(), 'signalbox_config_last_reload_success_timestamp_seconds') ?? 0
  t.ok(Math.abs(goodAt - Date.now() / 1000) < 60)
  hooks.emit('onConfigReload', { ...none, outcome: 'failed', revision: 'bbb', problems: ['x'] })
  t.strictSame(await seen(), { revisions: [['bbb', 1]], isGood: 0, restart: 0, reloads: [1, 0, 1] })
  t.equal(sumOf(await samples(), 'signalbox_config_last_reload_success_timestamp_seconds'), goodAt)
  hooks.emit('onConfigReload', { ...none, outcome: 'unchanged', revision: 'bbb' })
  t.strictSame(await seen(), { revisions: [['bbb', 1]], isGood: 1, restart: 0, reloads: [1, 1, 1] })

  const bare = counted()
  bare.hooks.emit('onConfigReload', { ...none, outcome: 'failed', revision: 'x' })
  t.notOk((await bare.samples()).some(({ name }) => name.startsWith('signalbox_config_')))
})

t.test('targets of a new configuration are labels, however many others there are', async (t) => {
  const { hooks, metrics, samples } = counted({ targets: ['lab/a'] })
  const attempt = (target: string): void => {
    const [provider = '', model = ''] = target.split('/')
    const end = { operation: 'chat', outcome: 'ok', durationMs: 1, streamed: false } as const
    hooks.emit('onAttemptEnd', {
      ...end,
      requestId: 'r',
      attempt: 0,
      target: { provider, model },
    } as unknown as Parameters<typeof hooks.emit<'onAttemptEnd'>>[1])
  }
  for (let n = 0; n < mostUnnamed; n++) attempt(`p${n}/m`)
  metrics.know(['lab/a', 'new/b'])
  attempt('new/b')
  attempt('more/c')
  const targets = (await samples()).filter(({ name }) => name === 'signalbox_upstream_attempts_total')
  t.ok(targets.some(({ labels }) => labels.target === 'new/b' && labels.provider === 'new'))
  t.notOk(targets.some(({ labels }) => labels.target === 'more/c'))
})
