import fp from 'fastify-plugin'
import type { RedisConnectOptions } from '../src/store/redis-client.ts'
import { connectRedis, type RedisConnection } from '../src/store/redis-connection.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The connection to Redis, for whatever is kept there. */
    redis: RedisConnection
  }
}

/** Either a connection of one's own, which stays its owner's, or what to open one with. */
export type RedisPluginOptions = ({ connection: RedisConnection } | RedisConnectOptions) & {
  /** True when the app wants no traffic while Redis is away. Default false: what needs no store goes on. */
  required?: boolean
}

/** Opens the connection to Redis and closes it with the app. An app whose Redis is not there starts all the same. */
export const redis = fp<RedisPluginOptions>(
  async (app, { required = false, ...options }) => {
    if ('connection' in options) {
      app.decorate('redis', options.connection)
    } else {
      const connection = await connectRedis({ ...options, ...outages(app.log, options) })
      app.decorate('redis', connection)
      app.addHook('onClose', () => connection.close())
    }
    if (!required) return
    app.readiness.add('store', async () => {
      await app.redis.ping()
      return undefined
    })
  },
  { name: 'signalbox-redis', dependencies: ['signalbox-health'] },
)

/** Milliseconds between two lines that an outage writes: each attempt to reconnect is an error. */
const quietMs = 30_000

function outages(
  log: { warn(fields: object, message: string): void; info(message: string): void },
  { onError, onReady }: RedisConnectOptions,
): Pick<RedisConnectOptions, 'onError' | 'onReady'> {
  let quietUntil = 0
  return {
    onError(error) {
      if (Date.now() >= quietUntil) {
        quietUntil = Date.now() + quietMs
        log.warn({ err: { type: error.name, message: error.message } }, 'Redis cannot be reached')
      }
      onError?.(error)
    },
    onReady() {
      if (quietUntil > 0) log.info('Redis can be reached again')
      quietUntil = 0
      onReady?.()
    },
  }
}
