import fp from 'fastify-plugin'
import type { Tracing, TracingOptions } from '../src/tracing/start-tracing.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined where nothing is traced. */
    tracing?: Pick<Tracing, 'idsOf'>
  }
}

export type TracingPluginOptions = Omit<TracingOptions, 'onWarning'> & {
  /** How long the end of the app may wait for a collector, in milliseconds. Default 3000. */
  flushTimeoutMs?: number
}

/** Milliseconds between two lines about a collector that cannot be reached. */
const quietMs = 60_000

/**
 * Traces every request, and exports the traces by the standard `OTEL_*` variables. Register it before the server, which is closed
 * first then, and after the store: between the two the traces are flushed.
 */
export const tracing = fp<TracingPluginOptions>(
  async (app, { flushTimeoutMs = 3000, ...options }) => {
    let quietUntil = 0
    const onWarning = (reason: string): void => {
      if (Date.now() < quietUntil) return
      quietUntil = Date.now() + quietMs
      app.log.warn({ reason }, 'OpenTelemetry has a problem: traces may be missing')
    }
    // Loaded here, and not above: whoever traces nothing does not pay for it.
    const { startTracing } = await import('../src/tracing/start-tracing.ts')
    const { idsOf, close } = await startTracing(app.hooks, { ...options, onWarning })
    app.decorate('tracing', { idsOf })
    app.addHook('onClose', () => close(flushTimeoutMs))
  },
  { name: 'signalbox-tracing', dependencies: ['signalbox-hooks'] },
)
