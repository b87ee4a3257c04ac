import Fastify from 'fastify'
import t from 'tap'
import { health, hooks, rateLimit, redis } from '../../plugins/index.ts'
import { parseConfig } from '../../src/config/load.ts'
import { MemoryLimiter, RedisLimiter } from '../../src/index.ts'
import { startRedis } from '../redis.ts'

const { limits } = parseConfig('limits: { requestsPerMinute: 5, outputTokens: 10 }', 'the test', {})

t.test('in Redis where the store is, else in this process', async (t) => {
  const { url } = await startRedis(t)
  const [own, shared] = [Fastify(), Fastify()]
  for (const app of [own, shared]) {
    t.teardown(() => app.close())
    await app.register(hooks)
    await app.register(health)
  }
  await shared.register(redis, { url })
  for (const app of [own, shared]) await app.register(rateLimit, { limits })
  t.ok(own.limiter instanceof MemoryLimiter)
  t.ok(shared.limiter instanceof RedisLimiter)
  for (const { limiter } of [own, shared]) {
    t.match(limiter, { gateway: { requestsPerMinute: 5 }, defaultOutputTokens: 10, countsUsage: false })
  }
})

t.test('what Redis is asked is told', async (t) => {
  const { url } = await startRedis(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(hooks)
  await app.register(health)
  await app.register(redis, { url })
  await app.register(rateLimit, { limits })
  const told: unknown[] = []
  app.hooks.on('onStore', (report) => told.push(report))
  await app.limiter.reserve([{ limit: 'requests', scope: 'gateway', id: '', cap: 5, amount: 1 }])
  t.match(told, [{ part: 'limits', operation: 'reserve', outcome: 'ok' }])
})

t.test("a limiter of one's own is taken as it is", async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const limiter = new MemoryLimiter()
  await app.register(hooks)
  await app.register(rateLimit, { limiter })
  t.equal(app.limiter, limiter)
})
