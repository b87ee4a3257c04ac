/** The failure table of the gateway, as its spans tell it. */
import t from 'tap'
import { CLIENT_KEY } from '../gateway.ts'
import { startTraced, type TracedGateway } from '../traced.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())

const ask = { model: 'openai/m', messages: [{ role: 'user', content: 'hello' }] }
/** Each request is one attempt. */
const alone = { retries: { max: 0 }, breaker: { enabled: false } }
const timeouts = { firstToken: '100ms', idle: '100ms', total: '1s' }
const keys = [{ key: CLIENT_KEY, models: ['openai/*', 'deaf/*'] }]

interface Row {
  what: string
  /** What the provider does. */
  upstream?: up.Behaviour
  call?: (gateway: TracedGateway) => Promise<unknown>
  /** Of the server's span; no error unless it says so. */
  status?: number
  server?: string
  /** Of the provider's call, if there is one. */
  attempt?: string
  /** What it says beside that. */
  outcome?: string
  code?: string
}

const send =
  (body: object, headers = {}) =>
  async ({ post }: TracedGateway): Promise<string> =>
    (await post('/v1/chat/completions', body, { headers })).text()
const streamed = send({ ...ask, stream: true })

/** A client that leaves as soon as the provider has the request, or the first token is here. */
const leaving =
  (stream: boolean) =>
  async ({ post }: TracedGateway): Promise<void> => {
    const abort = new AbortController()
    const answer = post('/v1/chat/completions', { ...ask, stream }, { signal: abort.signal })
    answer.catch(() => undefined)
    if (stream) await (await answer).body?.getReader().read()
    else await upstream.request(0)
    abort.abort()
  }

const rows: Row[] = [
  { what: 'malformed JSON', call: send('{' as unknown as object), status: 400, outcome: 'error' },
  { what: 'no key', call: send(ask, { authorization: '' }), status: 401, code: 'invalid_api_key' },
  {
    what: 'an unknown model',
    call: send({ ...ask, model: 'openai' }),
    status: 404,
    code: 'model_not_found',
  },
  {
    what: 'a model that the key may not use',
    call: send({ ...ask, model: 'closed/m' }),
    status: 403,
    code: 'model_not_allowed',
  },
  { what: 'an unknown path', call: ({ post }) => post('/v1/nothing', {}), status: 404, code: 'not_found' },
  { what: 'a wrong method', call: ({ post }) => post('/v1/models', {}), status: 405, code: 'method_not_allowed' },
  { what: 'a body over the limit', call: send({ ...ask, x: 'x'.repeat(3000) }), status: 413, code: 'body_too_large' },
  { what: 'upstream 400', upstream: up.failWith(400), status: 400, attempt: 'invalid_request_error' },
  {
    what: 'upstream 401',
    upstream: up.failWith(401),
    status: 502,
    server: 'upstream_auth_error',
    attempt: 'upstream_auth_error',
  },
  { what: 'upstream 429', upstream: up.failWith(429), status: 429, attempt: 'rate_limit_exceeded' },
  {
    what: 'upstream 500',
    upstream: up.failWith(500),
    status: 502,
    server: 'upstream_error',
    attempt: 'upstream_error',
  },
  {
    what: 'upstream 503',
    upstream: up.failWith(503),
    status: 503,
    server: 'upstream_overloaded',
    attempt: 'upstream_overloaded',
  },
  {
    what: 'reset',
    upstream: up.dropBeforeResponse(),
    status: 502,
    server: 'upstream_connection_lost',
    attempt: 'upstream_connection_lost',
  },
  {
    what: 'refused',
    call: send({ ...ask, model: 'deaf/m' }),
    status: 503,
    server: 'upstream_unreachable',
    attempt: 'upstream_unreachable',
  },
  {
    what: 'no first token',
    upstream: up.hang(),
    call: streamed,
    status: 504,
    server: 'upstream_first_token_timeout',
    attempt: 'upstream_first_token_timeout',
  },
  {
    what: 'a page instead of JSON',
    upstream: up.notJson(200),
    status: 502,
    server: 'upstream_malformed',
    attempt: 'upstream_malformed',
  },
  {
    what: 'a stream that breaks',
    upstream: up.dropAfter(2),
    call: streamed,
    status: 200,
    server: 'upstream_connection_lost',
    attempt: 'upstream_connection_lost',
    outcome: 'stream_error',
  },
  {
    what: 'a stream without its end',
    upstream: up.endWithoutDone(2),
    call: streamed,
    status: 200,
    server: 'upstream_truncated',
    attempt: 'upstream_truncated',
    outcome: 'stream_error',
  },
  {
    what: 'a client that leaves before the answer',
    upstream: up.hang(),
    call: leaving(false),
    outcome: 'client_closed',
    code: 'client_closed',
    attempt: 'aborted',
  },
  {
    what: 'a client that leaves a stream',
    upstream: up.completion({ tokens: ['a', 'b'], delayMs: 5000 }),
    call: leaving(true),
    status: 200,
    outcome: 'client_closed',
    attempt: 'aborted',
  },
]

t.test('each row of the failure table', async (t) => {
  const gateway = await startTraced(t, {
    upstream,
    provider: { timeouts },
    config: {
      server: { bodyLimit: 2048 },
      auth: { keys },
      providers: {
        openai: { baseURL: upstream.baseURL, apiKey: 'sk-gateway', timeouts, ...alone },
        closed: { kind: 'openai-compatible', baseURL: upstream.baseURL },
        deaf: { kind: 'openai-compatible', baseURL: 'http://127.0.0.1:1/v1', ...alone },
      },
    },
  })
  const { collector } = gateway
  for (const { what, call = send(ask), status, server, attempt, outcome, code = server, ...row } of rows) {
    t.test(what, async (t) => {
      upstream.reset()
      collector.spans.length = 0
      if (row.upstream) upstream.behave(row.upstream)
      await call(gateway)
      const [span] = await collector.named(/^POST/)
      t.equal(span?.attributes['http.response.status_code'], status)
      t.equal(span?.status, server ? 'ERROR' : 'UNSET')
      t.equal(span?.attributes['error.type'], server)
      t.equal(span?.attributes['signalbox.outcome'], outcome ?? 'error')
      if (code) t.equal(span?.attributes['signalbox.error.code'], code)
      if (attempt) {
        const asked = await collector.only('chat m')
        t.equal(asked.parentSpanId, span?.spanId)
        t.equal(asked.status, attempt === 'aborted' ? 'UNSET' : 'ERROR')
        if (attempt === 'aborted') t.equal(asked.attributes['signalbox.outcome'], 'aborted')
        else t.equal(asked.attributes['error.type'], attempt)
      } else t.notOk(collector.spans.some(({ name }) => name.startsWith('chat')))
    })
  }
})

t.test('a conversation that is locked, and a store that is away', async (t) => {
  const away = () => Promise.reject(new Error('away'))
  const gateway = await startTraced(t, {
    upstream,
    config: { conversations: { lockTimeout: '10ms' } },
    extension: {
      conversationLoader: { load: ({ conversationId }) => (conversationId === 'lost' ? away() : null), save: () => {} },
    },
  })
  const { collector } = gateway
  upstream.reset()
  upstream.next(up.hang())
  const abort = new AbortController()
  const headers = { 'x-conversation-id': 'c1' }
  const first = gateway.post('/v1/chat/completions', ask, { headers, signal: abort.signal }).catch(() => undefined)
  await upstream.request(0)
  t.equal((await gateway.post('/v1/chat/completions', ask, { headers })).status, 409)
  const locked = (await collector.named('conversation lock', 2)).find(({ status }) => status === 'ERROR')
  t.equal(locked?.attributes['error.type'], 'locked')
  const [refused] = await collector.named(/^POST/)
  t.match(refused, {
    status: 'UNSET',
    attributes: { 'http.response.status_code': 409, 'signalbox.error.code': 'conversation_locked' },
  })
  abort.abort()
  await first

  collector.spans.length = 0
  const lost = await gateway.post('/v1/chat/completions', ask, { headers: { 'x-conversation-id': 'lost' } })
  t.equal(lost.status, 503)
  t.match(await collector.only('conversation load'), { status: 'ERROR', attributes: { 'error.type': 'failed' } })
  const failed = (await collector.named(/^POST/)).find(
    ({ attributes }) => attributes['http.response.status_code'] === 503,
  )
  t.match(failed, { status: 'ERROR', attributes: { 'error.type': 'store_unavailable' } })
})
