import t from 'tap'
import { RedisIndex, StoreUnavailable } from '../../src/index.ts'
import { startCluster, startRedis } from '../redis.ts'
import { connected, emptyPrefix } from './redis-outages.ts'
import { keepsTheIndexContract } from './sorted-index-contract.ts'

t.test('as every index, on a single Redis', async (t) => {
  const { url } = await startRedis(t)
  keepsTheIndexContract(t, async (t) => new RedisIndex(await connected(t, { url, keyPrefix: emptyPrefix() })))
})

t.test('as every index, on a cluster', async (t) => {
  const { url } = await startCluster(t)
  keepsTheIndexContract(t, async (t) => new RedisIndex(await connected(t, { url, keyPrefix: emptyPrefix() })))
})

t.test('what one connection added, another has; it takes up room for its time only', async (t) => {
  const server = await startRedis(t)
  const [one, other] = await Promise.all([1, 2].map(() => connected(t, { url: server.url, keyPrefix: 'i:' })))
  if (!one || !other) throw new Error('there are two')
  await new RedisIndex(one).add('completions:{user:alice:all}', { at: Date.now(), member: 'a' }, { ttlSeconds: 60 })
  t.equal((await new RedisIndex(other).page('completions:{user:alice:all}', { order: 'asc', limit: 5 })).length, 1)
  t.match(await server.ask('PTTL', 'i:index:completions:{user:alice:all}'), /^(59|60)\d{3}$/)
  await server.kill()
  await t.rejects(new RedisIndex(one).page('k', { order: 'asc', limit: 5 }), StoreUnavailable)
})
