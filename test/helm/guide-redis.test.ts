import t from 'tap'
import { startGateway } from '../gateway.ts'
import { startCluster } from '../redis.ts'
import { RedisServer, until } from '../redis-server.ts'
import { startUpstream } from '../upstream.ts'
import { blockOf } from './page.ts'

const lines = blockOf('redis.conf').trim().split('\n')

t.test('the Redis of the page', { timeout: 60_000 }, async (t) => {
  const master = await RedisServer.start(t, () => ['save ""', ...lines, 'loglevel warning'])
  await RedisServer.start(t, () => ['save ""', 'repl-diskless-sync-delay 0', `replicaof 127.0.0.1 ${master.port}`])
  await until(async () => (await master.ask('INFO', 'replication')).includes('state=online'), 'the replica')

  t.test('lets the gateway do all it does, as the user of the page', async (t) => {
    const upstream = await startUpstream()
    t.teardown(() => upstream.close())
    const gateway = await startGateway(t, {
      upstream,
      config: {
        store: { kind: 'redis', url: master.url, username: 'signalbox', password: 'change-me', required: true },
        admin: { enabled: true, keys: [{ name: 'ops', key: 'sk-admin-0123456789' }] },
        limits: { requestsPerMinute: 1000, tokensPerMinute: 1_000_000, concurrentRequests: 10, usdPerDay: 10 },
        models: { echo: { targets: [{ model: 'openai/gpt-4o-mini' }], cache: { ttl: '1m' } } },
      },
    })
    const admin = await gateway.post(
      '/admin/v1/keys',
      { name: 'a key', user: 'alice' },
      { headers: { authorization: 'Bearer sk-admin-0123456789' } },
    )
    const { key } = (await admin.json()) as { key: string }
    t.match(key, /^sk-sbx-/, 'keys')

    const client = gateway.client({ apiKey: key })
    const messages = [{ role: 'user' as const, content: 'Hello!' }]
    t.ok(
      (await client.chat.completions.create({ model: 'echo', messages }, { headers: { 'x-conversation-id': 'c1' } }))
        .id,
      'conversations',
    )
    for (const cache of ['miss', 'hit']) {
      const { response } = await client.chat.completions.create({ model: 'echo', messages }).withResponse()
      t.equal(response.headers.get('x-signalbox-cache'), cache, 'the cache')
    }
    t.ok((await client.chat.completions.create({ model: 'echo', messages, store: true })).id, 'stored completions')
    t.equal((await client.chat.completions.list()).data.length, 1)

    const stored = await client.responses.create({ model: 'echo', input: 'Hello!', stream: true })
    let id = ''
    for await (const event of stored) if (event.type === 'response.completed') id = event.response.id
    t.equal((await client.responses.retrieve(id)).status, 'completed', 'responses')
    const again = await client.responses.retrieve(id, { stream: true })
    const events: string[] = []
    for await (const event of again) events.push(event.type)
    t.equal(events.at(-1), 'response.completed', 'and their events')
    await client.responses.delete(id)

    const failed = gateway.logs.filter(({ level }) => Number(level) >= 40)
    t.same(failed, [], 'and nothing that it was not allowed to')
    t.equal(await master.ask('ACL', 'LOG'), '[]', 'Redis has refused nothing')
  })

  t.test('lets that user do nothing else', async (t) => {
    const dryRun = (...command: string[]): Promise<string> => master.ask('ACL', 'DRYRUN', 'signalbox', ...command)
    t.match(await dryRun('SET', 'signalbox:a', '1'), 'OK')
    for (const command of [
      ['SET', 'other:a', '1'],
      ['FLUSHALL'],
      ['CONFIG', 'GET', '*'],
      ['KEYS', '*'],
      ['DEBUG', 'SLEEP', '1'],
      ['SHUTDOWN'],
      ['REPLICAOF', 'NO', 'ONE'],
      ['PUBLISH', 'a', 'b'],
    ])
      t.match(await dryRun(...command), /no permissions|has no permissions/, command.join(' '))
  })
})

t.test('its user is enough for a cluster, too', { timeout: 60_000 }, async (t) => {
  const { url, nodes } = await startCluster(t)
  const [, name = '', ...rules] = lines.find((line) => line.startsWith('user '))?.split(' ') ?? []
  for (const node of nodes) await node.ask('ACL', 'SETUSER', name, ...rules)
  const gateway = await startGateway(t, {
    config: { store: { kind: 'redis', url, username: name, password: 'change-me', required: true } },
  })
  const { status } = await gateway.post('/v1/responses', { model: 'demo/echo', input: 'Hello!' })
  t.equal(status, 200)
  for (const node of nodes) t.equal(await node.ask('ACL', 'LOG'), '[]', 'nothing is refused')
})
