import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'

/** Gauges that are called like counters; `nodejs_active_resources` says as much. */
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

let registry: Registry | undefined

/** Of the process: CPU, memory, event loop, garbage collection. Collected once, however many gateways run in it. */
export function runtimeMetrics(): Metric[] {
  if (!registry) {
    registry = new Registry()
    collectDefaultMetrics({ register: registry })
    for (const name of misnamed) registry.removeSingleMetric(name)
  }
  const metrics = registry.getMetricsAsArray().map(({ name }) => registry?.getSingleMetric(name))
  return metrics.filter((metric) => metric !== undefined)
}
