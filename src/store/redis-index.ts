import type { RedisConnection } from './redis-connection.ts'
import { redisKey } from './redis-key.ts'
import type { IndexPageOptions, Place, SortedIndex } from './sorted-index.ts'
import { lifetimeOf } from './stored-value.ts'

/** Indexes as sorted sets in Redis, for all who are connected. */
export class RedisIndex implements SortedIndex {
  readonly #connection: RedisConnection

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  /** @throws StoreUnavailable when it may not have been added */
  async add(key: string, { at, member }: Place, options: { ttlSeconds?: number } = {}): Promise<void> {
    const lifetime = lifetimeOf(options.ttlSeconds)
    const oldest = lifetime === undefined ? '' : Date.now() - lifetime
    await this.#connection.run((redis) =>
      redis.signalboxIndex(redisKey('index', key), at, member, oldest, lifetime ?? ''),
    )
  }

  /** @throws StoreUnavailable when it may not have been removed */
  async remove(key: string, member: string): Promise<boolean> {
    return (await this.#connection.run((redis) => redis.zrem(redisKey('index', key), member))) > 0
  }

  /** @throws StoreUnavailable */
  async page(key: string, { after, order, limit }: IndexPageOptions): Promise<Place[]> {
    const { at = '', member = '' } = after ?? {}
    const isNewestFirst = order === 'desc' ? 1 : 0
    const places = await this.#connection.run((redis) =>
      redis.signalboxPage(redisKey('index', key), at, member, isNewestFirst, limit),
    )
    return places.map(([member, at]) => ({ at: Number(at), member }))
  }
}
