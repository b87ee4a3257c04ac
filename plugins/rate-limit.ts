import fp from 'fastify-plugin'
import { milliseconds } from '../src/config/duration.ts'
import type { Config } from '../src/config/schema.ts'
import type { Limiter, LimiterOptions } from '../src/limits/limiter.ts'
import { MemoryLimiter } from '../src/limits/memory-limiter.ts'
import { RedisLimiter } from '../src/limits/redis-limiter.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** What keeps the limits. The core asks it, which alone knows the model, and how much a request may need. */
    limiter: Limiter
  }
}

/** Either a limiter of one's own, which stays its owner's, or the configuration to make one from. */
export type RateLimitOptions = { limiter: Limiter } | { limits: Config['limits']; leaseTime?: string }

/** Opens the limiter: in Redis, where the store is, and else in this process. */
export const rateLimit = fp<RateLimitOptions>(
  async (app, options) => {
    if ('limiter' in options) {
      app.decorate('limiter', options.limiter)
      return
    }
    const { limits, leaseTime = '15s' } = options
    const { whenStoreIsDown, localShare, outputTokens, countUsage, ...gateway } = limits
    const common: LimiterOptions = { gateway, countsUsage: countUsage, defaultOutputTokens: outputTokens }
    const { budgets, ...policies } = whenStoreIsDown
    const limiter = app.hasDecorator('redis')
      ? new RedisLimiter(app.redis, {
          ...common,
          localShare,
          whenStoreIsDown: { ...policies, usd_day: budgets, usd_month: budgets },
          leaseMs: milliseconds(leaseTime),
          tell: (report) => app.hooks.emit('onStore', report),
        })
      : new MemoryLimiter(common)
    app.decorate<Limiter>('limiter', limiter)
    app.addHook('onClose', async () => limiter.close())
  },
  { name: 'signalbox-rate-limit', dependencies: ['signalbox-hooks'] },
)
