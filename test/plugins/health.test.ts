import Fastify from 'fastify'
import { health } from 'signalbox/plugins'
import t from 'tap'
import { startGateway } from '../gateway.ts'
import { completion, gated, startUpstream } from '../upstream.ts'

t.test('an app of one’s own is ready until it begins to close', async (t) => {
  const app = Fastify()
  await app.register(health)
  t.same(await app.readiness.report(), { status: 'ready' })

  const whileClosing = Promise.withResolvers<object>()
  app.addHook('onClose', async () => whileClosing.resolve(await app.readiness.report()))
  await app.close()
  t.match(await whileClosing.promise, { status: 'not_ready', reasons: { shutdown: /shutting down/ } })
  t.equal(app.readiness.draining, true)
})

t.test('parts that can be unready say why', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(health)
  let fault: string | undefined
  app.readiness.add('store', () => fault)
  app.readiness.add('cache', async () => undefined)
  t.same(await app.readiness.report(), { status: 'ready' })

  fault = 'it is down'
  app.readiness.add('disk', async () => {
    throw new Error('it is full')
  })
  t.same(await app.readiness.report(), { status: 'not_ready', reasons: { store: 'it is down', disk: 'it is full' } })
})

t.test('the service', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const keys = [{ key: 'sk-nobody-has-this' }]
  const gateway = await startGateway(t, { upstream, config: { auth: { keys } } })
  const get = async (path: string) => {
    const answer = await fetch(gateway.url + path)
    return { status: answer.status, type: answer.headers.get('content-type'), body: await answer.json() }
  }

  t.test('is alive and ready, as anybody may know', async (t) => {
    const type = 'application/json'
    for (const slash of ['', '/', '?x']) {
      t.same(await get(`/health${slash}`), { status: 200, type, body: { status: 'ok' } })
      t.same(await get(`/ready${slash}`), { status: 200, type, body: { status: 'ready' } })
    }
    t.equal((await fetch(`${gateway.url}/health`, { method: 'HEAD' })).status, 200)
    t.equal((await fetch(`${gateway.url}/ready`, { method: 'HEAD' })).status, 200)
  })

  t.test('is alive but not ready when a part is not', async (t) => {
    let fault: string | undefined = 'it is down'
    gateway.app.readiness.add('store', () => fault)
    t.match(await get('/ready'), { status: 503, body: { status: 'not_ready', reasons: { store: 'it is down' } } })
    t.match(await get('/health'), { status: 200 })
    fault = undefined
    t.match(await get('/ready'), { status: 200 })
  })

  t.test('serves on while it drains', async (t) => {
    gateway.app.readiness.drain()
    t.match(await get('/ready'), { status: 503, body: { reasons: { shutdown: String } } })
    t.match(await get('/health'), { status: 200 })
    const answer = await gateway
      .client({ apiKey: 'sk-nobody-has-this' })
      .chat.completions.create({ model: 'openai/m', messages: [{ role: 'user', content: 'hello' }] })
    t.equal(answer.choices[0]?.message.content, 'You said: hello')
  })

  t.test('lets open streams finish when it closes', async (t) => {
    const gate = gated(['a', 'b'])
    upstream.next(gate.behaviour, completion({ firstDelayMs: 100, text: 'late' }))
    gate.release()
    const client = gateway.client({ apiKey: 'sk-nobody-has-this' })
    const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello' }] }
    const stream = await client.chat.completions.create({ ...ask, stream: true })
    const waiting = client.chat.completions.create(ask)
    await upstream.request(2)
    t.equal(gateway.app.oaiServer.openRequests, 2)
    const closed = gateway.app.close()
    gate.release(Number.POSITIVE_INFINITY)
    let text = ''
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    t.equal(text, 'ab')
    t.equal((await waiting).choices[0]?.message.content, 'late')
    await closed
    t.equal(gateway.app.oaiServer.openRequests, 0)
    await t.rejects(fetch(`${gateway.url}/health`))
  })
})
