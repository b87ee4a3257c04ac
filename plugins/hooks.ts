import fp from 'fastify-plugin'
import { HookBus } from '../src/hooks/hook-bus.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where everything that happens is announced; metrics, traces and logs listen here. */
    hooks: HookBus
  }
}

export interface HooksOptions {
  /** Default: a fresh bus. */
  hooks?: HookBus
}

export const hooks = fp<HooksOptions>(
  async (app, options) => {
    app.decorate('hooks', options.hooks ?? new HookBus())
  },
  { name: 'signalbox-hooks' },
)
