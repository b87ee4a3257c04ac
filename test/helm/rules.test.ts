import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { metricsReference } from '../../src/metrics/reference.ts'
import { runtimeMetrics } from '../../src/metrics/runtime-metrics.ts'
import { type RuleFile, ruleFile } from '../dashboards/rule-file.ts'
import { partsOf } from '../dashboards/selector.ts'
import { root } from '../process.ts'
import { chart } from './helm.ts'
import { type Manifest, only, rendered } from './rendered.ts'

const render = (values: Record<string, unknown> = {}): Manifest =>
  only(rendered({ set: { prometheusRule: { enabled: true, ...values } } }), 'PrometheusRule')
const specOf = (manifest: Manifest): RuleFile => manifest.spec as RuleFile
const alertsOf = (manifest: Manifest) =>
  specOf(manifest).groups.flatMap(({ rules }) => rules.filter((rule) => 'alert' in rule))

const directory = mkdtempSync(join(tmpdir(), 'signalbox-rules-'))
t.teardown(() => rmSync(directory, { recursive: true }))

t.test('they are those of dashboards/rules, templates of Prometheus included', async (t) => {
  t.strictSame(specOf(render()), ruleFile)
  const texts = alertsOf(render()).map(({ annotations }) => annotations.description)
  t.ok(texts.some((text) => text?.includes('{{ $labels.instance }}')))
})

t.test('promtool has nothing to say against them', async (t) => {
  const file = join(directory, 'rules.yaml')
  writeFileSync(file, stringify(specOf(render())))
  t.doesNotThrow(() => execFileSync('promtool', ['check', 'rules', '--lint=all', '--lint-fatal', file]))
})

t.test('runbooks are where the values say, and nothing else is different', async (t) => {
  const runbookBase = 'https://wiki.example.com/llm/runbooks'
  const manifest = render({ runbookBase })
  for (const { alert, annotations } of alertsOf(manifest)) {
    t.equal(annotations.runbook_url, `${runbookBase}#${alert.toLowerCase()}`)
  }
  const { prometheusRule } = parse(readFileSync(join(chart, 'values.yaml'), 'utf8'))
  const text = stringify(specOf(manifest), { lineWidth: 0 }).replaceAll(runbookBase, prometheusRule.runbookBase)
  t.strictSame(parse(text), ruleFile)
})

t.test('each leads to a section of the runbooks', async (t) => {
  const runbooks = readFileSync(join(root, 'dashboards', 'runbooks.md'), 'utf8')
  const anchors = Array.from(runbooks.matchAll(/^## (\w+)$/gm), ([, title = '']) => title.toLowerCase())
  const alerts = alertsOf(render())
  t.ok(alerts.length > 10)
  for (const { alert, annotations } of alerts) {
    t.ok(anchors.includes(annotations.runbook_url?.split('#')[1] ?? ''), alert)
  }
})

t.test('they ask for metrics that the gateway has', async (t) => {
  const own = Array.from(metricsReference().matchAll(/^\| `(\w+)`/gm), ([, name = '']) => name)
  const ofNode = runtimeMetrics().flatMap((metric) => ('name' in metric ? String(metric.name) : []))
  const names = new Set(['up', ...[...own, ...ofNode].flatMap((name) => [name, `${name}_bucket`, `${name}_count`])])
  const rules = specOf(render()).groups.flatMap((group) => group.rules)
  for (const rule of rules) if ('record' in rule) names.add(rule.record)
  for (const rule of rules) {
    for (const { name } of partsOf(rule.expr).selectors) t.ok(names.has(name), name)
  }
})

t.test('Prometheus finds it by the labels that it is given', async (t) => {
  const { metadata } = render({ labels: { release: 'kube-prometheus-stack' } })
  t.match(metadata.labels, { release: 'kube-prometheus-stack', 'app.kubernetes.io/instance': 'signalbox' })
})

t.test('its own labels win over those of all objects', async (t) => {
  const commonLabels = { release: 'all', team: 'llm' }
  const set = { prometheusRule: { enabled: true, labels: { release: 'stack' } }, commonLabels }
  const { metadata } = only(rendered({ set }), 'PrometheusRule')
  t.match(metadata.labels, { release: 'stack', team: 'llm' })
})

t.test('there are none, unless wanted', async (t) => {
  const kinds = rendered().map(({ kind }) => kind)
  t.notOk(kinds.includes('PrometheusRule'))
})
