import { parseJSON } from '../json.ts'
import { assertHeld, LeaseLost } from './lease.ts'
import type { Persistence, SetOptions } from './persistence.ts'
import type { RedisConnection } from './redis-connection.ts'
import { redisKey, slotOf } from './redis-key.ts'
import { lifetimeOf, textOf } from './stored-value.ts'

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
    return text === null ? undefined : parseJSON(text)
  }

  /**
   * @throws StoreUnavailable when it may not have been written
   * @throws LeaseLost
   * @throws TypeError for a lease whose name is not on one server with the key
   */
  async set(key: string, value: unknown, { ttlSeconds, lease }: SetOptions = {}): Promise<void> {
    assertHeld(lease)
    const lifetime = lifetimeOf(ttlSeconds)
    const text = textOf(value)
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

  /** @throws StoreUnavailable when it may not have been deleted */
  async delete(key: string): Promise<boolean> {
    return (await this.#connection.run((redis) => redis.unlink(redisKey('value', key)))) > 0
  }
}
