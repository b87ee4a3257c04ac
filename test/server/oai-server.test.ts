import { equal } from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t from 'tap'
import {
  type AuthPlugin,
  BearerKeyAuth,
  createDemo,
  createLLM,
  GatewayError,
  HookBus,
  type HookEvents,
  type HookName,
  type LLMClient,
  ModelRouter,
  OaiServer,
  type OaiServerOptions,
  Readiness,
  ResponseStore,
} from '../../src/index.ts'
import { assertSchema } from '../openapi.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const demo = createDemo({ pace: 0 })
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const messages = [{ role: 'user' as const, content: 'hello there' }]
const entries = [
  { model: 'demo', client: demo },
  { model: 'lab', client: lab },
]

type Init = NonNullable<ConstructorParameters<typeof Request>[1]>
const get = (path: string, init: Init = {}): Request => new Request(`http://localhost${path}`, init)
const post = (path: string, body: unknown, init: Init = {}): Request =>
  get(path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers },
  })
const chat = (model: string, fields: object = {}, init?: Init): Request =>
  post('/v1/chat/completions', { model, messages, ...fields }, init)

interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null }
}

/** An error answer, checked against the contract. */
async function failure(response: Response) {
  equal(response.headers.get('content-type'), 'application/json')
  const body = (await response.json()) as ErrorBody
  assertSchema('ErrorResponse', body)
  return { status: response.status, headers: response.headers, ...body.error }
}

/** The chunks of an event stream that ended with [DONE], each checked against the contract. */
async function chunksOf(response: Response): Promise<OpenAI.ChatCompletionChunk[]> {
  const events = (await response.text()).split('\n\n').filter((event) => event !== '')
  equal(events.pop(), 'data: [DONE]')
  const chunks = events.map((event): OpenAI.ChatCompletionChunk => JSON.parse(event.slice('data: '.length)))
  for (const chunk of chunks) assertSchema('CreateChatCompletionStreamResponse', chunk)
  return chunks
}

const textOf = (chunks: OpenAI.ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

/** Everything that a bus tells, in order. */
function recording(hooks: HookBus) {
  const events: { name: HookName; payload: HookEvents[HookName] }[] = []
  for (const name of ['onRequest', 'onAuthFail', 'onCompletion', 'onError', 'onResponse', 'onListenerError'] as const) {
    hooks.on(name, (payload) => events.push({ name, payload }))
  }
  return {
    names: () => events.map(({ name }) => name),
    of: <Name extends HookName>(name: Name) =>
      events.filter((event) => event.name === name).map(({ payload }) => payload as HookEvents[Name]),
  }
}

t.test('the second sample of the guide', async (t) => {
  const server = new OaiServer({ port: 4000, hostname: '0.0.0.0' })
  server.register({
    model: 'gpt-4o-mini',
    client: createLLM({ model: 'openai/gpt-4o-mini', apiKey: 'sk-test', baseURL: upstream.baseURL }),
  })
  const health = await server.handle(new Request('http://localhost/health'))
  t.strictSame(await health.json(), { status: 'ok' })
  t.equal((await server.handle(chat('gpt-4o-mini'))).status, 200)
})

t.test('health and readiness', async (t) => {
  const readiness = new Readiness()
  const server = new OaiServer({ readiness })
  t.strictSame(await (await server.handle(get('/health'))).json(), { status: 'ok' })

  const ready = await server.handle(get('/ready'))
  t.equal(ready.status, 200)
  t.strictSame(await ready.json(), { status: 'ready' })

  readiness.add('store', () => 'the store is down')
  const unready = await server.handle(get('/ready'))
  t.equal(unready.status, 503)
  t.strictSame(await unready.json(), { status: 'not_ready', reasons: { store: 'the store is down' } })
  t.equal((await server.handle(get('/health'))).status, 200, 'the process is alive all the same')
})

t.test('models', async (t) => {
  const server = new OaiServer({
    entries: [
      { model: 'plain', client: demo },
      { model: 'org/with:signs.1', client: lab, created: 1_700_000_000, capabilities: { vision: true } },
      { model: 'lab/*', client: lab },
    ],
  })

  t.test('are listed', async (t) => {
    const response = await server.handle(get('/v1/models'))
    const body = await response.json()
    assertSchema('ListModelsResponse', body)
    t.strictSame(body, {
      object: 'list',
      data: [
        { id: 'plain', object: 'model', created: 0, owned_by: 'demo' },
        {
          id: 'org/with:signs.1',
          object: 'model',
          created: 1_700_000_000,
          owned_by: 'lab',
          capabilities: { vision: true },
        },
        { id: 'lab/*', object: 'model', created: 0, owned_by: 'lab' },
      ],
    })
    t.strictSame(await (await server.handle(get('/v1/models'))).json(), body, 'the same every time')
  })

  t.test('are retrieved by ids of any form', async (t) => {
    for (const [path, id] of [
      ['plain', 'plain'],
      ['org/with:signs.1', 'org/with:signs.1'],
      ['org%2Fwith%3Asigns.1', 'org/with:signs.1'],
      ['lab/anything/at:all', 'lab/anything/at:all'],
    ] as const) {
      const response = await server.handle(get(`/v1/models/${path}`))
      t.equal(response.status, 200, path)
      const body = await response.json()
      assertSchema('Model', body)
      t.match(body, { id })
    }
  })

  t.test('that are unknown are a 404', async (t) => {
    const error = await failure(await server.handle(get('/v1/models/other')))
    t.match(error, { status: 404, code: 'model_not_found', message: 'model "other" not found' })
  })
})

t.test('a chat completion', async (t) => {
  const server = new OaiServer({ entries })
  for (const [model, text] of [
    ['demo', '[demo/echo] You said: hello there'],
    ['lab', 'You said: hello there'],
  ] as const) {
    const response = await server.handle(chat(model))
    t.equal(response.status, 200)
    t.equal(response.headers.get('content-type'), 'application/json')
    const completion = (await response.json()) as OpenAI.ChatCompletion
    assertSchema('CreateChatCompletionResponse', completion)
    t.equal(completion.choices[0]?.message.content, text)
  }
})

t.test('a streamed chat completion', async (t) => {
  const server = new OaiServer({ entries })
  for (const [model, text] of [
    ['demo', '[demo/echo] You said: hello there'],
    ['lab', 'You said: hello there'],
  ] as const) {
    const response = await server.handle(chat(model, { stream: true }))
    t.equal(response.status, 200)
    t.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
    t.equal(response.headers.get('cache-control'), 'no-cache')
    t.equal(response.headers.get('x-accel-buffering'), 'no')
    const chunks = await chunksOf(response)
    t.equal(textOf(chunks), text)
    t.notOk(
      chunks.some((chunk) => 'usage' in chunk),
      'usage that nobody asked for is not shown',
    )

    const metered = await chunksOf(
      await server.handle(chat(model, { stream: true, stream_options: { include_usage: true } })),
    )
    const last = metered.pop()
    t.strictSame(last?.choices, [])
    t.ok(last?.usage?.total_tokens)
    t.ok(metered.every(({ usage }) => usage === null))
  }
})

t.test('embeddings', async (t) => {
  const server = new OaiServer({ entries })
  const response = await server.handle(post('/v1/embeddings', { model: 'lab', input: 'x' }))
  t.equal(response.status, 200)
  assertSchema('CreateEmbeddingResponse', await response.json())
  const error = await failure(await server.handle(post('/v1/embeddings', { model: 'demo', input: 'x' })))
  t.match(error, { status: 400, code: 'unsupported', param: 'model' })
})

t.test('every answer has a request id of its own, and says how long it took', async (t) => {
  const server = new OaiServer({ entries, auth: new BearerKeyAuth({ keys: ['sk-key-1'] }) })
  const authorization = 'Bearer sk-key-1'
  const requests = [
    get('/health'),
    get('/nowhere'),
    get('/v1/models'),
    get('/v1/models', { headers: { authorization } }),
    get('/anything', { method: 'OPTIONS' }),
    chat('demo', {}, { headers: { authorization } }),
    chat('demo', { stream: true }, { headers: { authorization } }),
    chat('demo', { stream: 'yes' }, { headers: { authorization } }),
  ]
  const ids = new Set<string>()
  for (const request of requests) {
    const response = await server.handle(request)
    const id = response.headers.get('x-request-id') ?? ''
    t.match(id, /^req_.{16,}/, request.url)
    t.match(response.headers.get('openai-processing-ms'), /^\d+$/)
    ids.add(id)
    await response.text()
  }
  t.equal(ids.size, requests.length)
})

t.test('wrong requests are errors of the client, in the envelope', async (t) => {
  const server = new OaiServer({ entries, limits: { bodyLimit: 1000, jsonDepth: 10 } })
  const json = '/v1/chat/completions'
  for (const [request, expected] of [
    [post(json, '{"model":'), { status: 400, type: 'invalid_request_error' }],
    [post(json, ''), { status: 400, message: /empty/ }],
    [post(json, '[]'), { status: 400, message: /must be a JSON object/ }],
    [post(json, { messages }), { status: 400, param: 'model' }],
    [post(json, { model: 'demo' }), { status: 400, param: 'messages' }],
    [chat('demo', { tools: {} }), { status: 400, param: 'tools' }],
    [chat('demo', { stream: 'yes' }), { status: 400, param: 'stream' }],
    [chat('other'), { status: 404, code: 'model_not_found', param: 'model', message: 'model "other" not found' }],
    [chat('demo', { user: 'x'.repeat(1000) }), { status: 413, code: 'body_too_large' }],
    [
      chat('demo', { metadata: JSON.parse('{"a":'.repeat(10) + '1'.concat('}'.repeat(10))) }),
      { status: 400, message: /nested/ },
    ],
    [chat('demo', {}, { headers: { 'content-type': 'application/xml' } }), { status: 415 }],
    [get('/'), { status: 404, code: 'not_found' }],
    [get('/v1'), { status: 404, code: 'not_found' }],
    [get('/v1/chat/completions/more'), { status: 404, code: 'not_found' }],
  ] as const) {
    const error = await failure(await server.handle(request))
    t.match(error, expected)
  }
})

t.test('another method is a 405 that says which are allowed', async (t) => {
  const server = new OaiServer({ entries })
  for (const [method, path, allow] of [
    ['DELETE', '/v1/chat/completions', 'POST, GET, HEAD'],
    ['DELETE', '/v1/models/demo', 'GET, HEAD'],
    ['POST', '/health', 'GET, HEAD'],
    ['PUT', '/v1/embeddings', 'POST'],
  ] as const) {
    const error = await failure(await server.handle(get(path, { method })))
    t.match(error, { status: 405, code: 'method_not_allowed' }, `${method} ${path}`)
    t.equal(error.headers.get('allow'), allow)
  }
})

t.test('HEAD is answered as GET', async (t) => {
  const server = new OaiServer({ entries })
  for (const path of ['/health', '/ready', '/v1/models', '/v1/models/demo']) {
    const head = await server.handle(get(path, { method: 'HEAD' }))
    const whole = await server.handle(get(path))
    t.equal(head.status, 200, path)
    t.equal(head.headers.get('content-type'), whole.headers.get('content-type'))
  }
})

t.test('slashes at the end, doubled slashes and a query change nothing', async (t) => {
  const server = new OaiServer({ entries })
  for (const path of [
    '/health/',
    '/health?x=1',
    '/v1/models/',
    '//v1//models',
    '/v1/models?limit=5',
    '/v1/models/demo/',
  ]) {
    t.equal((await server.handle(get(path))).status, 200, path)
  }
  const response = await server.handle(post('/v1/chat/completions/?api-version=1', { model: 'demo', messages }))
  t.equal(response.status, 200)
})

t.test('browsers may call', async (t) => {
  const server = new OaiServer({ entries, auth: new BearerKeyAuth({ keys: ['sk-key-1'] }) })

  t.test('OPTIONS is always 204, and needs no key', async (t) => {
    for (const path of ['/v1/chat/completions', '/v1/models', '/nowhere', '/']) {
      const response = await server.handle(
        get(path, {
          method: 'OPTIONS',
          headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
        }),
      )
      t.equal(response.status, 204, path)
      t.equal(await response.text(), '')
      t.equal(response.headers.get('access-control-allow-origin'), '*')
      t.match(response.headers.get('access-control-allow-methods'), /GET.*POST.*DELETE/)
      t.match(response.headers.get('access-control-allow-headers'), /authorization/i, 'a star does not cover this one')
    }
  })

  t.test('and read every answer, errors and streams included', async (t) => {
    const headers = { authorization: 'Bearer sk-key-1' }
    for (const request of [get('/health'), get('/v1/models'), chat('demo', { stream: true }, { headers })]) {
      const response = await server.handle(request)
      t.equal(response.headers.get('access-control-allow-origin'), '*')
      t.equal(response.headers.get('access-control-expose-headers'), '*')
      await response.text()
    }
  })

  t.test('unless something in front speaks CORS', async (t) => {
    const response = await new OaiServer({ cors: false }).handle(get('/health'))
    t.notOk([...response.headers.keys()].some((name) => name.startsWith('access-control-')))
  })
})

t.test('authentication', async (t) => {
  const keyed = (options: OaiServerOptions = {}) =>
    new OaiServer({
      entries,
      auth: new BearerKeyAuth({
        keys: [
          { key: 'sk-alice', user: 'alice' },
          { key: 'sk-bob', user: 'bob', models: ['demo'] },
        ],
      }),
      ...options,
    })
  const as = (key: string): Init => ({ headers: { authorization: `Bearer ${key}` } })

  t.test('a good key passes, in whatever case its scheme is written', async (t) => {
    const server = keyed()
    t.equal((await server.handle(chat('demo', {}, as('sk-alice')))).status, 200)
    t.equal((await server.handle(get('/v1/models', { headers: { authorization: 'bearer sk-alice' } }))).status, 200)
  })

  t.test('no key, or an unknown one, is a 401 that does not repeat it', async (t) => {
    const server = keyed()
    const told = recording(server.hooks)
    for (const request of [
      get('/v1/models'),
      chat('demo'),
      chat('demo', {}, as('sk-mallory-123456')),
      chat('demo', {}, { headers: { authorization: 'Basic c2s=' } }),
    ]) {
      const error = await failure(await server.handle(request))
      t.match(error, { status: 401, type: 'authentication_error', code: 'invalid_api_key' })
      t.equal(error.headers.get('www-authenticate'), 'Bearer')
      t.notMatch(error.message, 'mallory')
    }
    t.equal(told.of('onAuthFail').length, 4)
    t.notMatch(JSON.stringify(told.of('onAuthFail')), 'mallory')
    t.match(told.of('onResponse'), new Array(4).fill({ status: 401, outcome: 'error', errorCode: 'invalid_api_key' }))
  })

  t.test('what exists is nobody else to know', async (t) => {
    const server = keyed()
    for (const path of ['/nowhere', '/v1/models/other']) {
      t.equal((await server.handle(get(path))).status, 401, path)
      t.equal((await server.handle(get(path, as('sk-alice')))).status, 404, path)
    }
    t.equal((await server.handle(get('/v1/embeddings'))).status, 401)
    t.equal((await server.handle(get('/v1/embeddings', as('sk-alice')))).status, 405)
  })

  t.test('health and readiness need no key', async (t) => {
    const server = keyed()
    for (const path of ['/health', '/ready']) t.equal((await server.handle(get(path))).status, 200)
  })

  t.test('a key may be limited to some models, and sees no others', async (t) => {
    const server = keyed()
    t.equal((await server.handle(chat('demo', {}, as('sk-bob')))).status, 200)
    for (const request of [
      chat('lab', {}, as('sk-bob')),
      chat('lab', { stream: true }, as('sk-bob')),
      post('/v1/embeddings', { model: 'lab', input: 'x' }, as('sk-bob')),
      get('/v1/models/lab', as('sk-bob')),
    ]) {
      t.match(await failure(await server.handle(request)), {
        status: 403,
        type: 'permission_error',
        code: 'model_not_allowed',
      })
    }
    const list = (await (await server.handle(get('/v1/models', as('sk-bob')))).json()) as { data: { id: string }[] }
    t.strictSame(
      list.data.map(({ id }) => id),
      ['demo'],
    )
    t.equal(upstream.requests.length, 0)
  })

  t.test('a key for some models of a wildcard sees those, not the wildcard', async (t) => {
    const keys = [{ key: 'sk-erin', models: ['lab/small', 'lab/large', 'elsewhere/x', 'demo', 'lab/s*'] }]
    const server = new OaiServer({
      entries: [
        { model: 'demo', client: demo },
        { model: 'lab/*', client: lab },
      ],
      auth: new BearerKeyAuth({ keys }),
    })
    const list = (await (await server.handle(get('/v1/models', as('sk-erin')))).json()) as { data: { id: string }[] }
    assertSchema('ListModelsResponse', list)
    t.strictSame(list.data.map(({ id }) => id).sort(), ['demo', 'lab/large', 'lab/small'])
    t.equal((await server.handle(get('/v1/models/lab/small', as('sk-erin')))).status, 200)
    t.equal((await server.handle(get('/v1/models/lab/medium', as('sk-erin')))).status, 403)
  })

  t.test('a plugin of your own may read any header, sync or async', async (t) => {
    const forwarded: AuthPlugin = {
      verify(headers) {
        const user = headers.get('x-forwarded-user')
        if (!user) throw new Error('no user was forwarded')
        return { userId: user, metadata: { models: ['demo'] } }
      },
    }
    const slow: AuthPlugin = {
      async verify(headers) {
        await sleep(5)
        return forwarded.verify(headers)
      },
    }
    for (const auth of [forwarded, slow]) {
      const server = keyed({ auth })
      const told = recording(server.hooks)
      const headers = { 'X-Forwarded-User': 'carol' }
      t.equal((await server.handle(chat('demo', {}, { headers }))).status, 200)
      t.equal((await server.handle(chat('lab', {}, { headers }))).status, 403)
      t.match(await failure(await server.handle(chat('demo'))), { status: 401, code: 'invalid_api_key' })
      t.match(told.of('onAuthFail'), [{ reason: 'no user was forwarded', requestId: /^req_/ }])
      t.strictSame(
        told.of('onResponse').map(({ userId }) => userId),
        ['carol', 'carol', null],
      )
    }
  })

  t.test('a plugin whose store is down says so: it is no 401', async (t) => {
    const server = keyed({
      auth: {
        verify() {
          throw new GatewayError('upstream_unreachable', 'the user store is down', { retryAfter: 5 })
        },
      },
    })
    const told = recording(server.hooks)
    const error = await failure(await server.handle(chat('demo')))
    t.equal(error.status, 503)
    t.equal(error.headers.get('retry-after'), '5')
    t.strictSame(told.of('onAuthFail'), [])
  })

  t.test('without a plugin everyone is anonymous', async (t) => {
    const server = new OaiServer({ entries })
    const told = recording(server.hooks)
    await server.handle(chat('demo'))
    t.match(told.of('onResponse'), [{ userId: null, status: 200 }])
  })

  t.test('what a host has established is not verified again', async (t) => {
    let verified = 0
    const server = keyed({
      auth: {
        verify() {
          verified++
          throw new Error('never')
        },
      },
    })
    const told = recording(server.hooks)
    const dora = { userId: 'dora', metadata: { models: ['demo'] } }
    const response = await server.handle(chat('demo'), { principal: dora, requestId: 'req_of_the_host' })
    t.equal(response.status, 200)
    t.equal(response.headers.get('x-request-id'), 'req_of_the_host')
    t.equal((await server.handle(chat('lab'), { principal: dora })).status, 403)
    t.equal((await server.handle(chat('demo'), { principal: null })).status, 200)
    t.equal(verified, 0)
    t.match(told.of('onResponse'), [
      { userId: 'dora', requestId: 'req_of_the_host' },
      { userId: 'dora' },
      { userId: null },
    ])
  })
})

t.test('models come and go while the server runs', async (t) => {
  const server = new OaiServer()
  const entry = { model: 'm', client: demo }
  t.equal((await server.handle(chat('m'))).status, 404)
  server.register(entry)
  t.equal((await server.handle(chat('m'))).status, 200)

  t.throws(() => server.register(entry), { message: 'model "m" is already registered' })
  t.throws(() => new OaiServer({ entries: [entry, entry] }), { message: 'model "m" is already registered' })

  t.equal(server.unregister('m'), true)
  t.equal(server.unregister('m'), false)
  t.equal((await server.handle(chat('m'))).status, 404)

  server.register({ model: 'm', client: lab })
  const completion = (await (await server.handle(chat('m'))).json()) as OpenAI.ChatCompletion
  t.equal(completion.choices[0]?.message.content, 'You said: hello there', 'swapped')
})

t.test('a request that is under way finishes on a model that was unregistered', async (t) => {
  const gate = up.gated(['one', ' two'])
  upstream.behave(gate.behaviour)
  const server = new OaiServer({ entries })
  const answering = server.handle(chat('lab', { stream: true }))
  gate.release()
  const response = await answering
  server.unregister('lab')
  gate.release(10)
  t.equal(textOf(await chunksOf(response)), 'one two')
})

t.test('router, response store and hooks may be shared', async (t) => {
  const router = new ModelRouter()
  const responseStore = new ResponseStore()
  const hooks = new HookBus()
  const [one, two] = [new OaiServer({ router, responseStore, hooks }), new OaiServer({ router, responseStore, hooks })]
  one.register({ model: 'm', client: demo })
  t.equal((await two.handle(chat('m'))).status, 200)
  t.equal(one.responseStore, two.responseStore)
  t.equal(one.hooks, hooks)
  t.not(new OaiServer().responseStore, new OaiServer().responseStore)
})

t.test('hooks tell of every request exactly once', async (t) => {
  t.test('a whole answer', async (t) => {
    const server = new OaiServer({ entries, auth: new BearerKeyAuth({ keys: { 'sk-alice': 'alice' } }) })
    const told = recording(server.hooks)
    const response = await server.handle(chat('lab', {}, { headers: { authorization: 'Bearer sk-alice' } }))
    const requestId = response.headers.get('x-request-id') ?? ''
    const usage = ((await response.json()) as OpenAI.ChatCompletion).usage
    t.strictSame(told.names(), ['onRequest', 'onCompletion', 'onResponse'])
    t.match(told.of('onRequest'), [{ requestId, method: 'POST', path: '/v1/chat/completions' }])
    t.match(told.of('onCompletion'), [
      { requestId, userId: 'alice', model: 'lab', provider: 'lab', stream: false, usage },
    ])
    t.match(told.of('onResponse'), [
      {
        requestId,
        method: 'POST',
        route: '/v1/chat/completions',
        status: 200,
        outcome: 'ok',
        userId: 'alice',
        model: 'lab',
        provider: 'lab',
        stream: false,
        usage,
        durationMs: Number,
      },
    ])
    t.equal(server.openRequests, 0)
  })

  t.test('a stream, when its last byte is made', async (t) => {
    const server = new OaiServer({ entries })
    const told = recording(server.hooks)
    const response = await server.handle(chat('lab', { stream: true }))
    t.strictSame(told.names(), ['onRequest'])
    t.equal(server.openRequests, 1)
    await response.text()
    t.strictSame(told.names(), ['onRequest', 'onCompletion', 'onResponse'])
    t.match(told.of('onCompletion'), [
      { model: 'lab', stream: true, firstTokenMs: Number, usage: { completion_tokens: 4, total_tokens: Number } },
    ])
    t.notOk(told.of('onCompletion')[0]?.usage?.estimated, 'the gateway asks for usage also when the client does not')
    t.match(told.of('onResponse'), [{ status: 200, outcome: 'ok', stream: true, usage: { completion_tokens: 4 } }])
    t.equal(server.openRequests, 0)
  })

  t.test('a stream that its client leaves', async (t) => {
    const pace = 100
    const { complete, stream } = createDemo({ pace })
    const unaware: LLMClient = { provider: 'p', model: 'm', complete, stream: (request) => stream(request) }
    upstream.behave(up.completion({ tokens: new Array(100).fill('x'), delayMs: pace }))
    for (const [name, client] of Object.entries({ lab, demo: createDemo({ pace }), unaware })) {
      const server = new OaiServer({ entries: [{ model: 'm', client }] })
      const told = recording(server.hooks)
      const response = await server.handle(chat('m', { stream: true }))
      const reader = (response.body as ReadableStream<Uint8Array>).getReader()
      await reader.read()
      await reader.read()
      const pending = reader.read()
      await sleep(5)
      await reader.cancel('gone')
      await pending
      t.strictSame(told.names(), ['onRequest', 'onCompletion', 'onResponse'], name)
      t.match(told.of('onCompletion'), [{ usage: { estimated: true, completion_tokens: 2 } }])
      t.match(told.of('onResponse'), [{ status: 200, outcome: 'client_closed', usage: { estimated: true } }])
      t.equal(server.openRequests, 0)
      await sleep(2 * pace)
      t.equal(told.names().length, 3, `${name}: nor anything later`)
    }
    t.equal((await upstream.last().closed).aborted, true)
  })

  t.test('a request whose client leaves before it is answered', async (t) => {
    for (const stream of [false, true]) {
      upstream.reset()
      upstream.behave(up.hang())
      const server = new OaiServer({ entries })
      const told = recording(server.hooks)
      const abort = new AbortController()
      const answering = server.handle(chat('lab', { stream }, { signal: abort.signal }))
      const { closed } = await upstream.request(0)
      abort.abort()
      await answering
      const { aborted } = await closed
      t.equal(aborted, true)
      t.strictSame(told.names(), ['onRequest', 'onCompletion', 'onResponse'])
      t.match(told.of('onResponse'), [{ status: 499, outcome: 'client_closed', stream, usage: { estimated: true } }])
    }
  })

  t.test('an answer of the gateway itself, and an error', async (t) => {
    const server = new OaiServer({ entries })
    const told = recording(server.hooks)
    await server.handle(get('/v1/models/demo'))
    await server.handle(get('/nowhere'))
    await server.handle(get('/health', { method: 'OPTIONS' }))
    await server.handle(chat('demo', { n: 'x' }))
    t.match(told.of('onResponse'), [
      { route: '/v1/models/{id}', status: 200, outcome: 'ok' },
      { route: '_other', status: 404, outcome: 'error', errorCode: 'not_found' },
      { status: 204, outcome: 'ok', method: 'OPTIONS' },
      { route: '/v1/chat/completions', status: 400, outcome: 'error' },
    ])
    t.equal(told.of('onRequest').length, 4)
    t.strictSame(told.of('onError'), [], 'what a client got wrong is no failure')
    t.strictSame(told.of('onCompletion'), [])
  })

  t.test('a failure of the upstream, and one of the gateway', async (t) => {
    const bug = new TypeError('secret detail')
    const broken: LLMClient = {
      provider: 'broken',
      model: 'm',
      complete: () => Promise.reject(bug),
      stream() {
        throw bug
      },
    }
    const server = new OaiServer({ entries: [...entries, { model: 'broken', client: broken }] })
    const told = recording(server.hooks)
    upstream.behave(up.failWith(500))
    t.match(await failure(await server.handle(chat('lab'))), { status: 502, code: 'upstream_error' })
    for (const stream of [false, true]) {
      const error = await failure(await server.handle(chat('broken', { stream })))
      t.match(error, { status: 500, code: 'internal_error' })
      t.notMatch(error.message, 'secret')
      t.match(error.message, error.headers.get('x-request-id') ?? 'missing')
      t.equal(error.headers.get('x-should-retry'), 'false')
    }
    t.match(told.of('onError'), [{ error: { kind: 'upstream_error' } }, { error: bug }, { error: bug }])
    t.match(told.of('onResponse'), [
      { status: 502, outcome: 'error', errorCode: 'upstream_error', model: 'lab', provider: 'lab' },
      { status: 500, outcome: 'error', errorCode: 'internal_error', stream: false },
      { status: 500, outcome: 'error', errorCode: 'internal_error', stream: true },
    ])
  })

  t.test('a stream that breaks off', async (t) => {
    const server = new OaiServer({ entries })
    const told = recording(server.hooks)
    upstream.behave(up.dropAfter(2))
    const text = await (await server.handle(chat('lab', { stream: true }))).text()
    t.notMatch(text, '[DONE]')
    const error = JSON.parse(text.trim().split('\n\n').at(-1)?.slice('data: '.length) ?? '')
    assertSchema('ErrorResponse', error)
    t.match(error, { error: { code: 'upstream_connection_lost' } })
    t.strictSame(told.names(), ['onRequest', 'onCompletion', 'onError', 'onResponse'])
    t.match(told.of('onResponse'), [
      { status: 200, outcome: 'stream_error', errorCode: 'upstream_connection_lost', usage: { estimated: true } },
    ])
    t.equal(server.openRequests, 0)
  })

  t.test('a refusal that comes too late for a status of its own is no failure of the gateway', async (t) => {
    const server = new OaiServer({ entries, keepAliveMs: 20 })
    const told = recording(server.hooks)
    upstream.behave(async (_request, exchange) => {
      await exchange.sleep(100)
      await up.failWith(400, {
        error: { message: 'not this', type: 'invalid_request_error', param: null, code: null },
      })(_request, exchange)
    })
    await (await server.handle(chat('lab', { stream: true }))).text()
    t.match(told.of('onResponse'), [{ status: 200, outcome: 'stream_refused', errorCode: 'invalid_request_error' }])
  })

  t.test('what was done for a request before the core saw it is a part of it', async (t) => {
    const server = new OaiServer({ entries })
    const told = recording(server.hooks)
    await server.handle(chat('demo'), { startedAt: performance.now() - 5000 })
    const [response] = told.of('onResponse') as { durationMs: number }[]
    t.ok(Number(response?.durationMs) >= 5000)
  })

  t.test('and a listener that fails changes nothing', async (t) => {
    const server = new OaiServer({ entries })
    for (const name of ['onRequest', 'onCompletion', 'onResponse'] as const) {
      server.hooks.on(name, () => {
        throw new Error('a broken listener')
      })
    }
    const told = recording(server.hooks)
    t.equal((await server.handle(chat('demo'))).status, 200)
    t.equal(
      textOf(await chunksOf(await server.handle(chat('demo', { stream: true })))),
      '[demo/echo] You said: hello there',
    )
    t.equal(told.of('onListenerError').length, 6)
  })
})

t.test('a client that cannot stream', async (t) => {
  const asked: object[] = []
  const whole: LLMClient = {
    provider: 'whole',
    model: 'm',
    complete(request) {
      asked.push(request)
      return demo.complete(request)
    },
    stream() {
      throw new GatewayError('unsupported', 'it cannot stream')
    },
  }
  const late: LLMClient = {
    ...whole,
    // biome-ignore lint/correctness/useYield: it fails before its first chunk, as a client may.
    async *stream() {
      throw new GatewayError('unsupported', 'it cannot stream')
    },
  }
  const text = '[demo/echo] You said: hello there'

  t.test('is asked for the whole, which is streamed in chunks of streamChunkChars', async (t) => {
    for (const [client, size] of [
      [late, 10],
      [late, undefined],
      [whole, 10],
    ] as const) {
      asked.length = 0
      const server = new OaiServer({ entries: [{ model: 'm', client }], ...(size && { streamChunkChars: size }) })
      const told = recording(server.hooks)
      const response = await server.handle(chat('m', { stream: true }))
      t.equal(response.status, 200)
      const chunks = await chunksOf(response)
      const pieces = chunks.map(({ choices }) => choices[0]?.delta.content).filter(Boolean)
      t.strictSame(pieces, size ? ['[demo/echo', '] You said', ': hello th', 'ere'] : [text])
      t.notOk(chunks.some((chunk) => 'usage' in chunk))
      t.equal(asked.length, 1)
      t.strictSame(told.names(), ['onRequest', 'onCompletion', 'onResponse'])
      t.match(told.of('onCompletion'), [{ stream: true, usage: { total_tokens: Number } }])
    }
  })

  t.test('ends in the usage when the client asks for it', async (t) => {
    const server = new OaiServer({ entries: [{ model: 'm', client: late }] })
    const chunks = await chunksOf(
      await server.handle(chat('m', { stream: true, stream_options: { include_usage: true } })),
    )
    t.match(chunks.at(-1), { choices: [], usage: { prompt_tokens: 2 } })
  })

  t.test('is the only one: any other failure is a failure', async (t) => {
    const failing: LLMClient = {
      ...late,
      stream() {
        throw new GatewayError('upstream_error', 'it broke')
      },
    }
    const server = new OaiServer({ entries: [{ model: 'm', client: failing }] })
    asked.length = 0
    t.match(await failure(await server.handle(chat('m', { stream: true }))), { status: 502, code: 'upstream_error' })
    t.equal(asked.length, 0)
  })
})

t.test('a stream that is silent at first gets comments, then its chunks', async (t) => {
  const server = new OaiServer({ entries, keepAliveMs: 30 })
  upstream.behave(up.completion({ firstDelayMs: 120 }))
  const response = await server.handle(chat('lab', { stream: true }))
  t.equal(response.status, 200, 'the head does not wait for the first chunk')
  const text = await response.text()
  t.match(text, /^(: keep-alive\n\n){2,}data: \{/)
  t.match(text, /data: \[DONE\]\n\n$/)

  upstream.behave(async (_request, exchange) => {
    await exchange.sleep(80)
    await exchange.json(500, { error: { message: up.UPSTREAM_SECRET } })
  })
  const broken = await (await server.handle(chat('lab', { stream: true }))).text()
  t.match(broken, /^(: keep-alive\n\n)+data: \{"error":\{"message":.*"code":"upstream_error"\}\}\n\n$/)
  t.notMatch(broken, up.UPSTREAM_SECRET)
})

t.test('breaking off what is open tells its clients', async (t) => {
  upstream.behave(up.completion({ tokens: ['a', 'b'], delayMs: 60_000 }))
  const server = new OaiServer({ entries })
  const told = recording(server.hooks)
  const streaming = await server.handle(chat('lab', { stream: true }))
  const reader = (streaming.body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  upstream.behave(up.hang())
  const waiting = server.handle(chat('lab'))
  await upstream.request(1)
  t.equal(server.openRequests, 2)
  server.abortOpenRequests()

  const error = await failure(await waiting)
  t.match(error, { status: 503, code: 'shutting_down' })
  t.equal(error.headers.get('retry-after'), '1')
  t.match(Buffer.from((await reader.read()).value ?? []).toString(), /^data: \{"error":\{.*"code":"shutting_down"/)
  t.match(await reader.read(), { done: true })
  t.equal(server.openRequests, 0)
  t.equal(told.of('onResponse').length, 2)
})

t.test('listening', async (t) => {
  const within = (ms: number, work: Promise<string>): Promise<string> =>
    Promise.race([work, sleep(ms, 'still waiting')])
  const started = async (options: OaiServerOptions = {}) => {
    const server = new OaiServer({ entries, port: 0, ...options })
    const address = await server.start()
    t.teardown(() => server.stop({ drainMs: 0 }))
    return { server, ...address }
  }

  t.test('start takes a free port with port 0, and says which', async (t) => {
    const { server, hostname, port, url } = await started()
    t.equal(hostname, '127.0.0.1')
    t.ok(port > 0)
    t.equal(url, `http://127.0.0.1:${port}`)
    t.match(await server.start(), { port }, 'a second start is the same listener')
    t.strictSame(await (await fetch(`${url}/health`)).json(), { status: 'ok' })
  })

  t.test('the openai client talks to it', async (t) => {
    const { url } = await started({ auth: new BearerKeyAuth({ keys: ['sk-alice'] }) })
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-alice', maxRetries: 0 })
    for (const model of ['demo', 'lab']) {
      const { data: completion, request_id } = await client.chat.completions.create({ model, messages }).withResponse()
      assertSchema('CreateChatCompletionResponse', completion)
      t.match(completion.choices[0]?.message.content, 'You said: hello there')
      t.match(request_id, /^req_/)

      const runner = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } })
      const final = await runner.finalChatCompletion()
      t.match(final.choices[0]?.message.content, 'You said: hello there')
      t.ok(final.usage?.total_tokens)
    }
    const ids: string[] = []
    for await (const model of client.models.list()) ids.push(model.id)
    t.strictSame(ids, ['demo', 'lab'])
    t.equal((await client.models.retrieve('lab')).id, 'lab')
    const embeddings = await client.embeddings.create({ model: 'lab', input: ['a', 'b'] })
    t.equal(embeddings.data[1]?.embedding.length, 8)

    await t.rejects(client.chat.completions.create({ model: 'other', messages }), {
      status: 404,
      code: 'model_not_found',
    })
    const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-wrong', maxRetries: 0 })
    const refused = await stranger.models.list().then(
      () => undefined,
      (error: unknown) => error,
    )
    t.ok(refused instanceof OpenAI.AuthenticationError)
  })

  t.test('HEAD has the headers of GET and no body', async (t) => {
    const { url } = await started()
    const head = await fetch(`${url}/v1/models`, { method: 'HEAD' })
    t.equal(head.status, 200)
    t.equal(head.headers.get('content-type'), 'application/json')
    t.equal(await head.text(), '')
  })

  t.test('a client that disconnects ends the upstream call within 100 ms', async (t) => {
    const { url, server } = await started()
    const told = recording(server.hooks)
    for (const [stream, behaviour] of [
      [false, up.hang()],
      [true, up.hang()],
      [true, up.completion({ tokens: ['a', 'b'], delayMs: 60_000 })],
    ] as const) {
      upstream.reset()
      upstream.behave(behaviour)
      const abort = new AbortController()
      const response = fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'lab', messages, stream }),
        signal: abort.signal,
      }).then((response) => response.text())
      const { closed } = await upstream.request(0)
      await sleep(30)
      abort.abort()
      await t.rejects(response, { name: 'AbortError' })
      const { aborted } = await closed
      t.equal(aborted, true)
    }
    await sleep(20)
    t.equal(told.of('onResponse').length, 3)
    t.ok(told.of('onResponse').every(({ outcome }) => outcome === 'client_closed'))
    t.equal(server.openRequests, 0)
  })

  t.test('start fails when the port is taken, and may be tried again', async (t) => {
    const { port, server: first } = await started()
    const second = new OaiServer({ port })
    await t.rejects(second.start(), { code: 'EADDRINUSE' })
    await first.stop()
    t.match(await second.start(), { port })
    await second.stop()
  })

  t.test('stop takes no new connections, is unready, and lets open requests finish', async (t) => {
    const { server, url } = await started()
    const gate = up.gated(['one', ' two'])
    upstream.behave(gate.behaviour)
    const answering = fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'lab', messages, stream: true }),
    })
    gate.release()
    const response = await answering
    let stopped = false
    const stopping = server.stop().then(() => {
      stopped = true
      return 'stopped'
    })
    t.equal((await server.handle(get('/ready'))).status, 503)
    await t.rejects(fetch(`${url}/health`, { headers: { connection: 'close' } }), { cause: { code: 'ECONNREFUSED' } })
    t.equal(stopped, false)
    gate.release(10)
    t.equal(textOf(await chunksOf(response)), 'one two')
    // Its client may be about to use it again.
    t.equal(
      await within(5000, stopping),
      'stopped',
      'a connection that is idle again is waited for a second, and no longer',
    )
    await stopping
    await server.stop()
  })

  t.test('stop breaks off what has not finished in time', async (t) => {
    const { server, url } = await started()
    upstream.behave(up.completion({ tokens: ['a', 'b'], delayMs: 60_000 }))
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'lab', messages, stream: true }),
    })
    const text = response.text()
    const stopping = server.stop({ drainMs: 50 }).then(() => 'stopped')
    t.equal(await within(5000, stopping), 'stopped')
    await stopping
    t.match(await text, /"code":"shutting_down"/)
    t.equal((await upstream.last().closed).aborted, true)
  })

  t.test('stop waits a second longer than it was told, and no more, whatever the clients do', async (t) => {
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
    const stopWith = async (sent: string): Promise<string> => {
      const { server, port } = await started()
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      socket.write(sent)
      await sleep(30)
      const stopping = server.stop({ drainMs: 50 }).then(() => 'stopped')
      const outcome = await within(2500, stopping)
      socket.destroy()
      await stopping
      return outcome
    }
    const clients = {
      'says nothing': '',
      'sends half of a head': head,
      'sends half of a body': `${head}content-length: 100\r\n\r\n{"model":`,
    }
    await Promise.all(
      Object.entries(clients).map(async ([name, sent]) =>
        t.equal(await stopWith(sent), 'stopped', `a client that ${name}`),
      ),
    )
  })
})
