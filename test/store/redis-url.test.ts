import t from 'tap'
import { parseRedisUrl } from '../../src/store/redis-url.ts'

const plain = { tls: false, master: '', username: undefined, password: undefined, db: 0 }

t.test('one server', async (t) => {
  const nodes = [{ host: 'redis.example', port: 6379 }]
  t.strictSame(parseRedisUrl('redis://redis.example'), { ...plain, mode: 'single', nodes })
  t.strictSame(parseRedisUrl('rediss://redis.example:6379/3'), { ...plain, mode: 'single', nodes, tls: true, db: 3 })
  t.strictSame(parseRedisUrl('redis://[::1]:7000/').nodes, [{ host: '::1', port: 7000 }])
})

t.test('the master that sentinels name', async (t) => {
  const nodes = [
    { host: 'a', port: 26_379 },
    { host: '10.0.0.2', port: 5000 },
  ]
  t.strictSame(parseRedisUrl('redis+sentinel://a,10.0.0.2:5000/main'), {
    ...plain,
    mode: 'sentinel',
    nodes,
    master: 'main',
  })
  t.match(parseRedisUrl('rediss+sentinel://a/my%20master/2'), { tls: true, master: 'my master', db: 2 })
})

t.test('a cluster', async (t) => {
  const nodes = [
    { host: 'a', port: 6379 },
    { host: 'b', port: 7001 },
  ]
  t.strictSame(parseRedisUrl('redis+cluster://a,b:7001'), { ...plain, mode: 'cluster', nodes })
  t.equal(parseRedisUrl('rediss+cluster://a/').tls, true)
})

t.test('who logs in', async (t) => {
  t.match(parseRedisUrl('redis://alice:p%40ss%3A@h'), { username: 'alice', password: 'p@ss:' })
  t.match(parseRedisUrl('redis+sentinel://:secret@h,i/m'), { username: undefined, password: 'secret' })
  t.match(parseRedisUrl('redis+cluster://alice@h'), { username: 'alice', password: undefined })
})

t.test('anything else is refused, and nothing of it is told', async (t) => {
  const secret = 'hunter2'
  for (const rest of ['h:port', 'h:0', 'h:65536', 'h,i', 'h/x', 'h/1/2', 'h?tls=1', '', 'a@h', 'h:1:2', '::1']) {
    const url = `redis://:${secret}@${rest}`
    t.throws(() => parseRedisUrl(url), TypeError, url)
    t.notMatch(
      errorOf(() => parseRedisUrl(url)),
      secret,
    )
  }
  for (const url of [
    '',
    'redis',
    'http://h',
    'redis+ring://h',
    'redis+toString://h',
    'redis+sentinel://h',
    'redis+sentinel://h/',
    'redis+sentinel://h/m/x',
    'redis+cluster://h/1',
    'redis+cluster://h,',
    'redis://:%zz@h',
  ]) {
    t.throws(() => parseRedisUrl(url), { name: 'TypeError', message: /redis\+sentinel:/ }, url)
  }
})

function errorOf(work: () => unknown): string {
  try {
    work()
    return ''
  } catch (error) {
    return error instanceof Error ? `${error.stack} ${JSON.stringify(error)}` : String(error)
  }
}
