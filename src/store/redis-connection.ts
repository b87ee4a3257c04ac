import { createRedisClient, type RedisClient, type RedisConnectOptions } from './redis-client.ts'
import { StoreUnavailable } from './store-unavailable.ts'

/**
 * A connection to a Redis: to one server, to the master that sentinels name, or to a cluster. It comes back by itself after
 * an outage, or a failover. Nothing waits for that: while it is away every command fails at once.
 */
export class RedisConnection {
  readonly #client: RedisClient
  readonly #commandTimeoutMs: number
  #closing: Promise<void> | undefined

  /** Takes a client that {@link connectRedis} would make. */
  constructor(client: RedisClient, commandTimeoutMs: number) {
    this.#client = client
    this.#commandTimeoutMs = commandTimeoutMs
  }

  get status(): 'connecting' | 'ready' | 'closed' {
    if (this.#closing) return 'closed'
    return this.#client.status === 'ready' ? 'ready' : 'connecting'
  }

  /**
   * What the commands come to, within the command timeout altogether. One that has failed may have been done all the same.
   * Commands for one key are done in the order in which they are sent; in a cluster, while the key's node stays the same.
   *
   * @throws StoreUnavailable whatever has gone wrong
   */
  async run<Result>(commands: (redis: RedisClient) => Promise<Result>): Promise<Result> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const giveUp = (): void => reject(new Error(`no answer within ${this.#commandTimeoutMs} ms`))
    const timer = setTimeout(giveUp, this.#commandTimeoutMs)
    try {
      return await Promise.race([commands(this.#client), late])
    } catch (error) {
      throw new StoreUnavailable(error)
    } finally {
      clearTimeout(timer)
    }
  }

  /** @throws StoreUnavailable unless the store can be used, as a whole if it is a cluster */
  async ping(): Promise<void> {
    await this.run(async (redis) => {
      if (!redis.isCluster) return redis.ping()
      const info = String(await redis.cluster('INFO'))
      if (!info.includes('cluster_state:ok')) throw new Error('the cluster is not ok')
    })
  }

  /** What was sent before is still answered, within the command timeout. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.run((redis) => redis.quit()).catch(() => {})
      this.#client.disconnect()
    })()
    return this.#closing
  }

  /** Resolves when the store can be used; never, when that does not come. */
  async opened(): Promise<void> {
    // Not `once` of node:events, for which the errors of an outage are the end.
    if (this.#client.status !== 'ready') await new Promise<void>((resolve) => this.#client.once('ready', resolve))
    if (!('nodes' in this.#client)) return
    // The nodes of a cluster are connected to when they are first used, and what comes meanwhile would have to wait.
    await Promise.allSettled(this.#client.nodes('master').map((node) => node.ping()))
  }
}

/**
 * Connects to a Redis. Resolves when it can be used; or, unless it can within the connect timeout, while it is tried on:
 * its `status` tells.
 *
 * @throws TypeError for options that cannot be right
 */
export async function connectRedis(options: RedisConnectOptions): Promise<RedisConnection> {
  const { connectTimeoutMs = 2000, commandTimeoutMs = 1000 } = options
  const connection = new RedisConnection(await createRedisClient(options), commandTimeoutMs)
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, connectTimeoutMs)
  await Promise.race([connection.opened(), late])
  clearTimeout(timer)
  return connection
}
