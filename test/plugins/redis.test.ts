import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { connectRedis } from 'signalbox'
import { health, type RedisPluginOptions, redis } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { startRedis } from '../redis.ts'
import { freePort, until } from '../redis-server.ts'
import { recovers } from '../store/redis-outages.ts'

type Line = { level: number; msg: string; err?: object }

/** An app of one's own with the plugin, and what it logs. */
async function appWith(t: Test, options: RedisPluginOptions): Promise<{ app: FastifyInstance; logs: Line[] }> {
  const logs: Line[] = []
  const logger: FastifyBaseLogger = pino({ level: 'info' }, { write: (line) => logs.push(JSON.parse(line)) })
  const app = Fastify({ loggerInstance: logger })
  t.teardown(() => app.close())
  await app.register(health)
  await app.register(redis, options)
  await app.ready()
  return { app, logs }
}

t.test('it opens a connection, and closes it with the app', async (t) => {
  const server = await startRedis(t)
  const { app, logs } = await appWith(t, { url: server.url })
  await app.redis.run((redis) => redis.set('k', 'v'))
  t.match(await server.ask('CLIENT', 'LIST'), /name=signalbox /)
  await app.close()
  t.equal(app.redis.status, 'closed')
  await until(async () => !(await server.ask('CLIENT', 'LIST')).includes('name=signalbox '), 'the connection to go')
  t.same(logs, [])
})

t.test('a connection of one’s own stays open', async (t) => {
  const { url } = await startRedis(t)
  const connection = await connectRedis({ url })
  t.teardown(() => connection.close())
  const { app } = await appWith(t, { connection })
  t.equal(app.redis, connection)
  await app.close()
  t.equal(connection.status, 'ready')
  await t.resolves(connection.ping())
})

t.test('an app whose Redis is not there starts all the same; each outage is told once, and its end', async (t) => {
  const server = await startRedis(t)
  await server.kill()
  const { app, logs } = await appWith(t, { url: `redis://:hunter2@127.0.0.1:${server.port}`, connectTimeoutMs: 300 })
  t.match(logs, [{ level: 40, msg: 'Redis cannot be reached', err: { message: /ECONNREFUSED/ } }])
  t.notMatch(JSON.stringify(logs), 'hunter2')
  t.same(await app.readiness.report(), { status: 'ready' }, 'and wants traffic: much of it needs no store')
  await server.restart()
  await recovers(t, () => app.redis.ping())
  await until(() => logs.length > 1, 'the line')
  t.match(logs.slice(1), [{ level: 30, msg: 'Redis can be reached again' }])
  t.equal(logs.length, 2)
})

t.test('an app that requires it is ready only while it is there', async (t) => {
  const server = await startRedis(t)
  const { app } = await appWith(t, { url: server.url, required: true })
  t.same(await app.readiness.report(), { status: 'ready' })
  server.pause()
  t.match(await app.readiness.report(), { status: 'not_ready', reasons: { store: 'the store cannot be reached' } })
  server.resume()
  await recovers(t, () => app.redis.ping())
  t.same(await app.readiness.report(), { status: 'ready' })
})

t.test('whoever listens hears, too', async (t) => {
  const heard: string[] = []
  const url = `redis://127.0.0.1:${await freePort()}`
  await appWith(t, { url, connectTimeoutMs: 100, onError: ({ message }) => heard.push(message) })
  t.match(heard[0], /ECONNREFUSED/)
})

t.test('options that cannot be right are told at the start', async (t) => {
  await t.rejects(appWith(t, { url: 'redis://:hunter2@host:port' }), { message: /redis\+cluster:/ })
})
