import Fastify, { type FastifyInstance } from 'fastify'
import OpenAI, { APIError } from 'openai'
import { type AuthPlugin, createDemo, GatewayError, type HookEvents, ModelRouter } from 'signalbox'
import * as plugins from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { dataOf } from '../gateway.ts'
import { talk } from '../raw-http.ts'

/** An app of somebody's own with the OpenAI front in it, listening. */
async function appWith(
  t: Test,
  options: plugins.OaiServerPluginOptions & { auth?: AuthPlugin } = {},
  pace = 0,
): Promise<{ app: FastifyInstance; url: string; port: number; client: OpenAI; ends: HookEvents['onResponse'][] }> {
  const { auth, ...rest } = options
  const app = Fastify({ genReqId: () => `req_${crypto.randomUUID()}` })
  t.teardown(() => {
    app.oaiServer.abortOpenRequests()
    return app.close()
  })
  const router = new ModelRouter()
  router.register({ model: 'mine', client: createDemo({ pace }) })
  await app.register(plugins.hooks)
  await app.register(plugins.errors)
  await app.register(plugins.cors)
  await app.register(plugins.health)
  await app.register(plugins.auth, { auth })
  await app.register(plugins.modelRouter, { router })
  app.addHook('onRequest', async (_request, reply) => void reply.header('x-mine', 'yes'))
  app.post('/mine', async ({ body, principal }) => ({ body, principal }))
  app.get('/broken', async () => {
    throw new Error('secret')
  })
  await app.register(plugins.oaiServer, rest)
  const ends: HookEvents['onResponse'][] = []
  app.hooks.on('onResponse', (end) => ends.push(end))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-anything', maxRetries: 0, logLevel: 'off' })
  return { app, url, port: Number(new URL(url).port), client, ends }
}

const ask = { model: 'mine', messages: [{ role: 'user' as const, content: 'hello there' }] }
const posted = (body: object) => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json' },
})

t.test('an app of one’s own serves OpenAI clients beside its own routes', async (t) => {
  const { app, url, client } = await appWith(t)
  t.equal(app.oaiServer.hooks, app.hooks)
  t.equal(app.oaiServer.router, app.modelRouter)
  const answer = await client.chat.completions.create(ask)
  t.match(answer.choices[0]?.message.content, 'hello there')
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion()
  t.equal(streamed.choices[0]?.message.content, answer.choices[0]?.message.content)
  t.equal((await client.models.list()).data[0]?.id, 'mine')

  const own = await fetch(`${url}/mine`, posted({ parsed: ['by', 'fastify'] }))
  t.same(await own.json(), { body: { parsed: ['by', 'fastify'] }, principal: null })
})

t.test('slashes too many do not matter', async (t) => {
  const { url } = await appWith(t)
  for (const path of ['/v1/models/', '/v1//models', '//v1/models/mine/', '/v1/chat/completions/', '/health/']) {
    const answer = await fetch(url + path, path.includes('chat') ? posted(ask) : {})
    t.equal(answer.status, 200, path)
    await answer.text()
  }
})

t.test('the headers of the plugins before it are on every answer', async (t) => {
  const { url } = await appWith(t)
  for (const [path, init, status] of [
    ['/v1/models', {}, 200],
    ['/v1/chat/completions', posted(ask), 200],
    ['/v1/chat/completions', posted({ ...ask, stream: true }), 200],
    ['/nowhere', {}, 404],
    ['/v1/models', { method: 'DELETE' }, 405],
  ] as const) {
    const answer = await fetch(url + path, init)
    t.equal(answer.status, status)
    t.equal(answer.headers.get('x-mine'), 'yes')
    t.equal(answer.headers.get('access-control-allow-origin'), '*')
    t.match(answer.headers.get('x-request-id'), /^req_/)
    await answer.text()
  }
})

t.test('who asks is established once, by the auth plugin', async (t) => {
  let asked = 0
  const verify = (headers: Headers) => {
    asked += 1
    if (!headers.get('authorization')?.endsWith('-good')) throw new Error('no')
    return { userId: 'ann', metadata: { models: ['other'] } }
  }
  const { app, url, client, ends } = await appWith(t, { auth: { verify } })
  const good = client.withOptions({ apiKey: 'sk-good' })
  app.modelRouter.register({ model: 'other', client: createDemo({ pace: 0 }) })
  await good.chat.completions.create({ ...ask, model: 'other' })
  t.equal(asked, 1)
  t.match(ends, [{ userId: 'ann', status: 200 }])
  t.type(await t.rejects(good.chat.completions.create(ask)), OpenAI.PermissionDeniedError)
  t.type(await t.rejects(client.chat.completions.create(ask)), OpenAI.AuthenticationError)
  t.type(await t.rejects(client.get('/nowhere')), OpenAI.AuthenticationError)
  t.equal(asked, 4)
  t.equal((await fetch(`${url}/health`)).status, 200)
  t.equal((await fetch(`${url}/ready`)).status, 200)
  t.equal(asked, 4)
})

t.test('every request ends once, whoever answered it', async (t) => {
  const verify = (headers: Headers) => {
    if (headers.has('x-stranger')) throw new Error('a stranger')
    return { userId: 'ann' }
  }
  const { url, port, ends } = await appWith(t, { auth: { verify } })
  const cases: [path: string, init: RequestInit, expected: object][] = [
    ['/v1/models', {}, { route: '/v1/models', status: 200, outcome: 'ok', userId: 'ann' }],
    ['/v1/models/mine', { method: 'HEAD' }, { method: 'HEAD', route: '/v1/models/{id}', status: 200 }],
    ['/v1/chat/completions', posted(ask), { route: '/v1/chat/completions', model: 'mine', provider: 'demo' }],
    ['/v1/chat/completions', posted({ ...ask, stream: true }), { stream: true, outcome: 'ok', status: 200 }],
    ['/v1/chat/completions', posted({}), { status: 400, outcome: 'error' }],
    ['/v1/chat/completions', posted({ ...ask, model: 'x' }), { status: 404, errorCode: 'model_not_found' }],
    ['/v1/embeddings', {}, { method: 'GET', status: 405, errorCode: 'method_not_allowed' }],
    ['/nowhere/a?b=c', {}, { route: '_other', status: 404, outcome: 'error' }],
    ['/v1/models', { headers: { 'x-stranger': 'yes' } }, { status: 401, outcome: 'error', userId: null }],
    ['/v1/models', { method: 'OPTIONS' }, { method: 'OPTIONS', status: 204, outcome: 'ok', userId: null }],
    ['/mine', posted({}), { route: '/mine', status: 200, outcome: 'ok', userId: 'ann' }],
    ['/mine', { ...posted({}), body: '{' }, { route: '/mine', status: 400, outcome: 'error' }],
    ['/broken', {}, { route: '/broken', status: 500, outcome: 'error' }],
  ]
  for (const [path, init, expected] of cases) {
    ends.length = 0
    const answer = await fetch(url + path, init)
    await answer.text()
    // The answer may be here before its end is announced.
    for (let turn = 0; ends.length === 0 && turn < 200; turn += 1) await new Promise(setImmediate)
    t.match(ends, [{ requestId: answer.headers.get('x-request-id') ?? 'none', durationMs: Number, ...expected }], path)
    t.equal(ends.length, 1, path)
  }

  ends.length = 0
  const [unreadable] = await talk(port, ['GET /v1/models HTTP/1.1\r\nhost: a b\r\n\r\n'])
  t.match(unreadable, { status: 400, headers: { 'x-mine': 'yes' } })
  t.match(ends, [{ requestId: unreadable?.headers['x-request-id'] ?? 'none', status: 400, outcome: 'error' }])
  t.equal(ends.length, 1, 'a Host that cannot be read')
})

t.test('the limits, the keep-alive and the size of simulated chunks are its options', async (t) => {
  const { app, url, client } = await appWith(t, {
    limits: { bodyLimit: 200, jsonDepth: 8 },
    keepAliveMs: 20,
    streamChunkChars: 3,
  })
  t.match(await t.rejects(client.chat.completions.create({ ...ask, user: 'x'.repeat(200) })), { status: 413 })
  const deep = { model: 'mine', messages: [], x: [[[[[[[[]]]]]]]] }
  t.match(await t.rejects(client.post('/chat/completions', { body: deep })), { status: 400 })

  const { complete, stream } = createDemo({ pace: 60 })
  app.modelRouter.register({ model: 'slow', client: { provider: 'demo', model: 'slow', complete, stream } })
  const slow = await fetch(`${url}/v1/chat/completions`, posted({ ...ask, model: 'slow', stream: true }))
  t.match(await slow.text(), '\n\n: keep-alive\n\n')

  const unsupported = () => {
    throw new GatewayError('unsupported', 'no streaming here')
  }
  app.modelRouter.register({
    model: 'whole',
    client: { provider: 'demo', model: 'whole', complete, stream: unsupported },
  })
  const whole = await fetch(`${url}/v1/chat/completions`, posted({ ...ask, model: 'whole', stream: true }))
  const contents = dataOf(await whole.text()).flatMap((data) =>
    data === '[DONE]' ? [] : (JSON.parse(data).choices[0]?.delta.content ?? []),
  )
  t.ok(contents.length > 5)
  t.ok(contents.every((content: string) => content.length <= 3))
  t.match(contents.join(''), 'hello there')
})

t.test('open requests can be counted, and broken off with the truth', async (t) => {
  const { app, url, client } = await appWith(t, {}, 50)
  t.equal(app.oaiServer.openRequests, 0)
  const answer = await fetch(`${url}/v1/chat/completions`, posted({ ...ask, stream: true }))
  const stream = await client.chat.completions.create({ ...ask, stream: true })
  t.equal(app.oaiServer.openRequests, 2)

  app.oaiServer.abortOpenRequests()
  const failure = await t.rejects(async () => {
    for await (const _ of stream);
  })
  t.type(failure, APIError)
  t.match(failure, { code: 'shutting_down', type: 'server_error' })
  const text = await answer.text()
  t.notMatch(text, '[DONE]')
  t.match(JSON.parse(dataOf(text).at(-1) ?? ''), { error: { code: 'shutting_down' } })
  t.equal(app.oaiServer.openRequests, 0)
  t.ok((await client.models.list()).data.length > 0, 'it serves on')
})

t.test('needs the plugins before it, and says which', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => app.register(plugins.oaiServer), { message: /signalbox-hooks/ })
})
