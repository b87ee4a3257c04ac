import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { milliseconds } from '../src/config/duration.ts'
import type { Config } from '../src/config/schema.ts'
import { loggable } from '../src/server/errors.ts'
import type { EventLog } from '../src/store/event-log.ts'
import { FilePersistence } from '../src/store/file-persistence.ts'
import type { Leases } from '../src/store/lease.ts'
import { MemoryEventLog } from '../src/store/memory-event-log.ts'
import { MemoryLeases } from '../src/store/memory-leases.ts'
import { MemoryPersistence } from '../src/store/memory-persistence.ts'
import {
  observedEventLog,
  observedIndex,
  observedLeases,
  observedPersistence,
  type StoreListener,
} from '../src/store/observed-store.ts'
import { PersistedIndex } from '../src/store/persisted-index.ts'
import type { Persistence } from '../src/store/persistence.ts'
import { RedisEventLog } from '../src/store/redis-event-log.ts'
import { RedisIndex } from '../src/store/redis-index.ts'
import { RedisLeases } from '../src/store/redis-leases.ts'
import { RedisPersistence } from '../src/store/redis-persistence.ts'
import type { SortedIndex } from '../src/store/sorted-index.ts'
import { redis } from './redis.ts'

/** Where things are kept, and where those who want to change them wait for each other. */
export interface Store {
  persistence: Persistence
  leases: Leases
  /** Of responses that are made, or were a while ago. */
  eventLog: EventLog
  /** What a user has of one kind, in order. */
  index: SortedIndex
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Where things are kept, by the configuration. */
    store: Store
  }
}

export type StoreOptions = Config['store']

/** The store of the configuration: in memory, in files, or in Redis, to which it opens the connection. */
export const store = fp<StoreOptions>(
  async (app, options) => {
    const { persistence, leases, eventLog, index } = await storeOf(app, options)
    const tell: StoreListener = (report) => app.hooks.emit('onStore', report)
    app.decorate('store', {
      persistence: observedPersistence(persistence, tell),
      leases: observedLeases(leases, tell),
      eventLog: observedEventLog(eventLog, tell),
      index: observedIndex(index, tell),
    })
  },
  { name: 'signalbox-store', dependencies: ['signalbox-hooks', 'signalbox-health'] },
)

async function storeOf(app: FastifyInstance, options: StoreOptions): Promise<Store> {
  const { kind, directory, url } = options
  if (kind === 'redis' && url !== undefined) return redisStore(app, { ...options, url })
  const onCorrupt = (file: string, error: Error): void =>
    app.log.error({ file, error: loggable(error) }, 'a file of the store holds no value, and was set aside')
  const isFile = kind === 'file' && directory !== undefined
  const persistence = isFile ? new FilePersistence({ directory, onCorrupt }) : new MemoryPersistence()
  return {
    persistence,
    leases: new MemoryLeases(),
    eventLog: new MemoryEventLog(),
    index: new PersistedIndex(persistence),
  }
}

async function redisStore(app: FastifyInstance, options: StoreOptions & { url: string }): Promise<Store> {
  const {
    url,
    username,
    password,
    sentinelUsername,
    sentinelPassword,
    tls,
    keyPrefix,
    required,
    connectTimeout,
    commandTimeout,
    leaseTime,
  } = options
  await app.register(redis, {
    ...{ url, username, password, sentinelUsername, sentinelPassword, tls, keyPrefix, required },
    connectTimeoutMs: milliseconds(connectTimeout),
    commandTimeoutMs: milliseconds(commandTimeout),
  })
  return {
    persistence: new RedisPersistence(app.redis),
    leases: new RedisLeases(app.redis, { leaseMs: milliseconds(leaseTime) }),
    eventLog: new RedisEventLog(app.redis),
    index: new RedisIndex(app.redis),
  }
}
