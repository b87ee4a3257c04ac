import { assertHeld, LeaseLost } from './lease.ts'
import type { Persistence, SetOptions } from './persistence.ts'
import type { RedisClient } from './redis-client.ts'
import type { RedisConnection } from './redis-connection.ts'
import { redisKey, slotOf } from './redis-key.ts'
import { lifetimeOf } from './stored-value.ts'
import { headLength, valueIn, versionedText } from './versioned-text.ts'

/** How many values are asked for at a time. */
const batchSize = 100

/**
 * Values in Redis, for all who are connected to it: what one wrote, another reads at once.
 *
 * A write is kept as well as Redis keeps it. It is not waited for replicas: in a failover, what the new master had not got
 * yet is lost. `min-replicas-to-write 1` on the servers bounds how much that can be.
 */
export class RedisPersistence implements Persistence {
  readonly #connection: RedisConnection

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  /** @throws StoreUnavailable */
  async get(key: string): Promise<unknown> {
    const text = await this.#connection.run((redis) => redis.get(redisKey('value', key)))
    return valueOrNone(text)
  }

  /** In batches, between which others who use the connection get their answers. @throws StoreUnavailable */
  async getMany(keys: readonly string[]): Promise<unknown[]> {
    const texts = await this.#connection.run(async (redis) => {
      const texts: unknown[] = []
      for (let at = 0; at < keys.length; at += batchSize) {
        const batch = keys.slice(at, at + batchSize).map((key) => ['get', redisKey('value', key)])
        texts.push(...(await answers(redis, batch)))
      }
      return texts
    })
    return texts.map(valueOrNone)
  }

  /** The first characters of each text, all in one go. @throws StoreUnavailable */
  async versions(keys: readonly string[]): Promise<(string | undefined)[]> {
    const commands = keys.map((key) => ['getrange', redisKey('value', key), 0, headLength - 1])
    const heads = await this.#connection.run((redis) => answers(redis, commands))
    // The range of what is not there is empty.
    return heads.map((head) => (typeof head === 'string' && head !== '' ? head : undefined))
  }

  /**
   * @throws StoreUnavailable when it may not have been written
   * @throws LeaseLost
   * @throws TypeError for a lease whose name is not on one server with the key
   */
  async set(key: string, value: unknown, { ttlSeconds, lease }: SetOptions = {}): Promise<void> {
    assertHeld(lease)
    const lifetime = lifetimeOf(ttlSeconds)
    const text = versionedText(value)
    const place = redisKey('value', key)
    if (!lease) {
      await this.#connection.run((redis) =>
        lifetime === undefined ? redis.set(place, text) : redis.set(place, text, 'PX', lifetime),
      )
      return
    }
    if (slotOf(lease.name) !== slotOf(key)) {
      throw new TypeError("the key and the lease's name must have the same part in braces")
    }
    const fence = redisKey('fence', lease.name)
    const written = await this.#connection.run((redis) =>
      redis.signalboxSetFenced(place, fence, lease.token, text, lifetime ?? ''),
    )
    if (written === 0) throw new LeaseLost(lease)
  }

  /** @throws StoreUnavailable when it may have been added all the same */
  async add(key: string, value: unknown, { ttlSeconds }: Pick<SetOptions, 'ttlSeconds'> = {}): Promise<boolean> {
    const lifetime = lifetimeOf(ttlSeconds)
    const text = versionedText(value)
    const place = redisKey('value', key)
    const added = await this.#connection.run((redis) =>
      lifetime === undefined ? redis.set(place, text, 'NX') : redis.set(place, text, 'PX', lifetime, 'NX'),
    )
    return added !== null
  }

  /** @throws StoreUnavailable when it may not have been deleted */
  async delete(key: string): Promise<boolean> {
    return (await this.#connection.run((redis) => redis.unlink(redisKey('value', key)))) > 0
  }
}

const valueOrNone = (text: unknown): unknown => (typeof text === 'string' ? valueIn(text) : undefined)

/** Sends commands at once. A cluster refuses pipelines for several nodes: there each command finds its own way. */
async function answers(redis: RedisClient, commands: (string | number)[][]): Promise<unknown[]> {
  if (redis.isCluster) return Promise.all(commands.map(([name = '', ...args]) => redis.call(String(name), ...args)))
  const answered = (await redis.pipeline(commands).exec()) ?? []
  return answered.map(([error, answer]) => {
    if (error) throw error
    return answer
  })
}
