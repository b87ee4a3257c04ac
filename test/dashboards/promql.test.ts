import type { SyntaxNode } from '@lezer/common'
import { parser } from '@prometheus-io/lezer-promql'
import { type Metric, Registry } from 'prom-client'
import t from 'tap'
import { ConfigMetrics } from '../../src/metrics/config-metrics.ts'
import { createGauges, createInstruments } from '../../src/metrics/instruments.ts'
import type { Shown } from '../../src/metrics/labelled.ts'
import { LimitUses } from '../../src/metrics/limit-uses.ts'
import { runtimeMetrics } from '../../src/metrics/runtime-metrics.ts'
import { TopUsers } from '../../src/metrics/top-users.ts'
import { boards, panelsOf, sent } from './shown.ts'

/** What Prometheus and its targets add to every series. */
const added = ['job', 'instance', 'namespace', 'environment']

const [no, yes] = [() => 0, async () => true]
const admission = { inFlight: 0, queued: 0, limits: { maxInFlight: 1 } }
const readings = { inFlight: no, openStreams: no, admission, draining: () => false, ready: yes, storeUp: yes }
const gauges = createGauges(readings, '1')
const metrics: (Metric | Shown)[] = [
  ...Object.values(createInstruments()),
  ...gauges,
  ...new TopUsers(1).metrics,
  ...new LimitUses().metrics,
  ...new ConfigMetrics('revision').metrics,
  ...runtimeMetrics(),
]
const registry = new Registry()
for (const metric of metrics) registry.registerMetric(metric as Metric)

/** Every name in a scrape, with its labels. */
const exposed = new Map(
  registry.getMetricsAsArray().flatMap((metric) => {
    const labels = 'labelNames' in metric && Array.isArray(metric.labelNames) ? metric.labelNames.map(String) : []
    if (String(metric.type) !== 'histogram') return [[metric.name, [...labels, ...added]] as const]
    const own = [...labels, ...added]
    return [
      [`${metric.name}_bucket`, [...own, 'le']] as const,
      [`${metric.name}_sum`, own] as const,
      [`${metric.name}_count`, own] as const,
    ]
  }),
)

/** What is wrong with an expression, and with the legend of what it comes to. */
function faultsOf(expression: string, legend = ''): string[] {
  const faults: string[] = []
  const text = ({ from, to }: SyntaxNode): string => expression.slice(from, to)
  /** The nodes of a kind at a node and below. */
  const below = (node: SyntaxNode, kind: string): SyntaxNode[] => {
    const found: SyntaxNode[] = []
    node.cursor().iterate((each) => {
      if (each.name === kind) found.push(each.node)
    })
    return found
  }
  const labelsOf = (node: SyntaxNode): string[] =>
    below(node, 'VectorSelector').flatMap((selector) => exposed.get(text(selector.firstChild ?? selector)) ?? [])

  const { topNode } = parser.parse(expression)
  topNode.cursor().iterate(({ type, from }) => {
    if (type.isError) faults.push(`does not parse at ${expression.slice(from, from + 20)}`)
  })
  for (const selector of below(topNode, 'VectorSelector')) {
    const name = text(selector.firstChild ?? selector)
    const labels = exposed.get(name)
    if (!labels) faults.push(`${name} is not exposed`)
    for (const label of below(selector, 'LabelName').map(text)) {
      if (labels && !labels.includes(label)) faults.push(`${name} has no label ${label}`)
    }
  }
  for (const grouping of below(topNode, 'GroupingLabels')) {
    const among = labelsOf(grouping.parent?.parent ?? topNode)
    for (const label of below(grouping, 'LabelName').map(text)) {
      if (!among.includes(label)) faults.push(`nothing there has a label ${label}`)
    }
  }
  const by = below(topNode, 'GroupingLabels').flatMap((grouping) => below(grouping, 'LabelName').map(text))
  for (const [, label = ''] of legend.matchAll(/{{(\w+)}}/g)) {
    const kept = below(topNode, 'AggregateExpr').length === 0 ? labelsOf(topNode) : by
    if (!kept.includes(label)) faults.push(`the legend's ${label} is no label of what is shown`)
  }
  return faults
}

t.test('what is wrong is found', async (t) => {
  t.match(faultsOf('sum(rate(signalbox_errors_total{code="a"}[5m])'), [/does not parse/])
  t.match(faultsOf('signalbox_nothing'), [/signalbox_nothing is not exposed/])
  t.match(faultsOf('signalbox_errors_total{model="a"}'), [/has no label model/])
  t.match(faultsOf('sum by (model) (signalbox_errors_total)'), [/nothing there has a label model/])
  t.match(faultsOf('sum by (le) (gen_ai_client_token_usage_bucket{trace_id=""})'), [/no label trace_id/])
  t.match(faultsOf('sum(signalbox_errors_total)', '{{code}}'), [/legend's code/])
  t.strictSame(faultsOf('sum by (code) (signalbox_errors_total{namespace="a"})', '{{code}} of {{code}}'), [])
})

for (const board of boards.values()) {
  t.test(board.title, async (t) => {
    t.ok(panelsOf(board).length > 10)
    for (const { title, targets } of panelsOf(board)) {
      t.ok(targets.length > 0, title)
      for (const { expr, legendFormat } of targets) {
        const expression = sent(expr, { rateInterval: '5m', range: '1h' })
        t.notMatch(expression, /\$/, 'no variable is left')
        t.strictSame(faultsOf(expression, legendFormat), [], title)
        const unscoped = expr.split(/\b(?:signalbox|gen_ai|nodejs|process)_\w+\b(?={)/).slice(1)
        for (const rest of unscoped)
          t.ok(rest.startsWith('{namespace=~"$namespace", environment=~"$environment"'), title)
      }
    }
    for (const { name, query } of board.templating.list.slice(1)) {
      const [, series = '', label] = /^label_values\((.*), (\w+)\)$/.exec(query) ?? []
      t.equal(label, name)
      t.strictSame(faultsOf(sent(`sum by (${name}) (${series})`, { rateInterval: '5m', range: '1h' })), [], name)
    }
  })
}
