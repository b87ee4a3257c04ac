import Fastify, { type FastifyInstance } from 'fastify'
import { type AuthPlugin, BearerKeyAuth, GatewayError, type HookEvents } from 'signalbox'
import { type AuthOptions, auth, errors, hooks } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { assertSchema } from '../openapi.ts'

const KEY = 'sk-correct-horse-battery'

/** An app that tells who asks. */
async function appWith(
  t: Test,
  options: AuthOptions,
): Promise<{ app: FastifyInstance; refusals: HookEvents['onAuthFail'][] }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(hooks)
  await app.register(errors)
  await app.register(auth, options)
  const refusals: HookEvents['onAuthFail'][] = []
  app.hooks.on('onAuthFail', (refusal) => refusals.push(refusal))
  for (const path of ['/who', '/health', '/ready', '/healthy', '/v1/health']) {
    app.get(path, async ({ principal }) => ({ principal }))
  }
  app.get('/open', { config: { public: true } }, async ({ principal }) => ({ principal }))
  return { app, refusals }
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

t.test('without a plugin everybody is anonymous', async (t) => {
  const { app } = await appWith(t, {})
  const answer = await app.inject({ url: '/who', headers: bearer('anything') })
  t.equal(answer.statusCode, 200)
  t.strictSame(answer.json(), { principal: null })
})

t.test('a listed key is its user', async (t) => {
  const keys = new BearerKeyAuth({ keys: [{ key: KEY, user: 'ann', models: ['a/*'] }, 'sk-another-key'] })
  const { app, refusals } = await appWith(t, { auth: keys })
  for (const authorization of [`Bearer ${KEY}`, `bearer ${KEY}`, `BEARER ${KEY}`]) {
    const answer = await app.inject({ url: '/who', headers: { authorization } })
    t.strictSame(answer.json(), { principal: { userId: 'ann', metadata: { models: ['a/*'] } } }, authorization)
  }
  const other = await app.inject({ url: '/who', headers: bearer('sk-another-key') })
  t.match(other.json(), { principal: { userId: /^key:sk-ano-[0-9a-f]{8}$/ } })
  t.same(refusals, [])
})

t.test('anything else is refused with a 401, and announced without the key', async (t) => {
  const { app, refusals } = await appWith(t, { auth: new BearerKeyAuth({ keys: [KEY] }) })
  const wrong = [
    {},
    bearer('sk-wrong-secret'),
    bearer(''),
    { authorization: 'Bearer' },
    { authorization: KEY },
    { authorization: `Basic ${KEY}` },
    { authorization: `Bearer ${KEY},` },
    { 'x-api-key': KEY },
  ]
  for (const [index, headers] of wrong.entries()) {
    for (const url of ['/who', '/nowhere']) {
      refusals.length = 0
      const answer = await app.inject({ url, headers })
      t.equal(answer.statusCode, 401, `${index} ${url}`)
      assertSchema('ErrorResponse', answer.json())
      t.match(answer.json(), { error: { code: 'invalid_api_key', type: 'authentication_error', param: null } })
      t.match(answer.headers['www-authenticate'], /^Bearer/)
      t.match(refusals, [{ requestId: String(answer.headers['x-request-id']), reason: /./ }])
      t.equal(refusals.length, 1)
      t.notMatch(answer.body + JSON.stringify(refusals), /sk-/)
    }
  }
})

t.test('a plugin of one’s own sees all headers, and is asked once', async (t) => {
  const seen: string[][] = []
  const forwarded: AuthPlugin = {
    verify(headers) {
      seen.push([...headers].flat())
      const userId = headers.get('x-forwarded-user')
      if (!userId) throw new Error('no user was forwarded')
      return { userId, metadata: { tenant: headers.get('x-tenant') } }
    },
  }
  const { app, refusals } = await appWith(t, { auth: forwarded })
  const answer = await app.inject({
    url: '/who',
    headers: { 'X-Forwarded-User': 'bob', 'x-tenant': ['a', 'b'], cookie: 'c=d' },
  })
  t.strictSame(answer.json(), { principal: { userId: 'bob', metadata: { tenant: 'a, b' } } })
  t.equal(seen.length, 1)
  t.match(seen.flat().join(), 'x-forwarded-user,bob')
  t.match(seen.flat().join(), 'cookie,c=d')

  const refused = await app.inject('/who')
  t.equal(refused.statusCode, 401)
  t.match(refusals, [{ reason: 'no user was forwarded' }])
  t.notMatch(refused.body, 'forwarded', 'its words stay inside')
})

t.test('a plugin may be asynchronous, and throw what it likes', async (t) => {
  for (const thrown of [new Error('expired'), new GatewayErrorLike(), 'a text', null, undefined, 403]) {
    const { app, refusals } = await appWith(t, { auth: { verify: () => Promise.reject(thrown) } })
    t.equal((await app.inject('/who')).statusCode, 401, String(thrown))
    t.match(refusals, [{ reason: String }])
  }
  const { app } = await appWith(t, { auth: { verify: async () => ({ userId: 'later' }) } })
  t.match((await app.inject('/who')).json(), { principal: { userId: 'later' } })
})

/** It only looks like one. */
class GatewayErrorLike extends Error {
  readonly status = 200
  readonly statusCode = 200
}

t.test('a plugin whose store is down does not say that the key is bad', async (t) => {
  const verify = () => {
    throw new GatewayError('upstream_unreachable', 'the key store cannot be reached', { retryAfter: 5 })
  }
  const { app, refusals } = await appWith(t, { auth: { verify } })
  const answer = await app.inject({ url: '/who', headers: bearer(KEY) })
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['retry-after'], '5')
  t.match(answer.json(), { error: { message: 'the key store cannot be reached' } })
  t.same(refusals, [])
})

t.test('probes and public routes need no key', async (t) => {
  const verify = () => {
    throw new Error('asked for no reason')
  }
  for (const plugin of [{ verify }, new BearerKeyAuth({ keys: [KEY] })]) {
    const { app, refusals } = await appWith(t, { auth: plugin })
    for (const url of ['/health', '/ready', '/health?verbose', '/open', '/open?x=/who']) {
      t.equal((await app.inject(url)).statusCode, 200, url)
    }
    t.same(refusals, [])
    for (const url of ['/healthy', '/v1/health', '/who?/health', '/health/../who', '/who#/health', '/Health']) {
      t.equal((await app.inject(url)).statusCode, 401, url)
    }
  }
})

t.test('needs the hooks, and says so', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => app.register(auth, {}), { message: /signalbox-hooks/ })
})
