import { Ajv2020 } from 'ajv/dist/2020.js'
import t, { type Test } from 'tap'
import { eventually } from '../core.ts'
import { CLIENT_KEY, type Gateway, type GatewayOptions, startGateway } from '../gateway.ts'
import { scraped, sumOf } from '../scrape.ts'
import { completion, type Json, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const ADMIN_KEY = 'admin-key-of-the-ops'
const ask = { model: 'fast', messages: [{ role: 'user' as const, content: 'hello' }] }

interface Answer {
  status: number
  body: Json
  headers: Headers
}

interface Administered extends Gateway {
  /** A call of the admin API with the admin key, or another one, or none. */
  call(method: string, path: string, body?: unknown, key?: string | null): Promise<Answer>
  /** The audit lines so far. */
  audit(): Json[]
}

async function administered(t: Test, { config = {}, ...options }: GatewayOptions = {}): Promise<Administered> {
  const { admin, ...rest } = config
  const gateway = await startGateway(t, {
    upstream,
    config: {
      auth: { keys: [{ key: CLIENT_KEY, user: 'ann' }] },
      models: {
        fast: { targets: [{ model: 'openai/small' }, { model: 'openai/org/large' }] },
        'any/*': { targets: [{ model: 'openai/*' }] },
      },
      catalog: { 'openai/small': { prices: { input: 1_000_000, output: 0 } } },
      admin: { enabled: true, keys: [{ name: 'ops', key: ADMIN_KEY }], ...admin },
      ...rest,
    },
    ...options,
  })
  const own = gateway.logs.map(({ msg }) => /The admin API is at (\S+)\/admin\/v1/.exec(String(msg))?.[1]).find(Boolean)
  return {
    ...gateway,
    async call(method, path, body, key = ADMIN_KEY) {
      const response = await fetch(`${own ?? gateway.url}${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers: {
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
      })
      return { status: response.status, headers: response.headers, body: (await response.json()) as Json }
    },
    audit: () =>
      gateway.logs
        .filter(({ msg }) => msg === 'audit')
        .map(({ time, pid, hostname, requestId, level, msg, ...line }) => line),
  }
}

const keysPath = '/admin/v1/keys'
const make = async (
  gateway: Administered,
  body: Json = { name: 'shop' },
): Promise<{ id: string; key: string } & Json> =>
  (await gateway.call('POST', keysPath, body)).body as { id: string; key: string }
const errorOf = ({ status, body }: Answer) => {
  const { type, code, param } = body.error as Json
  return { status, type, code, param }
}

t.test('it is not there unless it is wanted, nor its page', async (t) => {
  const gateway = await startGateway(t, { upstream, config: { auth: { keys: [{ key: CLIENT_KEY }] } } })
  for (const path of [keysPath, '/docs', '/docs/openapi.json']) {
    const response = await fetch(gateway.url + path, { headers: { authorization: `Bearer ${CLIENT_KEY}` } })
    t.equal(response.status, 404, path)
  }
})

for (const [where, admin] of Object.entries({ 'on the port of the app': {}, 'on a port of its own': { port: 0 } })) {
  t.test(where, async (t) => {
    const gateway = await administered(t, { config: { admin } })

    t.test('it takes admin keys, and no others', async (t) => {
      const { key } = await make(gateway)
      const call = (key: string | null) => gateway.call('GET', keysPath, undefined, key)
      t.equal((await call(ADMIN_KEY)).status, 200)
      const unknown = { status: 401, type: 'authentication_error', code: 'invalid_api_key', param: null }
      t.strictSame(errorOf(await call(null)), unknown)
      t.strictSame(errorOf(await call('sk-wrong')), unknown)
      t.equal((await call(null)).headers.get('www-authenticate'), 'Bearer')
      const ofClient = { status: 403, type: 'permission_error', code: 'admin_key_required', param: null }
      t.strictSame(errorOf(await call(CLIENT_KEY)), ofClient, 'not that of a configured client')
      t.strictSame(errorOf(await call(key)), ofClient, 'nor of one that it has made itself')
      const none = await gateway.call('GET', '/admin/v1/nothing', undefined, 'sk-wrong')
      t.equal(none.status, 401, 'and does not say what there is to others')
    })

    t.test('and an admin key is none of a client', async (t) => {
      await t.rejects(gateway.client({ apiKey: ADMIN_KEY }).chat.completions.create(ask), { message: /401/ })
      const { key } = await make(gateway)
      upstream.behave(completion())
      t.ok(await gateway.client({ apiKey: key }).chat.completions.create(ask))
      t.ok(await gateway.client().chat.completions.create(ask), 'configured keys work as ever')
    })

    t.test('what there is not is a 404', async (t) => {
      const missing = { status: 404, type: 'not_found_error', code: 'not_found', param: null }
      for (const [method, path] of [
        ['GET', '/admin/v1/nothing'],
        ['PUT', keysPath],
        ['GET', `${keysPath}/key_0123456789abcdef01234567`],
        ['DELETE', `${keysPath}/..%2F..%2Fetc`],
        ['POST', '/admin/v1/targets/nobody/*/drain'],
        ['POST', '/admin/v1/targets/openai/org/large/explode'],
      ] as const) {
        t.strictSame(errorOf(await gateway.call(method, path)), missing, path)
      }
    })

    t.test('what cannot be read is told in the envelope, too', async (t) => {
      t.match(errorOf(await gateway.call('GET', `${keysPath}/%zz`)), { status: 400, type: 'invalid_request_error' })
    })

    t.test('every answer names its request', async (t) => {
      t.match((await gateway.call('GET', keysPath)).headers.get('x-request-id'), /^req_/)
    })

    t.test('its document and its page need no key', async (t) => {
      const own = gateway.logs.map(({ msg }) => /The admin API is at (\S+)\/admin/.exec(String(msg))?.[1]).find(Boolean)
      const at = own ?? gateway.url
      const page = await fetch(`${at}/docs`)
      t.equal(page.status, 200)
      t.match(page.headers.get('content-type'), 'text/html')
      const html = await page.text()
      t.match(html, /<title>Signalbox admin API<.*swagger-ui/s)
      const assets = [...html.matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].map(([, path = '']) => path)
      t.ok(assets.length >= 3)
      for (const path of assets) t.equal((await fetch(new URL(path, `${at}/docs/`))).status, 200, path)
      const document = await (await fetch(`${at}/docs/openapi.json`)).text()
      t.match(JSON.parse(document), { openapi: '3.1.0' })
      t.notMatch(document, /ops|ann|openai\/small/, 'and say nothing of what there is')
    })
  })
}

t.test('keys', async (t) => {
  const gateway = await administered(t)

  t.test('the key itself is in the answer that makes it, and nowhere else', async (t) => {
    const made = await make(gateway, { name: 'shop', limits: { requestsPerMinute: 3 }, models: ['fast'] })
    t.match(made, {
      ...{ object: 'key', name: 'shop', state: 'active', models: ['fast'], limits: { requestsPerMinute: 3 } },
      ...{ user: made.id, expires_at: null, revoked_at: null, key: /^sk-sbx-[\w-]{43}$/ },
      secrets: [{ prefix: made.key.slice(0, 11), expires_at: null }],
    })
    await gateway.client({ apiKey: made.key }).chat.completions.create(ask)
    const { key: _key, ...shown } = made
    t.strictSame((await gateway.call('GET', `${keysPath}/${made.id}`)).body, shown)
    const list = await gateway.call('GET', keysPath)
    const config = await gateway.call('GET', '/admin/v1/config')
    const told = JSON.stringify([list.body, config.body, gateway.logs])
    for (const secret of [made.key.slice(11), ADMIN_KEY, CLIENT_KEY]) t.notOk(told.includes(secret))
    t.notMatch(told, /[\da-f]{64}/, 'nor its digest')
  })

  t.test('what is wrong with a request is told by its field', async (t) => {
    const { id } = await make(gateway)
    const paramOf = async (method: string, path: string, body?: unknown) => {
      const { status, param } = errorOf(await gateway.call(method, path, body))
      return [status, param]
    }
    t.strictSame(await paramOf('POST', keysPath, {}), [400, 'name'])
    t.strictSame(await paramOf('POST', keysPath, { name: 'n', modles: ['m'] }), [400, 'modles'])
    t.strictSame(await paramOf('POST', keysPath, { name: 'n', limits: { perMinute: 1 } }), [400, 'limits.perMinute'])
    t.strictSame(await paramOf('POST', keysPath, { name: 'n', limits: { usdPerDay: -1 } }), [400, 'limits.usdPerDay'])
    t.strictSame(await paramOf('POST', keysPath, { name: 'n', expires_at: 1 }), [400, 'expires_at'])
    t.strictSame(await paramOf('PATCH', `${keysPath}/${id}`, { key: 'mine' }), [400, 'key'])
    t.strictSame(await paramOf('POST', `${keysPath}/${id}/rotate`, { overlap_seconds: -1 }), [400, 'overlap_seconds'])
    t.strictSame(await paramOf('GET', `${keysPath}?limit=0`), [400, 'limit'])
    t.strictSame(await paramOf('GET', `${keysPath}?order=up`), [400, 'order'])
    t.strictSame(await paramOf('GET', `${keysPath}?after=nobody`), [400, 'after'])
    t.strictSame(await paramOf('GET', `${keysPath}?page=2`), [400, 'page'])
    const broken = await fetch(gateway.url + keysPath, {
      ...{ method: 'POST', body: '{"name"' },
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    })
    t.equal(broken.status, 400)
    t.match(await broken.json(), { error: { type: 'invalid_request_error' } })
  })

  t.test('a change holds for the next request but a few', async (t) => {
    const { id, key } = await make(gateway, { name: 'shop', models: ['other'] })
    const client = gateway.client({ apiKey: key })
    await t.rejects(client.chat.completions.create(ask), { status: 403, code: 'model_not_allowed' })
    const changed = await gateway.call('PATCH', `${keysPath}/${id}`, { models: ['fast'], name: 'new' })
    t.match(changed, { status: 200, body: { models: ['fast'], name: 'new' } })
    const works = async () => (await client.chat.completions.create(ask).catch(() => undefined)) !== undefined
    const end = performance.now() + 2000
    while (!(await works())) if (performance.now() > end) return t.fail('within two seconds')
    t.match((await gateway.call('PATCH', `${keysPath}/${id}`, { models: null })).body, { models: null })
  })

  t.test('revoked, it is refused, and can be changed no more', async (t) => {
    const { id, key } = await make(gateway)
    t.match(await gateway.call('DELETE', `${keysPath}/${id}`), { status: 200, body: { state: 'revoked' } })
    await t.rejects(gateway.client({ apiKey: key }).models.list(), { status: 401, code: 'invalid_api_key' })
    for (const [method, path, body] of [
      ['PATCH', `${keysPath}/${id}`, { name: 'n' }],
      ['POST', `${keysPath}/${id}/rotate`, {}],
    ] as const) {
      t.match(errorOf(await gateway.call(method, path, body)), { status: 409, code: 'key_revoked' })
    }
    t.equal((await gateway.call('DELETE', `${keysPath}/${id}`)).status, 200, 'again is no fault')
  })

  t.test('rotated, old and new work, and then only the new one', async (t) => {
    const { id, key } = await make(gateway)
    const { body } = await gateway.call('POST', `${keysPath}/${id}/rotate`)
    t.match(body, { id, secrets: [{ prefix: key.slice(0, 11), expires_at: Number }, { expires_at: null }] })
    const works = (apiKey: string) =>
      gateway
        .client({ apiKey })
        .models.list()
        .then(
          () => true,
          () => false,
        )
    t.strictSame([await works(key), await works(String(body.key))], [true, true])
    const { body: last } = await gateway.call('POST', `${keysPath}/${id}/rotate`, { overlap_seconds: 0 })
    t.equal((last.secrets as Json[]).length, 1)
    t.equal(await works(String(last.key)), true)
  })

  t.test('they are listed page by page, the newest first', async (t) => {
    const gateway = await administered(t)
    const ids: string[] = []
    for (const name of ['a', 'b', 'c']) ids.unshift((await make(gateway, { name })).id)
    const { body: first } = await gateway.call('GET', `${keysPath}?limit=2`)
    t.match(first, { object: 'list', has_more: true, last_id: String })
    const { body: rest } = await gateway.call('GET', `${keysPath}?limit=2&after=${first.last_id}`)
    t.equal(rest.has_more, false)
    const listed = [...(first.data as Json[]), ...(rest.data as Json[])].map(({ id }) => id)
    t.strictSame([...listed].sort(), [...ids].sort())
  })

  t.test('what a key has used', async (t) => {
    const { id, key } = await make(gateway)
    await gateway.call('POST', '/admin/v1/targets/openai/org/large/drain')
    upstream.behave(completion({ usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 } }))
    const client = gateway.client({ apiKey: key })
    await client.chat.completions.create(ask)
    await client.chat.completions.stream(ask).finalChatCompletion()
    await gateway.client().chat.completions.create(ask)
    await gateway.call('POST', '/admin/v1/targets/openai/org/large/undrain')
    const used = { requests: 2, tokens: 10, usd: 4, unpriced: 0 }
    t.match((await gateway.call('GET', `${keysPath}/${id}/usage`)).body, {
      ...{ object: 'key.usage', key_id: id, today: used, this_month: used },
    })
  })
})

t.test('targets', async (t) => {
  const gateway = await administered(t)
  const state = async () => {
    const { body } = await gateway.call('GET', '/admin/v1/targets')
    return (body.data as Json[]).map(({ id, drained }) => `${id} ${drained ? 'out' : 'in'}`)
  }
  const asked = () => new Set(upstream.requests.map(({ body }) => (body as Json).model))

  t.strictSame(await state(), ['openai/small in', 'openai/org/large in', 'openai/* in'])
  const { status, body } = await gateway.call('POST', '/admin/v1/targets/openai/org%2Flarge/drain')
  t.match({ status, body }, { status: 200, body: { id: 'openai/org/large', drained: true, drained_by: 'ops' } })
  for (let n = 0; n < 20; n++) await gateway.client().chat.completions.create(ask)
  t.strictSame([...asked()], ['small'], 'its model goes on with the others')

  await gateway.call('POST', '/admin/v1/targets/openai/small/drain')
  t.strictSame(await state(), ['openai/small out', 'openai/org/large out', 'openai/* in'])
  const refused = await gateway.post('/v1/chat/completions', ask)
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '60')
  t.match(await refused.json(), { error: { code: 'no_target_available' } })
  const available = async () =>
    ((await gateway.call('GET', '/admin/v1/models')).body.data as Json[]).map(({ id, available }) => [id, available])
  t.strictSame(await available(), [
    ['fast', false],
    ['any/*', true],
  ])

  await gateway.call('POST', '/admin/v1/targets/openai/small/undrain')
  await gateway.call('POST', '/admin/v1/targets/openai/org/large/undrain')
  t.strictSame(await state(), ['openai/small in', 'openai/org/large in', 'openai/* in'])
  await gateway.call('POST', '/admin/v1/targets/openai/*/drain')
  t.strictSame(await state(), ['openai/small out', 'openai/org/large out', 'openai/* out'], 'a whole provider')
  const one = await gateway.post('/v1/chat/completions', { ...ask, model: 'any/x' })
  t.equal(one.status, 503)
  t.equal(one.headers.get('retry-after'), '60')
  t.match(await one.json(), { error: { code: 'target_drained' } }, 'an only target says itself that it is out')
})

t.test('every call is in the audit, the refused ones, too', async (t) => {
  const gateway = await administered(t)
  const told: unknown[] = []
  gateway.hooks.on('onAdmin', ({ requestId, ...call }) => told.push(call))
  const { id } = await make(gateway)
  await gateway.call('PATCH', `${keysPath}/${id}`, { name: 'n', limits: null })
  await gateway.call('PATCH', `${keysPath}/${id}`, { name: '' })
  await gateway.call('GET', keysPath, undefined, CLIENT_KEY)
  await gateway.call('DELETE', `${keysPath}/${id}`, undefined, null)
  await gateway.call('GET', '/admin/v1/nothing')
  await gateway.call('POST', '/admin/v1/targets/openai/org/large/drain')
  const expected = [
    { admin: 'ops', action: 'keys.create', subject: id, outcome: 'ok', status: 201 },
    { admin: 'ops', action: 'keys.update', subject: id, changes: ['name', 'limits'], outcome: 'ok', status: 200 },
    { admin: 'ops', action: 'keys.update', outcome: 'invalid', status: 400 },
    { admin: null, action: 'keys.list', outcome: 'refused', status: 403 },
    { admin: null, action: 'keys.revoke', outcome: 'refused', status: 401 },
    { admin: 'ops', action: 'unknown', outcome: 'invalid', status: 404 },
    { admin: 'ops', action: 'targets.drain', subject: 'openai/org/large', outcome: 'ok', status: 200 },
  ]
  t.strictSame(told, expected)
  t.strictSame(gateway.audit(), expected, 'and in the log')
  t.match(
    gateway.logs.find(({ msg }) => msg === 'audit'),
    { level: 30, requestId: /^req_/ },
  )
  await eventually(() => gateway.requestLines().length >= expected.length)
  const samples = await scraped(gateway.url)
  const counted = (labels: Record<string, string>) => sumOf(samples, 'signalbox_admin_calls_total', labels)
  t.equal(counted({}), expected.length)
  t.equal(counted({ outcome: 'refused' }), 2)
  t.equal(counted({ action: 'keys.update', outcome: 'ok' }), 1)
})

t.test('without keys in the configuration, clients need one of the store', async (t) => {
  const gateway = await administered(t, { config: { auth: undefined as never } })
  await t.rejects(gateway.client().models.list(), { message: /401/ })
  const { key } = await make(gateway)
  t.ok(await gateway.client({ apiKey: key }).models.list())
})

t.test('keys in memory are not pushed out by what else is kept there', async (t) => {
  const gateway = await administered(t)
  const { id } = await make(gateway)
  for (let n = 0; n < 10_001; n++) await gateway.app.store.persistence.set(`c${n}`, n)
  t.equal((await gateway.call('GET', `${keysPath}/${id}`)).status, 200)
})

t.test('the OpenAPI document', async (t) => {
  const gateway = await administered(t)
  const document = (await (await fetch(`${gateway.url}/docs/openapi.json`)).json()) as {
    openapi: string
    paths: Record<string, Record<string, Json>>
    components: { securitySchemes: Json }
  }
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, path, operation })),
  )

  t.test('has every operation, and nothing else', async (t) => {
    t.strictSame(operations.map(({ name }) => name).sort(), [
      'delete /admin/v1/keys/{id}',
      'get /admin/v1/config',
      'get /admin/v1/keys',
      'get /admin/v1/keys/{id}',
      'get /admin/v1/keys/{id}/usage',
      'get /admin/v1/models',
      'get /admin/v1/targets',
      'patch /admin/v1/keys/{id}',
      'post /admin/v1/keys',
      'post /admin/v1/keys/{id}/rotate',
      'post /admin/v1/targets/{provider}/{model}/drain',
      'post /admin/v1/targets/{provider}/{model}/undrain',
    ])
    t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length)
    t.strictSame(document.components.securitySchemes, { adminKey: { type: 'http', scheme: 'bearer' } })
  })

  t.test('each names its parameters, and has schemas that are valid', async (t) => {
    const ajv = new Ajv2020({ strict: false })
    for (const { name, path, operation } of operations) {
      const {
        parameters = [],
        requestBody,
        responses,
      } = operation as {
        parameters?: { name: string; in: string; required?: boolean; schema: object }[]
        requestBody?: { content: Record<string, { schema: object }> }
        responses: Record<string, { description: string; content: Record<string, { schema: object }> }>
      }
      const inPath = parameters.filter((parameter) => parameter.in === 'path')
      t.strictSame(
        inPath.map(({ name, required }) => [name, required]),
        [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [name, true]),
        name,
      )
      const answers = Object.values(responses)
      for (const { description } of answers) t.ok(description, name)
      const schemas = [
        ...parameters.map(({ schema }) => schema),
        ...[requestBody, ...answers].flatMap((part) => Object.values(part?.content ?? {}).map(({ schema }) => schema)),
      ]
      for (const schema of schemas) t.ok(ajv.validateSchema(schema), name)
      t.ok(schemas.length > 1, name)
    }
  })

  t.test('what is answered is what it says', async (t) => {
    const ajv = new Ajv2020({ strict: false, removeAdditional: 'all' })
    const { id } = await make(gateway)
    const fits = async (method: string, template: string, path: string, body?: unknown) => {
      const { status, body: answer } = await gateway.call(method, path, body)
      const { responses } = (document.paths[template]?.[method.toLowerCase()] ?? {}) as {
        responses?: Record<string, { content: { 'application/json': { schema: object } } }>
      }
      const schema = (responses?.[status] ?? responses?.[`${Math.trunc(status / 100)}XX`])?.content['application/json']
        .schema
      const told = structuredClone(answer)
      t.ok(schema && ajv.validate(schema, told), `${method} ${template} ${status}: ${ajv.errorsText()}`)
      t.strictSame(told, answer, `${method} ${template}: and no more`)
    }
    await fits('POST', keysPath, keysPath, { name: 'a', models: ['m'], limits: { usdPerDay: 1 } })
    await fits('POST', keysPath, keysPath, {})
    await fits('GET', keysPath, keysPath)
    await fits('GET', `${keysPath}/{id}`, `${keysPath}/${id}`)
    await fits('PATCH', `${keysPath}/{id}`, `${keysPath}/${id}`, { user: 'u' })
    await fits('POST', `${keysPath}/{id}/rotate`, `${keysPath}/${id}/rotate`, {})
    await fits('GET', `${keysPath}/{id}/usage`, `${keysPath}/${id}/usage`)
    await fits('DELETE', `${keysPath}/{id}`, `${keysPath}/${id}`)
    await fits('GET', '/admin/v1/targets', '/admin/v1/targets')
    await fits('POST', '/admin/v1/targets/{provider}/{model}/drain', '/admin/v1/targets/openai/small/drain')
    await fits('GET', '/admin/v1/models', '/admin/v1/models')
    await fits('GET', '/admin/v1/config', '/admin/v1/config')
  })
})
