import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import OpenAI, { APIError } from 'openai'
import t, { type Test } from 'tap'
import { eventually } from '../core.ts'
import { dataOf, type Gateway, startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { scraped, sumOf } from '../scrape.ts'
import {
  type Behaviour,
  completion,
  completionBody,
  completionChunks,
  dropAfter,
  dropBeforeResponse,
  endWithoutDone,
  errorEventAfter,
  failWith,
  hang,
  malformedAfter,
  notJson,
  stallFirstByte,
  startUpstream,
  UPSTREAM_SECRET,
} from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const gateway = await startGateway(t, { upstream })

const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello there' }] }

type Call = (client: OpenAI) => Promise<unknown>

const complete: Call = (client) => client.chat.completions.create(ask)
const stream: Call = (client) => client.chat.completions.create({ ...ask, stream: true })
const embed: Call = (client) => client.embeddings.create({ model: 'openai/e', input: 'text' })

/** A call of the API with whatever body. */
const post =
  (path: string, body: unknown, headers: Record<string, string> = {}): Call =>
  (client) =>
    client.post(path, { body, headers: { 'content-type': 'application/json', ...headers } })

interface Expectation {
  class?: new (...args: never[]) => APIError
  status: number
  code: string | null
  type: string
  param?: string | null
  message?: string | RegExp
  /** `null`: absent. */
  headers?: Record<string, string | RegExp | null>
}

/** What the official client and the wire make of a call that fails; everything that is true of all errors is checked. */
async function fails(
  t: Test,
  call: Call,
  { class: Class = APIError, headers = {}, param = null, message, ...expected }: Expectation,
  on: Gateway = gateway,
): Promise<string> {
  let answer: Response | undefined
  let text = ''
  const client = on.client({
    fetch: async (...args) => {
      answer = await fetch(...args)
      text = await answer.clone().text()
      return answer
    },
  })
  const error = await call(client).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(error instanceof APIError) || !answer) throw new Error(`not refused by an API error: ${error}`)
  t.type(error, Class)
  const { status, code, type } = error
  t.strictSame({ status, code, type, param: error.param }, { ...expected, param })
  if (message !== undefined) t.match(JSON.parse(text).error.message, message)
  t.match(answer.headers.get('content-type'), /^application\/json(; charset=utf-8)?$/)
  t.match(error.requestID, /^req_[\w-]+$/)
  t.equal(error.requestID, answer.headers.get('x-request-id'))
  t.ok(on.requestLines().some(({ requestId, status }) => requestId === error.requestID && status === error.status))
  assertSchema('ErrorResponse', JSON.parse(text))
  for (const [name, value] of Object.entries(headers)) {
    if (value instanceof RegExp) t.match(answer.headers.get(name), value, name)
    else t.equal(answer.headers.get(name), value, name)
  }
  t.notMatch(JSON.stringify([...answer.headers]), /upstream-|cookie/, 'no header of the upstream')
  return text
}

const invalid = { class: OpenAI.BadRequestError, status: 400, type: 'invalid_request_error', code: null }
const upstreamFailure = { class: OpenAI.InternalServerError, type: 'server_error' }

t.test('a body that is not a JSON object is a 400', async (t) => {
  for (const body of ['{"model":', '{"a":1}}', "{'a':1}", '\u0000', 'null', '3', '"text"', '[]', '   ', '[{}]']) {
    for (const path of ['/chat/completions', '/embeddings']) await fails(t, post(path, body), invalid)
  }
  await fails(t, (client) => client.post('/chat/completions'), invalid)
  const text = await fails(t, post('/chat/completions', '{"secret": sk-1234}'), invalid)
  t.notMatch(text, 'sk-1234', 'the message does not quote the body')
})

const message = (fields: object): object => ({ ...ask, messages: [ask.messages[0], fields] })

const mistakes: [param: string, body: object][] = [
  ['model', { ...ask, model: undefined }],
  ['model', { ...ask, model: 1 }],
  ['model', { ...ask, model: '' }],
  ['messages', { ...ask, messages: undefined }],
  ['messages', { ...ask, messages: 'hello' }],
  ['messages', { ...ask, messages: [] }],
  ['messages[0]', { ...ask, messages: ['hello'] }],
  ['messages[1].role', message({ content: 'a' })],
  ['messages[1].role', message({ role: 1, content: 'a' })],
  ['messages[1].content', message({ role: 'user', content: 1 })],
  ['messages[1].content', message({ role: 'user', content: { text: 'a' } })],
  ['messages[1].tool_calls', message({ role: 'assistant', tool_calls: {} })],
  ['stream', { ...ask, stream: 'yes' }],
  ['stream_options', { ...ask, stream: true, stream_options: 'usage' }],
  ['tools', { ...ask, tools: {} }],
  ['tools[0]', { ...ask, tools: ['weather'] }],
  ['tool_choice', { ...ask, tool_choice: 1 }],
  ['response_format', { ...ask, response_format: 'json' }],
  ['temperature', { ...ask, temperature: 'hot' }],
  ['n', { ...ask, n: 1.5 }],
  ['max_tokens', { ...ask, max_tokens: '10' }],
  ['logprobs', { ...ask, logprobs: 1 }],
  ['logit_bias', { ...ask, logit_bias: [] }],
  ['metadata', { ...ask, metadata: 'a' }],
  ['user', { ...ask, user: 1 }],
  ['stop', { ...ask, stop: 1 }],
]

for (const [param, body] of mistakes) {
  t.test(`a wrong or missing ${param} is a 400 that names it: ${JSON.stringify(body)}`, async (t) => {
    await fails(t, post('/chat/completions', body), { ...invalid, param, message: param })
    t.equal(upstream.requests.length, 0)
  })
}

t.test('a wrong or missing field of an embedding is a 400 that names it', async (t) => {
  const mistakes: [param: string, body: object][] = [
    ['model', { input: 'a' }],
    ['input', { model: 'openai/e' }],
    ['input', { model: 'openai/e', input: { text: 'a' } }],
    ['dimensions', { model: 'openai/e', input: 'a', dimensions: '8' }],
    ['encoding_format', { model: 'openai/e', input: 'a', encoding_format: 1 }],
  ]
  for (const [param, body] of mistakes) await fails(t, post('/embeddings', body), { ...invalid, param, message: param })
})

t.test('a body nested too deeply is a 400', async (t) => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
  const body = (depth: number) => `{"x":${nested(depth)},${JSON.stringify(ask).slice(1)}`
  t.equal((await gateway.post('/v1/chat/completions', body(127))).status, 200)
  await fails(t, post('/chat/completions', body(128)), { ...invalid, message: '128' })
  await fails(t, post('/chat/completions', body(100_000)), invalid)
  // A number that only a reviver keeps whole makes the parser recurse.
  await fails(t, post('/chat/completions', `{"seed":9223372036854775807,${body(100_000).slice(1)}`), invalid)
})

t.test('without a good key', async (t) => {
  const key = 'sk-the-only-good-key'
  const locked = await startGateway(t, {
    upstream,
    config: { auth: { keys: [{ key, user: 'ann', models: ['openai/allowed', 'openai/mini-*'] }] } },
  })
  const refused = {
    class: OpenAI.AuthenticationError,
    status: 401,
    type: 'authentication_error',
    code: 'invalid_api_key',
    headers: { 'www-authenticate': /^Bearer/ },
  }
  const as =
    (authorization: string | null, call: Call = complete): Call =>
    (client) =>
      call(client.withOptions({ defaultHeaders: { authorization } }))

  t.test('a call is a 401 that does not echo the key', async (t) => {
    for (const authorization of [
      null,
      'Bearer sk-this-is-a-wrong-key',
      `Bearer ${key}x`,
      `Bearer ${key} ${key}`,
      'Bearer ',
      'Bearer',
      `Basic ${Buffer.from(`:${key}`).toString('base64')}`,
      key,
    ]) {
      t.notMatch(await fails(t, as(authorization), refused, locked), 'sk-')
    }
    for (const call of [stream, embed, post('/chat/completions', '{'), (client: OpenAI) => client.models.list()]) {
      await fails(t, as('Bearer sk-this-is-a-wrong-key', call), refused, locked)
    }
    t.equal(upstream.requests.length, 0)
  })

  t.test('the scheme may be written in any case', async (t) => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      const models = locked.client({ defaultHeaders: { authorization: `${scheme} ${key}` } }).models
      t.equal((await models.retrieve('openai/allowed')).id, 'openai/allowed')
    }
  })

  t.test('a model that the key may not use is a 403', async (t) => {
    const forbidden = {
      class: OpenAI.PermissionDeniedError,
      status: 403,
      type: 'permission_error',
      code: 'model_not_allowed',
      param: 'model',
      message: 'openai/',
    }
    for (const call of [complete, stream, embed, (client: OpenAI) => client.models.retrieve('openai/m')]) {
      await fails(t, as(`Bearer ${key}`, call), forbidden, locked)
    }
    t.equal(upstream.requests.length, 0)
    const allowed = locked.client({ apiKey: key })
    for (const model of ['openai/allowed', 'openai/mini-1']) await allowed.chat.completions.create({ ...ask, model })
    t.equal(upstream.requests.length, 2)
  })
})

t.test('a model that nobody serves is a 404', async (t) => {
  const notFound = {
    class: OpenAI.NotFoundError,
    status: 404,
    type: 'not_found_error',
    code: 'model_not_found',
    param: 'model',
    message: /^model "nope" not found$/,
  }
  await fails(t, post('/chat/completions', { ...ask, model: 'nope' }), notFound)
  await fails(t, post('/chat/completions', { ...ask, model: 'nope', stream: true }), notFound)
  await fails(t, post('/embeddings', { model: 'nope', input: 'a' }), notFound)
  await fails(t, (client) => client.models.retrieve('nope'), notFound)
})

t.test('a path that is none is a 404', async (t) => {
  const notFound = { class: OpenAI.NotFoundError, status: 404, type: 'not_found_error', code: 'not_found' }
  await fails(t, (client) => client.get('/nowhere'), notFound)
  await fails(t, (client) => client.delete('/'), notFound)
  await fails(t, post('/chat', '{'), notFound)
  await fails(t, (client) => client.withOptions({ baseURL: gateway.url }).get('/'), notFound)
})

t.test('a method that a path does not take is a 405 that names those it takes', async (t) => {
  const refused = { status: 405, type: 'invalid_request_error', code: 'method_not_allowed' }
  const allow = (methods: string) => ({ ...refused, headers: { allow: methods } })
  await fails(t, (client) => client.delete('/chat/completions'), allow('POST, GET, HEAD'))
  await fails(t, (client) => client.put('/embeddings', { body: {} }), allow('POST'))
  await fails(t, (client) => client.post('/models', { body: {} }), allow('GET, HEAD'))
  await fails(t, (client) => client.delete('/models/openai/m'), allow('GET, HEAD'))
})

t.test('a body over the limit is a 413', async (t) => {
  const small = await startGateway(t, { upstream, config: { server: { bodyLimit: 2048 } } })
  const tooLarge = { status: 413, type: 'invalid_request_error', code: 'body_too_large', message: '2048' }
  const padded = (length: number) => JSON.stringify({ ...ask, x: 'x'.repeat(length - JSON.stringify(ask).length - 7) })
  t.equal(padded(2048).length, 2048)
  t.equal((await small.post('/v1/chat/completions', padded(2048))).status, 200)
  await fails(t, post('/chat/completions', padded(2049)), tooLarge, small)
  await fails(t, post('/embeddings', padded(1_000_000)), tooLarge, small)
  t.equal(upstream.requests.length, 1)
})

t.test('ten mebibytes are within the default limit, and a byte more is not', async (t) => {
  const limit = 10 * 1024 * 1024
  upstream.behave(completion({ text: 'that was long', usage: { prompt_tokens: 1 } }))
  const body = (length: number) => {
    const [before = '', after = ''] = JSON.stringify({ ...ask, x: '|' }).split('|')
    return before + 'x'.repeat(length - before.length - after.length) + after
  }
  t.equal((await gateway.post('/v1/chat/completions', body(limit))).status, 200)
  t.equal(upstream.last().rawBody.length, limit - 'openai/'.length)
  await fails(t, post('/chat/completions', body(limit + 1)), {
    status: 413,
    type: 'invalid_request_error',
    code: 'body_too_large',
  })
})

t.test('a body of another content type is a 415', async (t) => {
  const refused = { status: 415, type: 'invalid_request_error', code: 'unsupported_media_type' }
  for (const type of [
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/html',
    'nonsense',
  ]) {
    await fails(t, post('/chat/completions', JSON.stringify(ask), { 'content-type': type }), refused)
  }
  for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'text/plain', 'application/vnd.a+json']) {
    const { status } = await gateway.post('/v1/chat/completions', ask, { headers: { 'content-type': type } })
    t.equal(status, 200, type)
  }
})

t.test('a bug of the gateway is a 500 without detail, not to be retried', async (t) => {
  const buggy = () => {
    throw new TypeError('secret-detail is not a function')
  }
  const broken = await startGateway(t, { upstream })
  broken.app.modelRouter.register({
    model: 'buggy',
    client: { provider: 'buggy', model: 'buggy', complete: buggy, stream: buggy, embed: buggy },
  })
  const failure = {
    ...upstreamFailure,
    status: 500,
    code: 'internal_error',
    message: /^the gateway failed; please report the request id req_[\w-]+$/,
    headers: { 'x-should-retry': 'false' },
  }
  for (const body of [
    { ...ask, model: 'buggy' },
    { ...ask, model: 'buggy', stream: true },
  ]) {
    t.notMatch(await fails(t, post('/chat/completions', body), failure, broken), 'secret-detail')
  }
  await fails(t, post('/embeddings', { model: 'buggy', input: 'a' }), failure, broken)
  t.equal(
    broken.logs.filter(({ level, error }) => level === 50 && JSON.stringify(error).includes('secret-detail')).length,
    3,
  )
})

t.test('what the upstream says of a bad request passes through', async (t) => {
  const classes: [number, Expectation['class']][] = [
    [400, OpenAI.BadRequestError],
    [404, OpenAI.NotFoundError],
    [409, OpenAI.ConflictError],
    [413, APIError],
    [422, OpenAI.UnprocessableEntityError],
  ]
  for (const [status, Class = APIError] of classes) {
    t.test(`with status ${status}`, async (t) => {
      for (const call of [complete, stream, embed]) {
        const error = {
          message: 'too long',
          type: 'tokens',
          param: 'messages',
          code: 'context_length_exceeded',
          x: [1],
        }
        upstream.behave(failWith(status, { error, note: 'own' }))
        const expected = { class: Class, status, type: 'tokens', param: 'messages', code: 'context_length_exceeded' }
        t.strictSame(JSON.parse(await fails(t, call, expected)), { error, note: 'own' })
      }
      t.equal(upstream.requests.length, 3)
    })
  }

  t.test('completed to the envelope of OpenAI when a part is missing', async (t) => {
    for (const error of [
      { message: 'odd' },
      { message: 'odd', code: 'c' },
      { message: 'odd', type: 'x', param: 'p' },
    ]) {
      upstream.behave(failWith(400, { error }))
      const expected = { code: null, param: null, type: 'invalid_request_error', ...error }
      await fails(t, complete, { class: OpenAI.BadRequestError, status: 400, ...expected })
    }
  })

  t.test('wrapped into it when it is something else', async (t) => {
    const bodies: [body: unknown, message: string][] = [
      [{ error: 'model is loading' }, 'model is loading'],
      [{ object: 'error', message: 'bad seed', code: 400 }, 'bad seed'],
      [{ detail: 'no such field' }, 'no such field'],
      [{ detail: [{ loc: ['body', 'seed'], msg: 'not an integer' }] }, 'not an integer'],
      [{}, '400'],
      [[], '400'],
      ['text', '400'],
    ]
    for (const [body, message] of bodies) {
      upstream.behave(failWith(400, body))
      await fails(t, complete, { ...invalid, message })
    }
    upstream.behave(notJson(400))
    for (const call of [complete, stream, embed]) t.notMatch(await fails(t, call, invalid), UPSTREAM_SECRET)
  })
})

const overloaded = { ...upstreamFailure, status: 503, code: 'upstream_overloaded' }
const limited = { class: OpenAI.RateLimitError, status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' }
const refusedUs = {
  ...upstreamFailure,
  status: 502,
  code: 'upstream_auth_error',
  headers: { 'x-should-retry': 'false' },
}
const failed = { ...upstreamFailure, status: 502, code: 'upstream_error' }
const quota = {
  error: { message: UPSTREAM_SECRET, type: 'insufficient_quota', param: null, code: 'insufficient_quota' },
}
const inSeconds = (seconds: number): string => new Date(Date.now() + seconds * 1000).toUTCString()

const failures: Record<string, [Behaviour, Expectation]> = {
  'answers 401': [failWith(401), refusedUs],
  'answers 402': [failWith(402), refusedUs],
  'answers 403': [failWith(403), refusedUs],
  'answers 429': [failWith(429), { ...limited, headers: { 'retry-after': '1', 'x-should-retry': null } }],
  'answers 429 with Retry-After': [
    failWith(429, undefined, { 'retry-after': '7' }),
    { ...limited, headers: { 'retry-after': '7' } },
  ],
  'answers 429 with a Retry-After that no SDK would wait for': [
    failWith(429, undefined, { 'retry-after': '3600' }),
    { ...limited, headers: { 'retry-after': '60' } },
  ],
  'answers 429 with Retry-After: 0': [
    failWith(429, undefined, { 'retry-after': '0' }),
    { ...limited, headers: { 'retry-after': '1' } },
  ],
  'answers 429 with a date in Retry-After': [
    failWith(429, undefined, { 'retry-after': inSeconds(20) }),
    { ...limited, headers: { 'retry-after': /^(1\d|20)$/ } },
  ],
  'answers 429 with nonsense in Retry-After': [
    failWith(429, undefined, { 'retry-after': 'soon' }),
    { ...limited, headers: { 'retry-after': '1' } },
  ],
  'answers 429 with retry-after-ms': [
    failWith(429, undefined, { 'retry-after-ms': '2500' }),
    { ...limited, headers: { 'retry-after': '3' } },
  ],
  'answers 429 for want of credit': [
    failWith(429, quota),
    { ...limited, code: 'insufficient_quota', headers: { 'x-should-retry': 'false' } },
  ],
  'answers 500': [failWith(500), { ...failed, headers: { 'x-should-retry': null } }],
  'answers 501 with a page': [notJson(501), failed],
  'answers 503': [failWith(503, undefined, { 'retry-after': '9' }), { ...overloaded, headers: { 'retry-after': '9' } }],
  'answers 529': [failWith(529), { ...overloaded, headers: { 'retry-after': '1' } }],
  'answers 408': [failWith(408), { ...upstreamFailure, status: 504, code: 'upstream_timeout' }],
  'answers 504 with a page': [notJson(504), { ...upstreamFailure, status: 504, code: 'upstream_timeout' }],
  redirects: [failWith(302, {}, { location: 'http://127.0.0.1:1/' }), failed],
  'resets the connection': [
    dropBeforeResponse(),
    { ...upstreamFailure, status: 502, code: 'upstream_connection_lost' },
  ],
}

for (const [name, [behaviour, expected]] of Object.entries(failures)) {
  t.test(`an upstream that ${name} is a ${expected.status} ${expected.code}`, async (t) => {
    upstream.behave(behaviour)
    for (const call of [complete, stream, embed]) t.notMatch(await fails(t, call, expected), UPSTREAM_SECRET)
    t.equal(upstream.requests.length, 3)
  })
}

t.test('an upstream that answers something else than JSON is a 502', async (t) => {
  const malformed = { ...upstreamFailure, status: 502, code: 'upstream_malformed' }
  for (const behaviour of [notJson(200), failWith(200, []), failWith(200, 'text')]) {
    upstream.behave(behaviour)
    for (const call of [complete, embed]) t.notMatch(await fails(t, call, malformed), UPSTREAM_SECRET)
  }
  upstream.behave(notJson(200))
  t.notMatch(await fails(t, stream, malformed), UPSTREAM_SECRET)
})

t.test('an upstream that breaks off a whole answer is a 502', async (t) => {
  upstream.behave(async (request, exchange) => {
    const body = JSON.stringify(completionBody(request))
    exchange.raw.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
    await exchange.write(body.slice(0, 50))
    await exchange.sleep(20)
    exchange.drop()
  })
  await fails(t, complete, { ...upstreamFailure, status: 502, code: 'upstream_connection_lost' })
})

/** A server that takes connections and says nothing, not even the handshake of TLS. */
async function listening(t: Test): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => void socket.on('error', () => undefined))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  if (typeof address !== 'object' || !address) throw new Error('it does not listen')
  return { server, port: address.port }
}

t.test('an upstream that cannot be reached is a 503', async (t) => {
  const { server, port } = await listening(t)
  server.close()
  await once(server, 'close')
  const lost = await startGateway(t, { upstream: { baseURL: `http://127.0.0.1:${port}/v1` } })
  const unreachable = {
    ...upstreamFailure,
    status: 503,
    code: 'upstream_unreachable',
    headers: { 'retry-after': '1', 'x-should-retry': null },
  }
  for (const call of [complete, stream, embed]) {
    t.notMatch(await fails(t, call, unreachable, lost), String(port), 'the address is nobody’s business')
  }
})

t.test('an upstream that takes too long is a 504', async (t) => {
  const timedOut = (code: string) => ({ ...upstreamFailure, status: 504, code })

  t.test('to be connected to', async (t) => {
    const { port } = await listening(t)
    const deaf = await startGateway(t, {
      upstream: { baseURL: `https://127.0.0.1:${port}/v1` },
      provider: { timeouts: { connect: '200ms' } },
    })
    await Promise.all([complete, stream].map((call) => fails(t, call, timedOut('upstream_connect_timeout'), deaf)))
  })

  const hasty = await startGateway(t, { upstream, provider: { timeouts: { firstToken: '100ms', idle: '100ms' } } })
  const brisk = await startGateway(t, { upstream, provider: { timeouts: { total: '300ms' } } })
  const allAborted = async (): Promise<boolean> => {
    const ends = await Promise.all(upstream.requests.map(({ closed }) => closed))
    return ends.length > 0 && ends.every(({ aborted }) => aborted)
  }

  t.test('to begin a stream', async (t) => {
    upstream.behave(hang())
    await fails(t, stream, timedOut('upstream_first_token_timeout'), hasty)
    t.ok(await allAborted())
  })

  t.test('to go on after its head', async (t) => {
    upstream.behave(stallFirstByte(20_000))
    const [noPiece, noMore] = [timedOut('upstream_first_token_timeout'), timedOut('upstream_idle_timeout')]
    await Promise.all([fails(t, stream, noPiece, hasty), fails(t, complete, noMore, hasty)])
    t.ok(await allAborted())
  })

  t.test('to finish', async (t) => {
    upstream.behave(hang())
    const timeout = timedOut('upstream_timeout')
    await Promise.all([complete, stream, embed].map((call) => fails(t, call, timeout, brisk)))
    t.ok(await allAborted())
  })

  t.test('but is told by an event once the stream has begun', async (t) => {
    upstream.behave(async (request, exchange) => {
      exchange.startStream()
      const [first] = completionChunks(request)
      await exchange.event(first)
    })
    await breaksOff(t, 'upstream_idle_timeout', '', hasty)
    t.ok(await allAborted())
    upstream.reset()
    upstream.behave(completion({ tokens: Array.from({ length: 30 }, () => 'a'), delayMs: 50 }))
    await breaksOff(t, 'upstream_timeout', /^a{1,10}$/, brisk)
    t.ok(await allAborted())
  })
})

/** A stream that begins well and breaks off: the client gets what was said, an error, and nothing that looks like an end. */
async function breaksOff(t: Test, code: string, said: string | RegExp, on: Gateway = gateway): Promise<void> {
  const completions: unknown[] = []
  const forget = on.hooks.on('onCompletion', ({ usage }) => completions.push(usage))
  let text = ''
  const [failure, helped, answer] = await Promise.all([
    t.rejects(async () => {
      for await (const { choices } of await on.client().chat.completions.create({ ...ask, stream: true })) {
        text += choices[0]?.delta.content ?? ''
      }
    }),
    t.rejects(on.client().chat.completions.stream(ask).finalChatCompletion()),
    on.post('/v1/chat/completions', { ...ask, stream: true }).then(async (answer) => ({
      status: answer.status,
      requestId: answer.headers.get('x-request-id'),
      raw: await answer.text(),
    })),
  ])
  forget()
  t.type(failure, APIError)
  t.match(failure, { code, type: 'server_error', param: null })
  t.match(helped, { code })
  if (said instanceof RegExp) t.match(text, said)
  else t.equal(text, said)

  t.equal(answer.status, 200)
  t.notMatch(answer.raw, '[DONE]')
  t.notMatch(answer.raw, UPSTREAM_SECRET)
  const data = dataOf(answer.raw)
  const error = JSON.parse(data.pop() ?? '')
  assertSchema('ErrorResponse', error)
  t.match(error, { error: { code } })
  for (const chunk of data) assertSchema('CreateChatCompletionStreamResponse', JSON.parse(chunk))

  t.equal(completions.length, 3)
  t.match(
    completions,
    [1, 2, 3].map(() => ({ estimated: true, completion_tokens: Number })),
  )
  const lines = on.requestLines().slice(-3)
  t.match(
    lines,
    [1, 2, 3].map(() => ({ status: 200, outcome: 'stream_error', errorCode: code, estimated: true })),
  )
  t.match(
    lines.find(({ requestId }) => requestId === answer.requestId),
    { completionTokens: data.length },
  )
}

const breaks: Record<string, [Behaviour, code: string]> = {
  'drops the connection': [dropAfter(3), 'upstream_connection_lost'],
  'ends cleanly but half-way': [endWithoutDone(3), 'upstream_truncated'],
  'sends an event that is not JSON': [malformedAfter(3), 'upstream_malformed'],
  'sends an error event': [errorEventAfter(3), 'upstream_error'],
}

for (const [name, [behaviour, code]] of Object.entries(breaks)) {
  t.test(`an upstream that ${name} mid-stream is an error event, and no [DONE]`, async (t) => {
    upstream.behave(behaviour)
    await breaksOff(t, code, 'You said:')
  })
}

t.test('an upstream that ends before every choice is finished has broken off', async (t) => {
  upstream.behave(async (request, exchange) => {
    exchange.startStream()
    const chunks = [...completionChunks(request, { n: 2 })]
    // Without the usage, and without the finish reason of the second choice.
    for (const chunk of chunks.slice(0, -2)) await exchange.event(chunk)
    exchange.raw.end()
  })
  await breaksOff(t, 'upstream_truncated', /You said/)
})

t.test('an upstream that breaks off before its first token is an error with a status', async (t) => {
  const cases: [Behaviour, Expectation][] = [
    [dropAfter(0), { ...upstreamFailure, status: 502, code: 'upstream_connection_lost' }],
    [endWithoutDone(0), { ...upstreamFailure, status: 502, code: 'upstream_truncated' }],
    [malformedAfter(0), { ...upstreamFailure, status: 502, code: 'upstream_malformed' }],
    [errorEventAfter(0), failed],
    [errorEventAfter(0, { message: UPSTREAM_SECRET, code: 429 }), { ...limited, headers: { 'retry-after': '1' } }],
    [errorEventAfter(0, { message: UPSTREAM_SECRET, code: 502 }), failed],
  ]
  for (const [behaviour, expected] of cases) {
    upstream.behave(behaviour)
    t.notMatch(await fails(t, stream, expected), UPSTREAM_SECRET)
  }
  upstream.behave(errorEventAfter(0, { message: 'too long', code: 400 }))
  await fails(t, stream, { ...invalid, code: '400', message: 'too long' })
})

t.test('the official client, as it comes,', async (t) => {
  const patient = gateway.client({ maxRetries: 2 })

  t.test('retries a rate limit and an overload, and succeeds', async (t) => {
    for (const status of [429, 503]) {
      upstream.reset()
      upstream.next(failWith(status))
      const answer = await patient.chat.completions.create(ask)
      t.equal(answer.choices[0]?.message.content, 'You said: hello there')
      t.equal(upstream.requests.length, 2)
      const [first, second] = upstream.requests.map(({ receivedAt }) => receivedAt)
      t.ok((second ?? 0) - (first ?? 0) > 900, 'it waits as long as Retry-After says')
    }
  })

  t.test('does not retry what no retry can mend', async (t) => {
    for (const behaviour of [failWith(401), failWith(403), failWith(429, quota), failWith(400)]) {
      upstream.reset()
      upstream.behave(behaviour)
      await t.rejects(patient.chat.completions.create(ask))
      t.equal(upstream.requests.length, 1)
    }
  })
})

t.test('when all of that is over, metrics show nothing under way, and no listener has failed', async (t) => {
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
  const samples = await scraped(gateway.url)
  t.equal(sumOf(samples, 'signalbox_in_flight_requests'), 0)
  t.equal(sumOf(samples, 'signalbox_open_streams'), 0)
  t.equal(sumOf(samples, 'signalbox_listener_errors_total'), undefined)
})
