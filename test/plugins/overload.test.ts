import { connect } from 'node:net'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { eventually } from '../core.ts'
import { CLIENT_KEY, type Gateway, startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { talk } from '../raw-http.ts'
import { scraped, sumOf } from '../scrape.ts'
import { gated, hang, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello' }] }
const path = '/v1/chat/completions'

/** A gateway that works on two requests at a time, and lets one wait. */
const small = (t: Test, overload: object = {}): Promise<Gateway> =>
  startGateway(t, {
    upstream,
    config: {
      auth: { keys: [{ key: CLIENT_KEY, user: 'ann' }] },
      server: { overload: { maxInFlight: 2, maxQueue: 1, queueTimeout: '1h', ...overload } },
    },
  })

/** Two requests that are at work until released. */
async function fill(gateway: Gateway): Promise<{ answers: Promise<Response>[]; release(): void }> {
  const streams = [gated(['one']), gated(['two'])]
  upstream.next(...streams.map(({ behaviour }) => behaviour))
  for (const { release } of streams) release()
  const answers = streams.map(() => gateway.post(path, { ...ask, stream: true }))
  await Promise.all(answers)
  const release = (): void => {
    for (const { release } of streams) release(Number.POSITIVE_INFINITY)
  }
  return { answers, release }
}

const shown = async (gateway: Gateway) => {
  const samples = await scraped(gateway.url)
  return (name: string, labels?: Record<string, string>) => sumOf(samples, name, labels)
}

t.test('what is more than can be at work waits for its turn, unread', async (t) => {
  const gateway = await small(t)
  const { answers, release } = await fill(gateway)
  const waiting = gateway.post(path, ask)
  await eventually(() => gateway.app.admission.queued === 1)
  t.equal(upstream.requests.length, 2)
  let value = await shown(gateway)
  t.equal(value('signalbox_queued_requests'), 1)
  t.equal(value('signalbox_saturation_ratio'), 1)
  release()
  t.equal((await waiting).status, 200)
  for (const answer of answers) t.match(await (await answer).text(), /\[DONE\]/)
  await eventually(() => gateway.app.admission.inFlight === 0)
  value = await shown(gateway)
  t.equal(value('signalbox_queued_requests'), 0)
  t.equal(value('signalbox_saturation_ratio'), 0)
})

t.test('what the queue has no place for is refused at once', async (t) => {
  const gateway = await small(t)
  const { release } = await fill(gateway)
  const waiting = gateway.post(path, ask)
  await eventually(() => gateway.app.admission.isFull)

  const refused = await gateway.post(path, ask)
  t.equal(refused.status, 503)
  t.match(refused.headers.get('retry-after'), /^[1-5]$/)
  t.match(refused.headers.get('x-request-id'), /^req_/)
  t.equal(refused.headers.get('access-control-allow-origin'), '*')
  const body = await refused.json()
  assertSchema('ErrorResponse', body)
  t.match(body, { error: { type: 'server_error', code: 'overloaded', param: null } })
  const failure = await gateway
    .client()
    .chat.completions.create(ask)
    .catch((error: unknown) => error)
  t.ok(failure instanceof OpenAI.InternalServerError, 'an error that SDKs retry')

  const value = await shown(gateway)
  t.equal(value('signalbox_overload_refused_total', { reason: 'queue_full' }), 2)
  t.equal(value('signalbox_errors_total', { code: 'overloaded' }), 2)
  t.notOk(
    gateway.logs.some(({ msg }) => msg === 'request failed'),
    'nothing of the gateway failed',
  )
  t.equal(gateway.requestLines().filter(({ errorCode }) => errorCode === 'overloaded').length, 2)
  release()
  t.equal((await waiting).status, 200)
})

t.test('before its body is read', async (t) => {
  const gateway = await small(t, { maxQueue: 0 })
  const { release } = await fill(gateway)
  const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n`
  const [answer] = await talk(gateway.port, [head])
  t.match(answer, { status: 503, headers: { 'retry-after': /^[1-5]$/ } })
  release()
})

t.test('a connection that is kept alive is served again after a refusal', async (t) => {
  const gateway = await small(t, { maxQueue: 0 })
  const { answers, release } = await fill(gateway)
  const body = JSON.stringify(ask)
  const request = [
    `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${CLIENT_KEY}`,
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  ].join('\r\n')
  const socket = connect(gateway.port, '127.0.0.1').setEncoding('utf8')
  t.teardown(() => void socket.destroy())
  let received = ''
  socket.on('data', (text: string) => {
    received += text
  })
  socket.write(request)
  await eventually(() => received.includes('overloaded'))
  release()
  for (const answer of answers) await (await answer).text()
  await eventually(() => gateway.app.admission.inFlight === 0)
  socket.write(request)
  await eventually(() => received.includes('You said: hello'))
})

t.test('who waits for too long is refused, too', async (t) => {
  const gateway = await small(t, { queueTimeout: '50ms' })
  const { release } = await fill(gateway)
  const refused = await gateway.post(path, ask)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { error: { code: 'overloaded' } })
  t.equal((await shown(gateway))('signalbox_overload_refused_total', { reason: 'queue_timeout' }), 1)
  release()
})

t.test('who leaves the queue is forgotten', async (t) => {
  const gateway = await small(t)
  const { release } = await fill(gateway)
  const controller = new AbortController()
  const left = gateway.post(path, ask, { signal: controller.signal })
  await eventually(() => gateway.app.admission.queued === 1)
  controller.abort()
  await t.rejects(left)
  await eventually(() => gateway.app.admission.queued === 0)
  await eventually(() => gateway.requestLines().some(({ outcome }) => outcome === 'client_closed'))
  t.equal(upstream.requests.length, 2)
  release()
  await eventually(() => gateway.app.admission.inFlight === 0)
})

t.test('who has no key takes no place, and cannot wait for one', async (t) => {
  const gateway = await small(t)
  const { release } = await fill(gateway)
  const stranger = await gateway.post(path, ask, { headers: { authorization: 'Bearer sk-wrong' } })
  t.equal(stranger.status, 401)
  release()
})

t.test('what is cheap is served, however full it is', async (t) => {
  const gateway = await small(t, { maxQueue: 0 })
  const { release } = await fill(gateway)
  t.equal((await gateway.post(path, ask)).status, 503)
  const headers = { authorization: `Bearer ${CLIENT_KEY}` }
  for (const path of ['/health', '/ready', '/metrics', '/v1/models', '/v1/models/openai/*']) {
    t.equal((await fetch(gateway.url + path, { headers })).status, 200, path)
  }
  t.equal((await fetch(gateway.url + path, { method: 'OPTIONS' })).status, 204)
  t.equal((await gateway.post('/v1/responses/resp_none/cancel', '')).status, 404, 'what runs can be cancelled')
  t.equal((await gateway.post(`${path}?x=/cancel`, ask)).status, 503, 'and nothing is that only says so')
  t.equal((await gateway.post(`${path}/cancel`, ask)).status, 503)
  t.equal(
    (await gateway.post('//v1//chat//completions/?a', ask)).status,
    503,
    'an address written otherwise is the same',
  )
  release()
})

t.test('a place is free again, however its request has ended', async (t) => {
  const gateway = await small(t)
  const { admission } = gateway.app
  upstream.behave(hang())
  const controller = new AbortController()
  const left = gateway.post(path, ask, { signal: controller.signal })
  await eventually(() => upstream.requests.length === 1)
  controller.abort()
  await t.rejects(left)
  upstream.behave()
  await gateway.post(path, '{')
  await gateway.post(path, { ...ask, model: 'nobody' })
  await gateway.post('/v1/nothing', {})
  await (await gateway.post(path, { ...ask, stream: true })).text()
  await eventually(() => admission.inFlight === 0)
  t.equal(admission.queued, 0)
})

t.test('what is made in the background keeps its place until it is made', async (t) => {
  const gateway = await small(t)
  const stream = gated(['one'])
  upstream.next(stream.behaviour)
  const { id } = await gateway.client().responses.create({ model: 'openai/m', input: 'hello', background: true })
  t.equal(gateway.app.admission.inFlight, 1)
  stream.release(Number.POSITIVE_INFINITY)
  await eventually(() => gateway.app.admission.inFlight === 0)
  t.match(await gateway.client().responses.retrieve(id), { status: 'completed' })

  const resumable = gated(['one'])
  resumable.release()
  upstream.next(resumable.behaviour)
  const controller = new AbortController()
  const headers = { 'x-signalbox-resumable': 'true' }
  await gateway.post(path, { ...ask, stream: true }, { headers, signal: controller.signal })
  controller.abort()
  await eventually(() => gateway.requestLines().some(({ outcome }) => outcome === 'client_closed'))
  t.equal(gateway.app.admission.inFlight, 1)
  resumable.release(Number.POSITIVE_INFINITY)
  await eventually(() => gateway.app.admission.inFlight === 0)
})

t.test('who waits when the gateway stops waiting is told', async (t) => {
  const gateway = await startGateway(t, {
    upstream,
    config: { server: { drainTimeout: '200ms', overload: { maxInFlight: 1, queueTimeout: '1h' } } },
  })
  upstream.behave(hang())
  const first = gateway.post(path, ask)
  await eventually(() => upstream.requests.length === 1)
  const waiting = gateway.post(path, ask)
  await eventually(() => gateway.app.admission.queued === 1)
  const drained = gateway.app.drain()
  for (const answer of await Promise.all([first, waiting])) {
    t.equal(answer.status, 503)
    t.match(await answer.json(), { error: { code: 'shutting_down' } })
  }
  await drained
})
