import { type Metric, Registry } from 'prom-client'
import { ConfigMetrics } from './config-metrics.ts'
import { createGauges, createInstruments } from './instruments.ts'
import type { Shown } from './labelled.ts'
import { LimitUses } from './limit-uses.ts'
import { TopUsers } from './top-users.ts'

/** The gateway's metrics as a Markdown table, one row each, from their definitions. */
export function metricsReference(): string {
  const [no, yes] = [() => 0, async () => true]
  const admission = { inFlight: 0, queued: 0, limits: { maxInFlight: 1 } }
  const readings = { inFlight: no, openStreams: no, draining: () => false, ready: yes, storeUp: yes, admission }
  const registry = new Registry()
  const metrics: (Metric | Shown)[] = [
    ...Object.values(createInstruments()),
    ...createGauges(readings, 'version'),
    ...new TopUsers(1).metrics,
    ...new LimitUses().metrics,
    ...new ConfigMetrics('revision').metrics,
  ]
  for (const metric of metrics) registry.registerMetric(metric as Metric)
  const rows = registry.getMetricsAsArray().map((metric) => {
    const labels = 'labelNames' in metric && Array.isArray(metric.labelNames) ? metric.labelNames : []
    return `| \`${metric.name}\` | ${metric.type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${metric.help} |`
  })
  return ['| Metric | Type | Labels | |', '|---|---|---|---|', ...rows].join('\n')
}
