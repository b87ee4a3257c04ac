import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { GatewayMetrics, type GatewayMetricsOptions, type TraceIds } from '../src/metrics/gateway-metrics.ts'
import { ownVersion } from '../src/version.ts'

declare module 'fastify' {
  interface FastifyInstance {
    metrics: GatewayMetrics
  }
}

export interface MetricsOptions extends Pick<GatewayMetricsOptions, 'targets' | 'topUsers' | 'kinds' | 'models'> {
  /** Serve them on a port of their own, 0 for a free one. Default: on the app's. */
  port?: number | undefined
  /** Of that port. Default `127.0.0.1`. */
  host?: string | undefined
  /** Default: of the decorator `tracing`, if there is one. */
  idsOf?: (requestId: string) => TraceIds | undefined
}

/**
 * Counts what the hooks tell, and shows it at `GET /metrics`, without a key. Register it before what forgets a trace when its
 * request is over: listeners are called in their order.
 */
export const metrics = fp<MetricsOptions>(
  async (app, { port, host = '127.0.0.1', idsOf, ...options }) => {
    const traced = (requestId: string): TraceIds | undefined =>
      app.hasDecorator('tracing')
        ? app.getDecorator<{ idsOf(requestId: string): TraceIds | undefined }>('tracing').idsOf(requestId)
        : undefined
    const metrics = new GatewayMetrics(app.hooks, {
      ...options,
      version: ownVersion(),
      idsOf: idsOf ?? traced,
      ...(app.hasDecorator('liveConfig') ? { revision: app.liveConfig.revision } : {}),
      ...(app.hasDecorator('admission') ? { admission: app.admission } : {}),
      draining: () => app.readiness.draining,
      ready: async () => (await app.readiness.report()).status === 'ready',
      ...(app.hasDecorator('redis')
        ? {
            storeUp: () =>
              app.redis.ping().then(
                () => true,
                () => false,
              ),
          }
        : {}),
    })
    app.decorate('metrics', metrics)
    app.addHook('onClose', async () => metrics.close())

    const answer = async ({ headers }: FastifyRequest, reply: FastifyReply): Promise<string> => {
      const { contentType, text } = await metrics.scrape(headers.accept)
      reply.header('content-type', contentType)
      return text
    }
    if (port === undefined) {
      app.get('/metrics', { config: { public: true } }, answer)
      return
    }
    const own = Fastify({ forceCloseConnections: true })
    own.get('/metrics', answer)
    app.addHook('onReady', async () => {
      app.log.info(`Metrics are at ${await own.listen({ host, port })}/metrics`)
    })
    app.addHook('onClose', () => own.close())
  },
  { name: 'signalbox-metrics', dependencies: ['signalbox-hooks', 'signalbox-health'] },
)
