import Fastify, { type FastifyInstance } from 'fastify'
import { GatewayError, type HookEvents } from 'signalbox'
import { answerMalformedRequest, answerUnreadable, errors, hooks } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { assertSchema } from '../openapi.ts'
import { type RawAnswer, talk, untilAnswered } from '../raw-http.ts'

const genReqId = () => `req_${crypto.randomUUID()}`

async function appWith(
  t: Test,
  app: FastifyInstance = Fastify({ genReqId }),
): Promise<{ app: FastifyInstance; failures: HookEvents['onError'][] }> {
  t.teardown(() => app.close())
  await app.register(hooks)
  await app.register(errors)
  const failures: HookEvents['onError'][] = []
  app.hooks.on('onError', (failure) => failures.push(failure))
  return { app, failures }
}

t.test('every answer has the id of its request', async (t) => {
  const { app } = await appWith(t)
  app.get('/', async () => 'fine')
  const ids = new Set<unknown>()
  for (const url of ['/', '/', '/nowhere']) {
    const { headers } = await app.inject(url)
    t.match(headers['x-request-id'], /^req_/)
    ids.add(headers['x-request-id'])
  }
  t.equal(ids.size, 3)
})

t.test('an error of the gateway is what it says', async (t) => {
  const { app, failures } = await appWith(t)
  app.get('/mine', async () => {
    throw new GatewayError('invalid_request', 'not like this', { param: 'messages', headers: { 'x-extra': 'yes' } })
  })
  const answer = await app.inject('/mine')
  t.equal(answer.statusCode, 400)
  t.match(answer.headers['content-type'], 'application/json')
  t.equal(answer.headers['x-extra'], 'yes')
  t.strictSame(answer.json(), {
    error: { message: 'not like this', type: 'invalid_request_error', param: 'messages', code: null },
  })
  assertSchema('ErrorResponse', answer.json())
  t.same(failures, [])
})

t.test('an error of an upstream is announced', async (t) => {
  const { app, failures } = await appWith(t)
  const error = new GatewayError('upstream_overloaded', 'busy', { retryAfter: 100, cause: new Error('secret') })
  app.get('/busy', async () => {
    throw error
  })
  const answer = await app.inject('/busy')
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['retry-after'], '60')
  t.notMatch(answer.body, 'secret')
  t.strictSame(failures, [{ requestId: answer.headers['x-request-id'], error }])
})

t.test('any other error is a bug: told without detail, announced with all', async (t) => {
  for (const thrown of [
    new TypeError('secret'),
    Object.assign(new Error('secret'), { statusCode: 404 }),
    Object.assign(new Error('secret'), { code: 'FST_ERR_SECRET', statusCode: 500 }),
    { message: 'secret', statusCode: 400 },
  ]) {
    const { app, failures } = await appWith(t)
    app.get('/bug', async () => {
      throw thrown
    })
    const answer = await app.inject('/bug')
    t.equal(answer.statusCode, 500)
    t.equal(answer.headers['x-should-retry'], 'false')
    t.notMatch(answer.body, 'secret')
    t.match(answer.json(), { error: { type: 'server_error', code: 'internal_error', param: null } })
    t.match(answer.json().error.message, String(answer.headers['x-request-id']))
    assertSchema('ErrorResponse', answer.json())
    t.equal(failures[0]?.error, thrown)
  }
})

t.test('what Fastify refuses in an app of one’s own is in the envelope, too', async (t) => {
  const { app, failures } = await appWith(t, Fastify({ genReqId, bodyLimit: 10 }))
  app.post('/mine', { schema: { body: { type: 'object', required: ['a'] } } }, async () => 'fine')
  const post = (payload: string, type = 'application/json') =>
    app.inject({ method: 'POST', url: '/mine', payload, headers: { 'content-type': type } })
  for (const [answer, status] of [
    [await post('{"b":1}'), 400],
    [await post('{'), 400],
    [await post('{"a":12345678}'), 413],
    [await post('a', 'text/weird'), 415],
  ] as const) {
    t.equal(answer.statusCode, status)
    t.match(answer.json(), { error: { message: String, type: 'invalid_request_error', param: null, code: null } })
    assertSchema('ErrorResponse', answer.json())
  }
  t.same(failures, [])
})

t.test('a URL that cannot be read is in the envelope, with an id', async (t) => {
  const { app } = await appWith(t, Fastify({ genReqId, frameworkErrors: answerUnreadable }))
  app.get('/:name', async () => 'fine')
  const answer = await app.inject('/%')
  t.equal(answer.statusCode, 400)
  t.match(answer.headers['x-request-id'], /^req_/)
  t.match(answer.json(), { error: { type: 'invalid_request_error', param: null, code: null } })
  assertSchema('ErrorResponse', answer.json())
})

t.test('what is not a request at all is answered over the bare socket, which is then closed', async (t) => {
  const { app } = await appWith(
    t,
    Fastify({
      genReqId,
      clientErrorHandler: answerMalformedRequest,
      requestTimeout: 1000,
      http: { maxHeaderSize: 2048, headersTimeout: 500, connectionsCheckingInterval: 100 },
    }),
  )
  app.post('/', async () => 'fine')
  app.get('/begun', (_request, reply) => {
    reply.hijack()
    reply.raw.write('begun')
  })
  const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
  const head = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'
  const check = (t: Test, [answer, ...more]: RawAnswer[], status: number, code: string | null) => {
    t.same(more, [])
    t.match(answer, { status, headers: { connection: 'close', 'x-request-id': /^req_/ } })
    const body = JSON.parse(answer?.body ?? '')
    assertSchema('ErrorResponse', body)
    t.match(body, { error: { type: 'invalid_request_error', param: null, code } })
  }

  t.test('garbage', async (t) => {
    for (const garbage of ['garbage\r\n\r\n', '\u0016\u0003\u0001', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n']) {
      check(t, await talk(port, [garbage], { answers: 2 }), 400, null)
    }
  })
  t.test('a head that is too large', async (t) => {
    check(t, await talk(port, [`${head}x: ${'a'.repeat(3000)}\r\n\r\n`], { answers: 2 }), 431, 'header_too_large')
  })
  t.test('a head, and a body, that do not arrive in time', async (t) => {
    const late = await Promise.all([
      talk(port, [head], { answers: 2 }),
      talk(port, [`${head}content-length: 5\r\n\r\nab`], { answers: 2 }),
    ])
    for (const answers of late) check(t, answers, 408, 'request_timeout')
  })
  t.test('on a connection that has had an answer, too', async (t) => {
    const good = `${head}content-length: 2\r\n\r\n{}`
    const [first, ...more] = await talk(port, [good, untilAnswered, 'garbage\r\n\r\n'], { answers: 2 })
    t.match(first, { status: 200, body: 'fine' })
    check(t, more, 400, null)
  })
  t.test('but not when an answer has already begun', async (t) => {
    const answers = await talk(port, ['GET /begun HTTP/1.1\r\nhost: a\r\n\r\n', 50, 'garbage\r\n\r\n'])
    t.equal(answers.filter(({ status }) => status === 400).length, 0)
  })
})

t.test('needs the hooks, and says so', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => app.register(errors), { message: /signalbox-hooks/ })
})
