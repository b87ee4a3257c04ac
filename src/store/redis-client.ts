import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { connectorsOf } from './redis-connector.ts'
import { withoutArguments } from './redis-error.ts'
import { redisScripts } from './redis-scripts.ts'
import { parseRedisUrl, type RedisAddress } from './redis-url.ts'

/** What the connection is made with, as ioredis has it. */
export type RedisClient = Redis | Cluster

export interface RedisTLS {
  /** Certificates in PEM that are trusted instead of the public ones. */
  ca?: string | undefined
  /** The gateway's own certificate and its key, in PEM. */
  cert?: string | undefined
  key?: string | undefined
  /** The name that the server's certificate must be for. Default: the host of the URL. */
  servername?: string | undefined
  /** False takes any certificate, of anybody. Default true. */
  rejectUnauthorized?: boolean | undefined
}

export interface RedisConnectOptions {
  /**
   * `redis://host:6379/0`, `redis+sentinel://host:26379,host:26379/master/0` or `redis+cluster://host:6379,host:6379`;
   * `rediss` for TLS. See {@link parseRedisUrl}.
   */
  url: string
  /** These three override what is in the URL. */
  username?: string | undefined
  password?: string | undefined
  db?: number | undefined
  /** How to log in at the sentinels. Default: not at all. */
  sentinelUsername?: string | undefined
  sentinelPassword?: string | undefined
  /** Turns TLS on, of the sentinels and their servers alike. */
  tls?: RedisTLS | undefined
  /** Before every key. Without braces, or with one pair, which puts everything on one server of a cluster. Default `signalbox:`. */
  keyPrefix?: string | undefined
  /** Milliseconds to open a connection. Default 2000. */
  connectTimeoutMs?: number | undefined
  /** Milliseconds until a command is given up. A connection on which nothing arrives for as long is made anew. Default 1000. */
  commandTimeoutMs?: number | undefined
  /** Hears what goes wrong with connections: in an outage each attempt to reconnect. */
  onError?: ((error: Error) => void) | undefined
  /** Hears each time when the store can be used, also after an outage. */
  onReady?: (() => void) | undefined
}

/** Milliseconds to the next attempt, whatever the outage: recovery must not take much longer than the server. */
const backoff = (attempts: number): number => Math.min(50 * attempts, 450) + Math.random() * 50

/** @throws TypeError for a URL, a prefix or a time that is none */
export async function createRedisClient(options: RedisConnectOptions): Promise<RedisClient> {
  const address = parseRedisUrl(options.url)
  const common = optionsFor(address, options)
  // Loaded by those who use it: it takes as much memory as a quarter of an idle gateway.
  const ioredis = await import('ioredis')
  const { ServerConnector, MasterConnector } = connectorsOf(ioredis)
  const client =
    address.mode === 'cluster'
      ? new ioredis.Cluster(address.nodes, {
          redisOptions: { ...common, Connector: ServerConnector },
          keyPrefix: common.keyPrefix,
          scripts: redisScripts,
          enableOfflineQueue: false,
          clusterRetryStrategy: backoff,
          // A node that cannot be reached is one, too: they are over before the command's time is.
          maxRedirections: 5,
          slotsRefreshTimeout: common.connectTimeout,
          // The names stay, for TLS to compare.
          dnsLookup: (name, callback) => callback(null, name),
        })
      : new ioredis.Redis({
          ...placeOf(address, options),
          ...common,
          Connector: address.mode === 'sentinel' ? MasterConnector : ServerConnector,
          retryStrategy: backoff,
          scripts: redisScripts,
        })
  const { onError, onReady } = options
  const tell = (error: Error): void => onError?.(withoutArguments(error))
  client.on('error', tell)
  client.on('node error', tell)
  if (onReady) client.on('ready', onReady)
  return client
}

function placeOf({ mode, nodes, master, tls }: RedisAddress, options: RedisConnectOptions): RedisOptions {
  if (mode !== 'sentinel') return { ...nodes[0] }
  return {
    sentinels: nodes,
    name: master,
    sentinelRetryStrategy: backoff,
    sentinelCommandTimeout: options.commandTimeoutMs ?? 1000,
    sentinelUsername: options.sentinelUsername,
    sentinelPassword: options.sentinelPassword,
    enableTLSForSentinelMode: tls || options.tls !== undefined,
    ...(tls || options.tls ? { sentinelTLS: { ...options.tls } } : {}),
  }
}

function optionsFor(address: RedisAddress, options: RedisConnectOptions) {
  const { keyPrefix = 'signalbox:', connectTimeoutMs = 2000, commandTimeoutMs = 1000 } = options
  if (!/^[^{}]*(?:\{[^{}]+\}[^{}]*)?$/.test(keyPrefix))
    throw new TypeError('keyPrefix may have one pair of braces only')
  for (const [name, ms] of Object.entries({ connectTimeoutMs, commandTimeoutMs })) {
    if (!Number.isSafeInteger(ms) || ms < 1) throw new TypeError(`${name} must be a positive integer, not ${ms}`)
  }
  const db = options.db ?? address.db
  if (address.mode === 'cluster' && db !== 0) throw new TypeError('a cluster has the database 0 only')
  return {
    username: options.username ?? address.username,
    password: options.password ?? address.password,
    db,
    keyPrefix,
    connectionName: 'signalbox',
    replyMapping: 'legacy',
    ...(address.tls || options.tls ? { tls: { ...options.tls } } : {}),
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    // A connection that has gone silent would otherwise stay for as long as TCP hopes.
    socketTimeout: commandTimeoutMs,
    disconnectTimeout: 50,
    // What was under way when a connection broke fails at once: sent again it could overwrite what came after it.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxLoadingRetryTime: 500,
    // The master has become a replica: the next connection goes to the new one.
    reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
  } satisfies RedisOptions
}
