import Fastify from 'fastify'
import { pino } from 'pino'
import { hooks, requestLog } from 'signalbox/plugins'
import t from 'tap'
import { CLIENT_KEY, GATEWAY_KEY, type Gateway, type GatewayOptions, startGateway } from '../gateway.ts'
import { talk } from '../raw-http.ts'
import { dropAfter, errorEventAfter, failWith, gated, hang, type Json, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const SECRET = 'what-was-said'
const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: SECRET }] }
const keys = [{ key: CLIENT_KEY, user: 'ann' }]

const gatewayWith = (t: { teardown(close: () => Promise<void>): unknown }, config: GatewayOptions['config'] = {}) =>
  startGateway(t, { upstream, config: { auth: { keys }, ...config } })

/** The lines that a request leaves, once it is over. */
async function linesOf(gateway: Gateway, request: () => Promise<unknown>): Promise<Json[]> {
  const before = gateway.logs.length
  const over = Promise.withResolvers<void>()
  gateway.hooks.once('onResponse', () => over.resolve())
  await request()
  await over.promise
  return gateway.logs.slice(before).map(({ time, pid, hostname, ...line }) => line)
}

t.test('each request is one line: who, what, how long, how it ended', async (t) => {
  const gateway = await gatewayWith(t)
  const client = gateway.client()
  const completion = {
    level: 30,
    msg: 'request',
    method: 'POST',
    route: '/v1/chat/completions',
    status: 200,
    outcome: 'ok',
    userId: 'ann',
    model: 'openai/*',
    provider: 'openai',
    promptTokens: 11,
    completionTokens: 3,
    costUsd: 'unknown',
  }
  const exactly = (lines: Json[], expected: Json) => {
    t.equal(lines.length, 1)
    const [{ requestId, durationMs, ...line } = {}] = lines
    t.match(requestId, /^req_/)
    t.match(durationMs, Number)
    t.strictSame(line, expected)
  }
  const whole = await linesOf(gateway, () => client.chat.completions.create(ask))
  exactly(whole, { ...completion, stream: false })
  const stream = await linesOf(gateway, () => client.chat.completions.stream(ask).finalChatCompletion())
  exactly(stream, { ...completion, stream: true })
  const embedding = await linesOf(gateway, () => client.embeddings.create({ model: 'openai/e', input: 'a b' }))
  exactly(embedding, {
    ...completion,
    stream: false,
    route: '/v1/embeddings',
    promptTokens: 2,
    completionTokens: 0,
  })
  const { msg, level, status, outcome, userId } = completion
  exactly(await linesOf(gateway, () => client.models.retrieve('openai/m')), {
    ...{ msg, level, status, outcome, userId, stream: false },
    method: 'GET',
    route: '/v1/models/{id}',
  })
  exactly(await linesOf(gateway, () => fetch(`${gateway.url}/nowhere/${SECRET}?key=${CLIENT_KEY}`, authorized)), {
    ...{ msg, level, userId, stream: false },
    method: 'GET',
    route: '_other',
    status: 404,
    outcome: 'error',
    errorCode: 'not_found',
  })
})

const authorized = { headers: { authorization: `Bearer ${CLIENT_KEY}` } }

t.test('a request that is refused is one line, with the reason', async (t) => {
  const gateway = await gatewayWith(t)
  for (const [apiKey, call] of [
    ['sk-wrong-key', () => gateway.client({ apiKey: 'sk-wrong-key' }).chat.completions.create(ask)],
    ['', () => fetch(`${gateway.url}/v1/models`)],
  ] as const) {
    const lines = await linesOf(gateway, () => call().catch(() => undefined))
    const [refusal, ...more] = lines
    t.match(refusal, { level: 40, msg: 'request', status: 401, outcome: 'error', userId: null, stream: false })
    t.match(refusal, { reason: String, requestId: /^req_/ })
    t.same(more, [])
    t.notMatch(JSON.stringify(lines), apiKey || CLIENT_KEY)
  }
})

t.test('a request that OPTIONS answers, or whose Host or URL cannot be read, is one line', async (t) => {
  const gateway = await gatewayWith(t)
  for (const [head, status] of [
    ['OPTIONS /v1/models HTTP/1.1\r\nhost: a', 204],
    ['GET /health HTTP/1.1\r\nhost: a b', 400],
    ['GET /v1/models/% HTTP/1.1\r\nhost: a', 400],
  ] as const) {
    const before = gateway.logs.length
    const [answer] = await talk(gateway.port, [`${head}\r\n\r\n`])
    t.equal(answer?.status, status)
    const lines = gateway.logs.slice(before)
    t.match(lines, [{ msg: 'request', status, requestId: answer?.headers['x-request-id'] ?? 'none' }], head)
    t.equal(lines.length, 1)
  }
})

t.test('a failure of an upstream is a line of its own, with its cause', async (t) => {
  const gateway = await gatewayWith(t)
  const client = gateway.client()
  upstream.behave(failWith(500))
  const failed = await linesOf(gateway, () => t.rejects(client.chat.completions.create(ask)))
  t.match(failed, [
    { level: 50, msg: 'request failed', error: { message: /status 500/, cause: { message: 'upstream answered 500' } } },
    { level: 30, msg: 'request', status: 502, outcome: 'error', errorCode: 'upstream_error', model: 'openai/*' },
  ])
  t.equal(failed.length, 2)
  t.equal(failed[0]?.requestId, failed[1]?.requestId)

  upstream.behave(dropAfter(2))
  const broken = await linesOf(gateway, () => t.rejects(client.chat.completions.stream(ask).finalChatCompletion()))
  t.match(broken, [
    { level: 50, msg: 'request failed' },
    { msg: 'request', status: 200, outcome: 'stream_error', errorCode: 'upstream_connection_lost', estimated: true },
  ])
  t.equal(broken.length, 2)

  upstream.behave(failWith(400))
  const rejected = await linesOf(gateway, () => t.rejects(client.chat.completions.create(ask)))
  t.match(rejected, [{ level: 30, msg: 'request', status: 400, outcome: 'error' }])
  t.equal(rejected.length, 1, 'a mistake of the client is no failure')
})

t.test('probes are seen only by who wants to', async (t) => {
  const quiet = await gatewayWith(t)
  for (const path of ['/health', '/ready', '/health?x', '/ready/', '/metrics']) {
    t.same(await linesOf(quiet, () => fetch(quiet.url + path)), [], path)
  }
  const debug = await gatewayWith(t, { server: { logLevel: 'debug' } })
  t.match(await linesOf(debug, () => fetch(`${debug.url}/health`)), [{ level: 20, route: '/health', status: 200 }])
})

t.test('a log of what fails has no lines of requests', async (t) => {
  const refused = (gateway: Gateway) => () => fetch(`${gateway.url}/v1/models`)
  const asked = (gateway: Gateway) => () =>
    gateway
      .client()
      .chat.completions.create(ask)
      .catch(() => undefined)
  const warns = await gatewayWith(t, { server: { logLevel: 'warn' } })
  t.match(await linesOf(warns, refused(warns)), [{ level: 40, status: 401, reason: String }])
  t.same(await linesOf(warns, asked(warns)), [])
  const errors = await gatewayWith(t, { server: { logLevel: 'error' } })
  t.same(await linesOf(errors, refused(errors)), [])
  upstream.behave(failWith(500))
  t.match(await linesOf(errors, asked(errors)), [{ level: 50, msg: 'request failed' }])
})

t.test('no line, of any level, holds a key or what was said', async (t) => {
  const gateway = await gatewayWith(t, { server: { logLevel: 'trace' } })
  const client = gateway.client()
  const stream = () => client.chat.completions.stream({ ...ask, user: SECRET }).finalChatCompletion()
  const whole = () => client.chat.completions.create({ ...ask, metadata: { note: SECRET } })
  const calls: [behaviour: Parameters<typeof upstream.behave>[0], call: () => Promise<unknown>][] = [
    [undefined, whole],
    [undefined, stream],
    [undefined, () => client.embeddings.create({ model: 'openai/e', input: SECRET })],
    [failWith(400, { error: { message: `you said ${SECRET}` } }), whole],
    [failWith(401, { error: { message: `bad key ${GATEWAY_KEY}` } }), whole],
    [failWith(500, { error: { message: `you said ${SECRET}` } }), stream],
    [errorEventAfter(2, { message: `you said ${SECRET}` }), stream],
    [errorEventAfter(0, { message: `you said ${SECRET}`, code: 400 }), stream],
    [dropAfter(2), stream],
    [undefined, () => gateway.post('/v1/chat/completions', `{"secret":${SECRET}}`)],
    [undefined, () => gateway.post('/v1/chat/completions', { ...ask, model: '', n: SECRET })],
    [undefined, () => gateway.client({ apiKey: `sk-${SECRET}` }).models.list()],
    [undefined, () => fetch(`${gateway.url}/v1/models?key=${CLIENT_KEY}`)],
    [hang(), () => client.chat.completions.create(ask, { timeout: 30 })],
    [gated([SECRET]).behaviour, () => client.chat.completions.create({ ...ask, stream: true }, { timeout: 30 })],
  ]
  for (const [behaviour, call] of calls) {
    upstream.behave(behaviour)
    const lines = await linesOf(gateway, () => call().catch(() => undefined))
    t.equal(lines.filter(({ msg }) => msg === 'request').length, 1)
  }
  const text = JSON.stringify(gateway.logs)
  for (const secret of [SECRET, CLIENT_KEY, GATEWAY_KEY, 'Bearer ']) t.notMatch(text, secret)
})

t.test('a listener that throws or rejects changes nothing, and is reported', async (t) => {
  const gateway = await gatewayWith(t)
  for (const event of ['onRequest', 'onCompletion', 'onResponse'] as const) {
    gateway.hooks.on(event, () => {
      throw new Error(`thrown in ${event}`)
    })
    gateway.hooks.on(event, () => Promise.reject(new Error(`rejected in ${event}`)))
  }
  const client = gateway.client()
  const lines = await linesOf(gateway, () => client.chat.completions.create(ask))
  t.equal(lines.filter(({ msg }) => msg === 'request').length, 1)
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion()
  t.match(streamed.choices[0]?.message.content, SECRET)
  const reports = gateway.logs.filter(({ msg }) => msg === 'a hook listener failed')
  t.equal(reports.length, 2 * 3 * 2)
  t.match(reports[0], { level: 50, event: 'onRequest', error: { message: 'thrown in onRequest' } })
})

t.test('in an app of one’s own it logs what the hooks tell', async (t) => {
  const lines: Json[] = []
  const app = Fastify({ loggerInstance: pino({}, { write: (line) => lines.push(JSON.parse(line)) }) })
  t.teardown(() => app.close())
  await app.register(hooks)
  await app.register(requestLog)
  app.hooks.emit('onResponse', {
    requestId: 'r',
    method: 'GET',
    route: '/mine',
    status: 200,
    outcome: 'ok',
    userId: null,
    stream: false,
    durationMs: 1.23456,
  })
  t.match(lines, [{ level: 30, msg: 'request', requestId: 'r', route: '/mine', durationMs: 1.2 }])
  t.notOk('promptTokens' in (lines[0] ?? {}))
})

t.test('what needs an eye on is a warning, what always happens is for who looks for it', async (t) => {
  const gateway = await gatewayWith(t, { server: { logLevel: 'debug' } })
  const { hooks, logs } = gateway
  const target = { provider: 'openai', model: 'm' }
  const retry = { requestId: 'r', target, attempt: 1, reason: 'upstream_error' }
  const tool = { requestId: 'r', tool: 'clock', durationMs: 1 }
  const levelOf = (emit: () => void): unknown => {
    emit()
    return logs.at(-1)?.level
  }
  const [debug, info, warn] = [20, 30, 40]
  t.equal(
    levelOf(() => hooks.emit('onRetry', { ...retry, delayMs: 5 })),
    info,
  )
  t.equal(
    levelOf(() => hooks.emit('onRetryBudgetSpent', retry)),
    debug,
  )
  for (const [state, level] of [
    ['open', warn],
    ['half_open', info],
    ['closed', info],
  ] as const) {
    t.equal(
      levelOf(() => hooks.emit('onBreaker', { target, state })),
      level,
      state,
    )
  }
  for (const [outcome, level] of [
    ['ok', debug],
    ['failed', info],
  ] as const) {
    t.equal(
      levelOf(() => hooks.emit('onTool', { ...tool, outcome })),
      level,
      outcome,
    )
  }
})

t.test('what was made in the background is a line of its own', async (t) => {
  const gateway = await gatewayWith(t)
  const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12, estimated: false }
  const end = { requestId: 'r', route: '/v1/responses', userId: 'ann', outcome: 'ok', durationMs: 2.345 } as const
  gateway.hooks.emit('onBackgroundEnd', { ...end, usage })
  const { time, pid, hostname, ...line } = gateway.logs.at(-1) ?? {}
  t.strictSame(line, {
    ...{ ...end, level: 30, msg: 'made in the background', durationMs: 2.3 },
    ...{ promptTokens: 5, completionTokens: 7 },
  })
})

t.test('why a guardrail stopped a turn is not in the log: it may quote what was said', async (t) => {
  const gateway = await gatewayWith(t)
  const line = { requestId: 'req_1', model: 'm', guardrail: 'cards', stage: 'input' } as const
  gateway.hooks.emit('onGuardrail', { ...line, reason: SECRET })
  t.match(gateway.logs.at(-1), { ...line, msg: 'a guardrail stopped a turn' })
  t.notMatch(JSON.stringify(gateway.logs), SECRET)
})

t.test('what is no HTTP is a line, too', async (t) => {
  const gateway = await gatewayWith(t)
  const lines = await linesOf(gateway, () => talk(gateway.port, [`GARBAGE ${SECRET}\r\n\r\n`]))
  t.match(lines, [
    { msg: 'request', method: '_other', route: '_other', status: 400, errorCode: 'invalid_request_error' },
  ])
  t.notMatch(JSON.stringify(gateway.logs), SECRET)
})
