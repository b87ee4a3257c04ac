import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startGateway } from '../gateway.ts'
import { talk } from '../raw-http.ts'
import { hang, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const body = JSON.stringify({ model: 'openai/gpt-expensive', messages: [{ role: 'user', content: 'hi' }] })

/** Bytes of Latin-1, as they are on the wire. */
const post = (target: string, host: string): Buffer => {
  const head = [
    `POST ${target} HTTP/1.1`,
    `Host: ${host}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1')
}

t.test('no address and no Host gets around the key', async (t) => {
  const keys = [{ key: 'sk-only-alice-0001', user: 'alice', models: ['openai/cheap'] }]
  const gateway = await startGateway(t, { upstream, config: { auth: { keys } } })
  upstream.reset()
  // A library that only compares lengths takes this for a host, and reads a path in it.
  const smuggler = 'æèæðëõõáðùúþâóãóáûùìöçðçóéæûáÿìÿãìãüçþçñèôáàâñ/v1/chat/completions?'
  for (const [target, host] of [
    ['/health', smuggler],
    ['/ready', smuggler],
    ['/health', 'a/v1/chat/completions?'],
    ['/health', 'a@b'],
    ['//v1/chat/completions', 'a'],
    ['/health/../v1/chat/completions', 'a'],
    ['/v1/chat/completions/', 'a'],
    ['/v1/chat%2fcompletions', 'a'],
    ['http://a/v1/chat/completions', 'a'],
    ['/health?/v1/chat/completions', 'a'],
  ] as const) {
    const [answer] = await talk(gateway.port, [post(target, host)])
    t.ok([400, 401, 405].includes(answer?.status ?? 0), `${target} of ${host}: ${answer?.status}`)
  }
  t.equal(upstream.requests.length, 0)
})

t.test('a client that leaves while its key is looked up costs nothing', async (t) => {
  const asked = Promise.withResolvers<void>()
  const auth = {
    async verify() {
      asked.resolve()
      await sleep(150)
      return { userId: 'slow' }
    },
  }
  const gateway = await startGateway(t, { upstream, auth })
  upstream.reset()
  upstream.behave(hang())
  const socket = connect(gateway.port, '127.0.0.1')
  socket.write(post('/v1/chat/completions', 'a'))
  await asked.promise
  const over = Promise.withResolvers<unknown>()
  gateway.hooks.on('onResponse', over.resolve)
  socket.destroy()
  await once(socket, 'close')
  t.match(await over.promise, { status: 499, outcome: 'client_closed' })
  await sleep(50)
  t.equal(upstream.requests.length, 0)
  t.equal(gateway.app.oaiServer.openRequests, 0)
})

t.test('a plugin that says what it cannot mean lets nobody in', async (t) => {
  for (const result of [undefined, {}, { userId: 'a', metadata: { models: 'openai/cheap' } }]) {
    const gateway = await startGateway(t, { upstream, auth: { verify: () => result as { userId: string } } })
    t.equal((await gateway.post('/v1/chat/completions', body)).status, 401, JSON.stringify(result))
    await gateway.close()
  }
})

t.test('a client that never finishes its request does not keep its connection, nor hold up the end', async (t) => {
  const server = { timeouts: { headers: '300ms', request: '600ms' } }
  const gateway = await startGateway(t, { config: { server } })
  const sockets = Array.from({ length: 20 }, () =>
    connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true }),
  )
  for (const socket of sockets) {
    socket.on('error', () => {})
    socket.resume()
    socket.write('GET /health HTTP/1.1\r\nhost: a\r\n')
  }
  const open = (): Promise<number> =>
    new Promise((resolve) => gateway.app.server.getConnections((_, count) => resolve(count)))
  for (let waited = 0; waited < 60 && (await open()) > 0; waited++) await sleep(100)
  t.equal(await open(), 0)
  for (const socket of sockets) socket.destroy()

  const late = connect(gateway.port, '127.0.0.1').on('error', () => {})
  late.write('GET /health HTTP/1.1\r\n')
  await once(late, 'connect')
  await sleep(50)
  const drained = gateway.app.drain().then(() => 'drained')
  t.equal(await Promise.race([drained, sleep(5000, 'still waiting')]), 'drained')
  late.destroy()
})
