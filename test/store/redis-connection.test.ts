import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { connectRedis, GatewayError, type RedisConnection, StoreUnavailable } from '../../src/index.ts'
import { startCluster, startRedis } from '../redis.ts'
import { freePort, until } from '../redis-server.ts'
import { startProxy } from '../tcp-proxy.ts'
import { connected, failsInTime, recovers } from './redis-outages.ts'

/** The default. */
const commandTimeoutMs = 1000

const isWhole = (connection: RedisConnection): Promise<boolean> =>
  connection.ping().then(
    () => true,
    () => false,
  )

/** A Redis behind a network that can fail, and a connection through it. */
async function linked(t: Test) {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server.port)
  const connection = await connected(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const write = (): Promise<unknown> => connection.run((redis) => redis.set('k', 'v'))
  await write()
  return { server, proxy, connection, write }
}

/** A Redis that wants TLS with certificates on both sides. */
async function startTLS(t: Test) {
  const directory = t.testdir({})
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const names = ['-subj', '/CN=redis.test', '-addext', 'subjectAltName=DNS:redis.test']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const port = await freePort()
  const files = [`tls-cert-file ${cert}`, `tls-key-file ${key}`, `tls-ca-cert-file ${cert}`]
  await startRedis(t, { config: [`tls-port ${port}`, ...files, 'tls-auth-clients yes'] })
  const url = `rediss://127.0.0.1:${port}`
  const [ca, ownKey] = [readFileSync(cert, 'utf8'), readFileSync(key, 'utf8')]
  return { url, port, ca, own: { cert: ca, key: ownKey } }
}

t.test('a connection', async (t) => {
  t.test('is ready when it is there, and closed when it was closed', async (t) => {
    const { url } = await startRedis(t)
    const connection = await connectRedis({ url })
    t.equal(connection.status, 'ready')
    await t.resolves(connection.ping())
    const written = connection.run((redis) => redis.set('k', 'v'))
    await Promise.all([connection.close(), connection.close()])
    t.equal(await written, 'OK', 'what was sent before is answered')
    t.equal(connection.status, 'closed')
    await failsInTime(t, 0, () => connection.ping())
  })

  t.test('puts its prefix before every key', async (t) => {
    const server = await startRedis(t)
    for (const keyPrefix of [undefined, 'mine:', '{one slot}']) {
      const connection = await connected(t, { url: server.url, keyPrefix })
      await connection.run((redis) => redis.set('k', 'v'))
      t.equal(await server.ask('GET', `${keyPrefix ?? 'signalbox:'}k`), '"v"')
    }
  })

  t.test('tells the server who it is', async (t) => {
    const server = await startRedis(t)
    await connected(t, { url: server.url })
    t.match(await server.ask('CLIENT', 'LIST'), /name=signalbox /)
  })

  t.test('uses the database of the URL, unless another is given', async (t) => {
    const server = await startRedis(t)
    for (const [options, db] of [
      [{ url: `${server.url}/2` }, 2],
      [{ url: `${server.url}/2`, db: 3 }, 3],
    ] as const) {
      const connection = await connected(t, options)
      await connection.run((redis) => redis.set('k', 'v'))
      t.match(await server.ask('INFO', 'keyspace'), `db${db}:keys=1`)
    }
  })

  t.test('with options that cannot be right is not made', async (t) => {
    const url = 'redis://127.0.0.1:1'
    const wrong = [{ url: 'x' }, { url, keyPrefix: 'a{' }, { url, keyPrefix: '{}' }, { url, commandTimeoutMs: 0 }]
    for (const options of [...wrong, { url, connectTimeoutMs: 1.5 }, { url: 'redis+cluster://h', db: 1 }]) {
      await t.rejects(connectRedis(options), TypeError, inspect(options))
    }
  })
})

t.test('a user and a password', async (t) => {
  const config = ['requirepass hunter2', 'user alice on >p@ss allkeys allcommands']
  const { port } = await startRedis(t, { config })
  const url = `redis://127.0.0.1:${port}`

  t.test('in the URL, or beside it', async (t) => {
    const right = [{ url: `redis://:hunter2@127.0.0.1:${port}` }, { url: `redis://alice:p%40ss@127.0.0.1:${port}` }]
    for (const options of [...right, { url, password: 'hunter2' }, { url, username: 'alice', password: 'p@ss' }]) {
      const connection = await connected(t, options)
      await t.resolves(connection.ping())
    }
  })

  t.test('that are wrong are a store that is away; the password is told nowhere', async (t) => {
    const told: unknown[] = []
    const onError = (error: Error): unknown => told.push(error)
    const password = 'wrong-hunter3'
    const connection = await connected(t, { url, password, connectTimeoutMs: 200, onError })
    t.equal(connection.status, 'connecting')
    await connection.ping().catch((error: unknown) => told.push(error))
    const refused = connection.run((redis) => redis.auth(password))
    await refused.catch((error: unknown) => told.push(error))
    t.ok(told.length >= 3)
    t.match(inspect(told), /WRONGPASS/)
    t.notMatch(inspect(told, { depth: 10, showHidden: true }), password)
  })

  t.test('a failed command tells nothing of what it was about', async (t) => {
    const connection = await connected(t, { url, password: 'hunter2' })
    await connection.run((redis) => redis.set('k', 'v'))
    const failure: unknown = await connection.run((redis) => redis.lpush('k', 'a secret')).catch((error) => error)
    t.ok(failure instanceof StoreUnavailable)
    t.match(inspect(failure), /WRONGTYPE/)
    t.notMatch(inspect(failure, { depth: 10, showHidden: true }), 'a secret')
  })
})

t.test('TLS', async (t) => {
  const { url, port, ca, own } = await startTLS(t)

  t.test('with a certificate of a known authority, for the expected name, on both sides', async (t) => {
    const connection = await connected(t, { url, tls: { ca, servername: 'redis.test', ...own } })
    await t.resolves(connection.ping())
  })

  t.test('is also what the options alone ask for', async (t) => {
    const plainUrl = `redis://127.0.0.1:${port}`
    const connection = await connected(t, { url: plainUrl, tls: { rejectUnauthorized: false, ...own } })
    await t.resolves(connection.ping())
  })

  t.test('does not talk to anybody else', async (t) => {
    for (const tls of [own, { ca, servername: 'other.test', ...own }, { ca, servername: 'redis.test' }]) {
      const connection = await connected(t, { url, tls, connectTimeoutMs: 200 })
      await t.rejects(connection.ping(), StoreUnavailable)
    }
  })
})

t.test('TLS handshakes that are given up halfway end no process', async (t) => {
  const { url, own } = await startTLS(t)
  for (let n = 0; n < 100; n++) {
    const connection = await connectRedis({ url, tls: own, connectTimeoutMs: 1 + (n % 5) })
    await connection.close()
    t.equal(connection.status, 'closed')
  }
})

t.test('a store that is away', async (t) => {
  t.test('is a 503 that asks for another try, with the cause for the log', async (t) => {
    const connection = await connected(t, { url: `redis://127.0.0.1:${await freePort()}`, connectTimeoutMs: 50 })
    const failure: unknown = await connection.ping().catch((error) => error)
    t.ok(failure instanceof GatewayError && failure instanceof StoreUnavailable)
    t.match(failure, { status: 503, code: 'store_unavailable', headers: { 'retry-after': '1' }, cause: Error })
  })

  t.test('at the start is waited for, but not longer than it may take to connect', async (t) => {
    const server = await startRedis(t)
    await server.kill()
    const errors: Error[] = []
    const startedAt = performance.now()
    const connection = await connected(t, { url: server.url, connectTimeoutMs: 300, onError: (e) => errors.push(e) })
    t.ok(performance.now() - startedAt >= 290)
    t.equal(connection.status, 'connecting')
    t.match(errors, [{ code: 'ECONNREFUSED' }])
    await server.restart()
    await recovers(t, () => connection.ping())
    t.equal(connection.status, 'ready')
  })

  t.test('because it was killed', async (t) => {
    const { server, connection, write } = await linked(t)
    const pending = Array.from({ length: 10 }, write)
    await Promise.all([server.kill(), ...pending.map((each) => each.catch(() => {}))])
    await failsInTime(t, commandTimeoutMs, write)
    t.equal(connection.status, 'connecting')
    await sleep(500)
    await failsInTime(t, 0, write)
    await server.restart()
    await recovers(t, write)
  })

  t.test('because it is paused: by CLIENT PAUSE', async (t) => {
    const { server, write } = await linked(t)
    await server.ask('CLIENT', 'PAUSE', 2500, 'ALL')
    const over = sleep(2500)
    await failsInTime(t, commandTimeoutMs, write)
    await failsInTime(t, commandTimeoutMs, write)
    await over
    await recovers(t, write)
  })

  t.test('because it is paused: by a signal', async (t) => {
    const { server, write } = await linked(t)
    server.pause()
    await Promise.all(Array.from({ length: 10 }, () => failsInTime(t, commandTimeoutMs, write)))
    server.resume()
    await recovers(t, write)
  })

  t.test('because the network takes everything and gives nothing', async (t) => {
    const { proxy, write } = await linked(t)
    proxy.blackHole = true
    await failsInTime(t, commandTimeoutMs, write)
    await sleep(300)
    await failsInTime(t, 0, write)
    proxy.blackHole = false
    await recovers(t, write)
  })

  t.test('because the network is slow: only when it is too slow', async (t) => {
    const { proxy, write } = await linked(t)
    proxy.latencyMs = 100
    await t.resolves(write())
    proxy.latencyMs = 1000
    await failsInTime(t, commandTimeoutMs, write)
    proxy.latencyMs = 0
    await recovers(t, write)
  })

  t.test('because the connection broke', async (t) => {
    const { proxy, write } = await linked(t)
    proxy.reset()
    await recovers(t, write)
  })

  t.test('because the master became a replica: it is looked for anew', async (t) => {
    const server = await startRedis(t)
    let connections = 0
    const onReady = (): unknown => (connections += 1)
    const connection = await connected(t, { url: server.url, onReady })
    await server.ask('REPLICAOF', '127.0.0.1', await freePort())
    await failsInTime(t, commandTimeoutMs, () => connection.run((redis) => redis.set('k', 'v')))
    await until(() => connections === 2, 'another connection')
    await server.ask('REPLICAOF', 'NO', 'ONE')
    await recovers(t, () => connection.run((redis) => redis.set('k', 'v')))
  })
})

t.test('what was under way when a connection broke fails at once, and is not sent again', async (t) => {
  const { server, proxy, connection } = await linked(t)
  await server.ask('CLIENT', 'PAUSE', 300, 'WRITE')
  const counting = connection.run((redis) => redis.incr('n'))
  await sleep(50)
  proxy.reset()
  await failsInTime(t, 0, () => counting)
  await sleep(300)
  await recovers(t, () => connection.ping())
  t.equal(await connection.run((redis) => redis.get('n')), null)
})

t.test('a cluster', async (t) => {
  const { url, nodes } = await startCluster(t)
  const [first, second] = nodes
  if (!first || !second) throw new Error('there are three')
  /** The key's slot is the first node's. */
  const key = 'k3'
  const write = (connection: RedisConnection) => connection.run((redis) => redis.set(key, 'v'))
  const connection = await connected(t, { url, keyPrefix: '' })
  const slot = Number(await first.ask('CLUSTER', 'KEYSLOT', key))
  t.ok(slot <= 5460)

  t.test('is found by any of its nodes', async (t) => {
    const nobody = await freePort()
    const one = await connected(t, { url: `redis+cluster://127.0.0.1:${nobody},127.0.0.1:${second.port}` })
    await t.resolves(one.ping())
    await t.resolves(write(one))
  })

  t.test('is connected to each of them from the start', async (t) => {
    for (const node of nodes) t.match(await node.ask('CLIENT', 'LIST'), /name=signalbox /)
  })

  t.test('of which a node is paused fails for its keys only', async (t) => {
    await write(connection)
    first.pause()
    await failsInTime(t, commandTimeoutMs, () => write(connection))
    await connection.run((redis) => redis.set('k', 'v'))
    first.resume()
    await recovers(t, () => write(connection))
  })

  t.test('of which a node was killed is not whole', async (t) => {
    await first.kill()
    await failsInTime(t, 400, () => write(connection))
    await until(async () => !(await isWhole(connection)), 'the nodes notice')
    await first.restart()
    await until(async () => (await first.ask('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'the cluster')
    await recovers(t, () => write(connection))
    await recovers(t, () => connection.ping())
  })

  t.test('of which all nodes were killed', async (t) => {
    await Promise.all(nodes.map((node) => node.kill()))
    await failsInTime(t, commandTimeoutMs, () => write(connection))
    await sleep(300)
    await failsInTime(t, commandTimeoutMs, () => write(connection))
    await Promise.all(nodes.map((node) => node.restart()))
    for (const node of nodes) {
      await until(async () => (await node.ask('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'the cluster')
    }
    await recovers(t, () => write(connection))
  })

  t.test('that moves a slot to another node is followed', async (t) => {
    const idOf = async (node: typeof first): Promise<string> => JSON.parse(await node.ask('CLUSTER', 'MYID'))
    const [from, to] = [await idOf(first), await idOf(second)]
    await write(connection)
    await second.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from)
    await first.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to)
    const neighbour = `{${key}}:new`
    t.equal(await connection.run((redis) => redis.set(neighbour, 'asked')), 'OK')
    t.equal(await second.ask('CLUSTER', 'COUNTKEYSINSLOT', slot), '1')

    await first.ask('MIGRATE', '127.0.0.1', second.port, key, 0, 1000)
    for (const node of [second, first]) await node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', to)
    t.equal(await connection.run((redis) => redis.get(key)), 'v')
    t.equal(await connection.run((redis) => redis.get(neighbour)), 'asked')
  })
})
