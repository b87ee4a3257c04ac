import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request as send } from 'node:http'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { APIUserAbortError } from 'openai'
import t from 'tap'
import type { HookEvents } from '../../src/hooks/events.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { scraped, sumOf } from '../scrape.ts'
import { type Behaviour, completionChunks, dropBeforeResponse, gated, hang, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const gateway = await startGateway(t, { upstream })
const client = gateway.client()

const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'hello there' }] }
const streamed = { ...ask, stream: true as const }

/** The upstream sends the first chunk, and then thinks for ever. */
const beginOnly: Behaviour = async (request, exchange) => {
  exchange.startStream()
  const [first] = completionChunks(request)
  await exchange.event(first)
  await exchange.aborted
}

/** What the hooks tell of the next request. */
function told({ hooks }: Gateway): Promise<[HookEvents['onCompletion'], HookEvents['onResponse']]> {
  const completed = Promise.withResolvers<HookEvents['onCompletion']>()
  const ended = Promise.withResolvers<HookEvents['onResponse']>()
  hooks.once('onCompletion', completed.resolve)
  hooks.once('onResponse', ended.resolve)
  return Promise.all([completed.promise, ended.promise])
}

/** Resolves when the condition holds; fails the test when it does not come to hold in good time. */
async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 3000; !(await condition()); await sleep(5)) {
    if (performance.now() > end) throw new Error(`never came true: ${condition}`)
  }
}

/** A streamed request over a connection of its own, once its head is there. */
async function open(): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  const request = send(`${gateway.url}/v1/chat/completions`, { method: 'POST', agent: false })
  request.on('error', () => undefined).end(JSON.stringify(streamed))
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.on('error', () => undefined).resume()
  return { request, response }
}

const cases: Record<string, { behaviour: Behaviour; stream: boolean; status: number; arrived: number }> = {
  'while a call that does not stream waits': { behaviour: hang(), stream: false, status: 499, arrived: 0 },
  'before the head of a stream': { behaviour: hang(), stream: true, status: 499, arrived: 0 },
  'before the first token': { behaviour: gated(['a']).behaviour, stream: true, status: 499, arrived: 0 },
}

for (const [name, { behaviour, stream, status, arrived }] of Object.entries(cases)) {
  t.test(`a client that leaves ${name} aborts the upstream at once`, async (t) => {
    upstream.behave(behaviour)
    const events = told(gateway)
    const controller = new AbortController()
    const answer = client.chat.completions.create({ ...ask, stream }, { signal: controller.signal })
    const { closed } = await upstream.request(0)
    controller.abort()
    t.type(await t.rejects(answer), APIUserAbortError)

    const { aborted } = await closed
    t.equal(aborted, true)
    const [completion, response] = await events
    t.match(completion, { model: 'openai/*', usage: { estimated: true, completion_tokens: arrived } })
    t.match(response, { status, outcome: 'client_closed', errorCode: 'client_closed' })
    t.match(gateway.requestLines().at(-1), {
      level: 30,
      outcome: 'client_closed',
      status,
      requestId: response.requestId,
      estimated: true,
      completionTokens: arrived,
    })
    t.equal(gateway.app.oaiServer.openRequests, 0)
  })
}

t.test('a client that leaves mid-stream aborts the upstream at once, and what arrived is counted', async (t) => {
  const gate = gated(['a', 'b', 'c'])
  upstream.behave(gate.behaviour)
  gate.release(3)
  const events = told(gateway)
  const stream = await client.chat.completions.create(streamed)
  let received = 0
  for await (const _ of stream) {
    received += 1
    if (received < 3) continue
    break
  }
  const { aborted } = await upstream.last().closed
  t.equal(aborted, true)
  const [completion, response] = await events
  t.match(completion, {
    stream: true,
    usage: { estimated: true, completion_tokens: 3, prompt_tokens: Number, total_tokens: Number },
    firstTokenMs: Number,
  })
  t.match(response, { status: 200, outcome: 'client_closed', stream: true })
  t.match(gateway.requestLines().at(-1), { outcome: 'client_closed', status: 200, completionTokens: 3 })
})

t.test('a client that resets its connection is a client that left', async (t) => {
  upstream.behave(beginOnly)
  const events = told(gateway)
  const { request } = await open()
  request.socket?.resetAndDestroy()
  t.match(await upstream.last().closed, { aborted: true })
  t.match(await events, [{ usage: { estimated: true } }, { outcome: 'client_closed' }])
})

t.test('a client that leaves during a keep-alive aborts the upstream, too', async (t) => {
  const patient = await startGateway(t, { upstream, config: { server: { keepAlive: '20ms' } } })
  upstream.behave(hang())
  const events = told(patient)
  const stream = await patient.client().chat.completions.create(streamed)
  stream.controller.abort()
  t.match(await upstream.last().closed, { aborted: true })
  t.match(await events, [{ usage: { completion_tokens: 0, estimated: true } }, { outcome: 'client_closed' }])
})

t.test('a client that leaves while the gateway still connects to the upstream is let go at once', async (t) => {
  const accepted = Promise.withResolvers<void>()
  // It never answers the TLS handshake, so the connection never comes about.
  const deaf = createServer((socket) => accepted.resolve(void socket.on('error', () => undefined)))
  deaf.listen(0, '127.0.0.1')
  await once(deaf, 'listening')
  t.teardown(() => deaf.close())
  const address = deaf.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const connecting = await startGateway(t, {
    upstream: { baseURL: `https://127.0.0.1:${port}/v1` },
    provider: { timeouts: { connect: '500ms' } },
  })
  const ended = Promise.withResolvers<HookEvents['onResponse']>()
  connecting.hooks.once('onResponse', ended.resolve)
  const controller = new AbortController()
  const answer = connecting.client().chat.completions.create(ask, { signal: controller.signal })
  await accepted.promise
  controller.abort()
  t.type(await t.rejects(answer), APIUserAbortError)
  t.match(await ended.promise, { status: 499, outcome: 'client_closed' })
})

t.test('an embedding that nobody waits for is aborted', async (t) => {
  upstream.behave(hang())
  const controller = new AbortController()
  const answer = client.embeddings.create({ model: 'openai/e', input: 'text' }, { signal: controller.signal })
  const { closed } = await upstream.request(0)
  controller.abort()
  t.type(await t.rejects(answer), APIUserAbortError)
  t.match(await closed, { aborted: true })
  await eventually(() => gateway.requestLines().at(-1)?.route === '/v1/embeddings')
  t.match(gateway.requestLines().at(-1), { outcome: 'client_closed', status: 499 })
})

t.test('an upstream that fails after its client has left is nobody’s error', async (t) => {
  upstream.behave(async (request, exchange) => {
    await exchange.sleep(20).catch(() => undefined)
    await dropBeforeResponse()(request, exchange)
  })
  const before = gateway.logs.length
  const controller = new AbortController()
  const answer = client.chat.completions.create(ask, { signal: controller.signal })
  const { closed } = await upstream.request(0)
  controller.abort()
  t.type(await t.rejects(answer), APIUserAbortError)
  await closed
  await sleep(30)
  t.same(
    gateway.logs.slice(before).map(({ level, msg }) => [level, msg]),
    [[30, 'request']],
  )
})

t.test('hundreds of streams that are opened and dropped leave nothing behind', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const sockets = (): Promise<number> =>
    new Promise((resolve, reject) => {
      gateway.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
    })

  /** Half of them leave mid-stream, half before the head. */
  const openAndDrop = async (streams: number): Promise<void> => {
    for (let opened = 0; opened < streams; opened += 50) {
      upstream.behave(beginOnly)
      const begun = await Promise.all(Array.from({ length: 25 }, open))
      upstream.behave(hang())
      const waiting = Array.from({ length: 25 }, () =>
        send(`${gateway.url}/v1/chat/completions`, { method: 'POST', agent: false })
          .on('error', () => undefined)
          .end(JSON.stringify(streamed)),
      )
      await upstream.request(49)
      for (const { request } of begun) request.destroy()
      for (const request of waiting) request.destroy()
      const ends = await Promise.all(upstream.requests.map(({ closed }) => closed))
      if (!ends.every(({ aborted }) => aborted)) throw new Error('the upstream was not aborted')
      upstream.reset()
      gateway.logs.length = 0
    }
    await eventually(() => gateway.app.oaiServer.openRequests === 0)
    await eventually(async () => upstream.openConnections() === 0 && (await sockets()) <= before)
  }
  const heapUsed = async (): Promise<number> => {
    await sleep(50)
    collect()
    return process.memoryUsage().heapUsed
  }

  const before = await sockets()
  await openAndDrop(100)
  const heap = await heapUsed()
  await openAndDrop(500)
  const growth = (await heapUsed()) - heap
  t.equal(gateway.app.oaiServer.openRequests, 0)
  t.equal(upstream.openConnections(), 0)
  t.ok((await sockets()) <= before)
  t.ok(growth < 4_000_000, `the heap has grown by ${growth} bytes`)

  upstream.reset()
  const answer = await client.chat.completions.create(ask)
  t.equal(answer.choices[0]?.message.content, 'You said: hello there')
})

t.test('when all of that is over, metrics show nothing under way, and no listener has failed', async (t) => {
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
  const samples = await scraped(gateway.url)
  t.equal(sumOf(samples, 'signalbox_in_flight_requests'), 0)
  t.equal(sumOf(samples, 'signalbox_open_streams'), 0)
  t.equal(sumOf(samples, 'signalbox_listener_errors_total'), undefined)
})
