import Fastify, { type FastifyInstance } from 'fastify'
import { BearerKeyAuth } from 'signalbox'
import { auth, type CorsOptions, cors, errors, hooks } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { startGateway } from '../gateway.ts'
import { talk } from '../raw-http.ts'
import { failWith, startUpstream } from '../upstream.ts'

async function appWith(t: Test, options?: CorsOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(hooks)
  await app.register(errors)
  await app.register(cors, options ?? {})
  await app.register(auth, { auth: new BearerKeyAuth({ keys: ['sk-the-only-key'] }) })
  app.get('/v1/models', async () => ({ object: 'list', data: [] }))
  return app
}

const origin = 'https://app.example'
const preflight = {
  origin,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization,content-type,x-stainless-lang',
}

t.test('OPTIONS is a 204 on every path, for everybody', async (t) => {
  const app = await appWith(t)
  for (const url of ['/', '/v1/models', '/v1/chat/completions', '/nowhere/at/all', '/v1/models/a%2Fb?c=d']) {
    for (const headers of [preflight, { origin }, {}]) {
      const answer = await app.inject({ method: 'OPTIONS', url, headers })
      t.equal(answer.statusCode, 204, url)
      t.equal(answer.body, '')
      t.match(answer.headers, {
        'access-control-allow-origin': '*',
        'access-control-allow-methods': 'GET, HEAD, POST, PATCH, DELETE, OPTIONS',
        'access-control-max-age': '86400',
        'x-request-id': /./,
      })
    }
    const { headers } = await app.inject({ method: 'OPTIONS', url, headers: preflight })
    t.equal(headers['access-control-allow-headers'], preflight['access-control-request-headers'])
  }
})

t.test('a browser may read every answer, errors included, and the headers that its SDK looks at', async (t) => {
  const app = await appWith(t)
  for (const [headers, status] of [
    [{ origin, authorization: 'Bearer sk-the-only-key' }, 200],
    [{ origin }, 401],
  ] as const) {
    const answer = await app.inject({ url: '/v1/models', headers })
    t.equal(answer.statusCode, status)
    t.equal(answer.headers['access-control-allow-origin'], '*')
    t.equal(answer.headers['access-control-expose-headers'], '*')
  }
})

t.test('only the origins of the configuration are let in', async (t) => {
  const app = await appWith(t, { origins: [origin, 'https://other.example'], credentials: true })
  for (const allowed of [origin, 'https://other.example']) {
    const answer = await app.inject({ method: 'OPTIONS', url: '/', headers: { ...preflight, origin: allowed } })
    t.equal(answer.statusCode, 204)
    t.equal(answer.headers['access-control-allow-origin'], allowed)
    t.equal(answer.headers['access-control-allow-credentials'], 'true')
    t.match(answer.headers.vary, 'Origin')
  }
  // With cookies a star is a name like any other.
  const { headers } = await app.inject({ url: '/v1/models', headers: { origin } })
  const exposed = String(headers['access-control-expose-headers']).split(', ')
  for (const name of ['x-request-id', 'openai-processing-ms', 'retry-after', 'x-should-retry', 'x-signalbox-cache']) {
    t.ok(exposed.includes(name), `${name} is exposed`)
  }
  for (const strange of ['https://evil.example', 'null', 'https://app.example.evil.example', 'http://app.example']) {
    const answer = await app.inject({ method: 'OPTIONS', url: '/', headers: { ...preflight, origin: strange } })
    t.equal(answer.statusCode, 204)
    t.notOk('access-control-allow-origin' in answer.headers, strange)
  }
})

t.test('in the service', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startGateway(t, { upstream })
  const body = { model: 'openai/m', messages: [{ role: 'user', content: 'hello there' }] }

  t.test('whole answers, streams and errors carry the headers', async (t) => {
    for (const answer of [
      await gateway.post('/v1/chat/completions', body, { headers: { origin } }),
      await gateway.post('/v1/chat/completions', { ...body, stream: true }, { headers: { origin } }),
      await gateway.post('/v1/chat/completions', '{', { headers: { origin } }),
      await fetch(`${gateway.url}/nowhere`, { headers: { origin } }),
    ]) {
      t.equal(answer.headers.get('access-control-allow-origin'), '*', String(answer.status))
      await answer.text()
    }
    upstream.behave(failWith(500))
    const failed = await gateway.post('/v1/chat/completions', body, { headers: { origin } })
    t.equal(failed.status, 502)
    t.equal(failed.headers.get('access-control-allow-origin'), '*')
  })

  t.test('OPTIONS is a 204 also where the path is not one', async (t) => {
    for (const target of ['*', '/v1//models/..', '/v1/models/%2F', 'http://elsewhere/v1/models']) {
      const [answer] = await talk(gateway.port, [`OPTIONS ${target} HTTP/1.1\r\nhost: a\r\norigin: ${origin}\r\n\r\n`])
      t.match(answer, { status: 204, headers: { 'access-control-allow-origin': '*', 'x-request-id': /^req_/ } }, target)
    }
  })

  t.test('the origins come from the configuration', async (t) => {
    const picky = await startGateway(t, { upstream, config: { server: { cors: { origins: [origin] } } } })
    const ask = (origin: string) => fetch(`${picky.url}/v1/models`, { headers: { origin } })
    t.equal((await ask(origin)).headers.get('access-control-allow-origin'), origin)
    t.equal((await ask('https://evil.example')).headers.get('access-control-allow-origin'), null)
  })
})
