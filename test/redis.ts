import { randomBytes } from 'node:crypto'
import { freePort, type Owner, RedisServer, until } from './redis-server.ts'

const inMemory = ['save ""', 'appendonly no']

export interface RedisOptions {
  /** More lines for `redis.conf`. */
  config?: readonly string[]
}

/** One Redis. */
export const startRedis = (t: Owner, { config = [] }: RedisOptions = {}): Promise<RedisServer> =>
  RedisServer.start(t, () => [...inMemory, ...config])

/** A master, its replicas, and three sentinels of which two decide. */
export interface SentinelSet {
  url: string
  servers: RedisServer[]
  sentinels: RedisServer[]
  /** The one that the sentinels name. */
  master(): Promise<RedisServer>
}

/** Starts them, and waits until a failover would find a replica that has everything. */
export async function startSentinel(t: Owner, { replicas = 1 }: { replicas?: number } = {}): Promise<SentinelSet> {
  const first = await startRedis(t, { config: ['repl-diskless-sync-delay 0'] })
  const config = [...inMemory, 'repl-diskless-sync-delay 0', `replicaof 127.0.0.1 ${first.port}`]
  const others = await Promise.all(Array.from({ length: replicas }, () => RedisServer.start(t, () => config)))
  const servers = [first, ...others]
  await until(async () => (await first.ask('INFO', 'replication')).split('state=online').length > replicas, 'replicas')

  const watching = [
    `sentinel monitor main 127.0.0.1 ${first.port} 2`,
    'sentinel down-after-milliseconds main 500',
    'sentinel failover-timeout main 2000',
    ...others.map(({ port }) => `sentinel known-replica main 127.0.0.1 ${port}`),
  ]
  // They would find each other, in some seconds.
  const known: { port: number; id: string }[] = []
  const sentinels: RedisServer[] = []
  for (let n = 0; n < 3; n++) {
    const id = randomBytes(20).toString('hex')
    const introductions = known.map((one) => `sentinel known-sentinel main 127.0.0.1 ${one.port} ${one.id}`)
    const lines = [`sentinel myid ${id}`, ...watching, ...introductions]
    const sentinel = await RedisServer.start(t, () => lines, 'redis-sentinel')
    known.push({ port: sentinel.port, id })
    sentinels.push(sentinel)
  }
  const isReady = async (sentinel: RedisServer): Promise<boolean> =>
    (await sentinel.ask('SENTINEL', 'CKQUORUM', 'main').catch(() => '')).includes('OK 3 usable')
  await until(async () => (await Promise.all(sentinels.map(isReady))).every(Boolean), 'sentinels')

  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main`,
    servers,
    sentinels,
    async master() {
      const [, port] = JSON.parse((await sentinels[0]?.ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main')) ?? '[]')
      const master = servers.find((server) => server.port === Number(port))
      if (!master) throw new Error(`the sentinels name ${port}`)
      return master
    },
  }
}

/** Three masters with a third of the slots each. */
export interface RedisCluster {
  url: string
  nodes: RedisServer[]
}

/** Starts them, and waits until each knows where every slot is. */
export async function startCluster(t: Owner): Promise<RedisCluster> {
  const nodes = await Promise.all(
    Array.from({ length: 3 }, async () => {
      // By default ten thousand above the other, which may be no port.
      const bus = await freePort()
      const config = ['cluster-enabled yes', `cluster-port ${bus}`, 'cluster-node-timeout 1000']
      return {
        bus,
        server: await RedisServer.start(t, () => [...inMemory, ...config, 'cluster-require-full-coverage yes']),
      }
    }),
  )
  const servers = nodes.map(({ server }) => server)
  const slots = [0, 5461, 10_923, 16_384]
  for (const [n, { server }] of nodes.entries()) {
    await server.ask('CLUSTER', 'SET-CONFIG-EPOCH', n + 1)
    await server.ask('CLUSTER', 'ADDSLOTSRANGE', slots[n] ?? 0, (slots[n + 1] ?? 0) - 1)
    if (n > 0) await server.ask('CLUSTER', 'MEET', '127.0.0.1', nodes[0]?.server.port ?? 0, nodes[0]?.bus ?? 0)
  }
  const isReady = async (server: RedisServer): Promise<boolean> => {
    const info = await server.ask('CLUSTER', 'INFO')
    return (
      info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3') && info.includes('cluster_size:3')
    )
  }
  await until(async () => (await Promise.all(servers.map(isReady))).every(Boolean), 'the cluster')
  return { url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`, nodes: servers }
}
