import { type Gateway, type GatewayOptions, startGateway } from './gateway.ts'
import { type Collector, type ReceivedSpan, startCollector } from './otlp.ts'

interface Owner {
  teardown(close: () => Promise<void>): unknown
}

/** A gateway that traces, in this process, and where its traces go. */
export interface TracedGateway extends Gateway {
  collector: Collector
}

/** Only one at a time: OpenTelemetry's SDK is one for the whole process. */
export async function startTraced(t: Owner, options: GatewayOptions = {}): Promise<TracedGateway> {
  const collector = await startCollector(t)
  Object.assign(process.env, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '20' })
  const { config } = options
  const gateway = await startGateway(t, {
    ...options,
    config: { ...config, tracing: { enabled: true, ...config?.tracing } },
  })
  return { ...gateway, collector }
}

/** The names of all spans, each below its parent, in the order in which they began. */
export function treeOf(spans: readonly ReceivedSpan[], parentSpanId = '', depth = 0): string[] {
  return spans
    .filter((span) => span.parentSpanId === parentSpanId)
    .sort((a, b) => Number(a.start - b.start))
    .flatMap((span) => [`${'  '.repeat(depth)}${span.name}`, ...treeOf(spans, span.spanId, depth + 1)])
}
