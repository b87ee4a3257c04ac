import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { dataOf } from '../gateway.ts'
import { runGateway } from '../process.ts'
import { startRedis } from '../redis.ts'
import { until } from '../redis-server.ts'
import { gated, startUpstream } from '../upstream.ts'

const [upstream, redis] = await Promise.all([startUpstream(), startRedis(t)])
t.teardown(() => upstream.close())

/** The connections that the gateway has to Redis. */
const connections = async (): Promise<number> => {
  const list = JSON.parse(await redis.ask('CLIENT', 'LIST')) as string
  return list.split('\n').filter((line) => line !== '' && !line.includes('name=test')).length
}

/** How many of them there were, when a collector got the traces and when it let go of them. */
const flushes: { before: number; after: number }[] = []
const collector = createServer(async (incoming, answer) => {
  await buffer(incoming)
  const before = await connections()
  await sleep(200)
  flushes.push({ before, after: await connections() })
  answer.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
})
await once(collector.listen(0, '127.0.0.1'), 'listening')
t.teardown(() => {
  collector.close()
  collector.closeAllConnections()
})

t.test('SIGTERM: readiness off, wait, drain, flush the traces, close Redis, end', async (t) => {
  const cwd = t.testdir({
    'signalbox.yaml': `
      server: { drainDelay: 1s }
      store: { kind: redis, url: '${redis.url}' }
      providers: { up: { baseURL: '${upstream.baseURL}' } }
    `,
  })
  const { port } = collector.address() as AddressInfo
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_BSP_SCHEDULE_DELAY: '600000' }
  const gateway = await runGateway(t, { cwd, env, lifeMs: 60_000 })
  const isReady = async (): Promise<boolean> =>
    (await fetch(`${gateway.url}/ready`, { headers: { connection: 'close' } })).ok
  const listens = async (): Promise<boolean> => {
    const socket = connect(gateway.port, '127.0.0.1')
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    return isThere
  }

  const stream = gated(['one', ' two'])
  upstream.next(stream.behaviour)
  stream.release(2)
  const answer = await fetch(`${gateway.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'up/m', messages: [{ role: 'user', content: 'hello' }], stream: true }),
  })
  t.ok(await isReady())

  gateway.process.kill('SIGTERM')
  await until(async () => !(await isReady()), 'readiness off')
  t.ok(await listens(), 'it is not ready, and still listens')

  await until(async () => !(await listens()), 'the end of listening')
  t.ok((await connections()) > 0, 'it listens no more, and still has its store')
  t.strictSame(flushes, [], 'and its traces')

  stream.release(Number.POSITIVE_INFINITY)
  t.equal(dataOf(await answer.text()).at(-1), '[DONE]', 'what was open ends whole')

  t.equal((await gateway.process.exited).code, 0)
  t.equal(flushes.length, 1, 'then the traces are sent')
  t.ok(
    flushes.every(({ before, after }) => before > 0 && after > 0),
    'and only when they are, the store is closed',
  )
  await until(async () => (await connections()) === 0, 'no connection to Redis is left')
})
