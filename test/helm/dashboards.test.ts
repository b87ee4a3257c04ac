import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { chartFiles } from '../../dashboards/chart-files.ts'
import { dashboards } from '../../dashboards/index.ts'
import { chart } from './helm.ts'
import { type Manifest, rendered } from './rendered.ts'

const isOfDashboard = ({ kind, metadata }: Manifest): boolean =>
  kind === 'ConfigMap' && metadata.name.includes('-dashboard-')
const configMaps = (values: Record<string, unknown>): Manifest[] =>
  rendered({ set: { dashboards: values } }).filter(isOfDashboard)

t.test('the copies in the chart are what they are copies of (npm run dashboards writes them)', async (t) => {
  const files = globSync('**/*.*', { cwd: join(chart, 'files') })
  t.strictSame(files.sort(), [...chartFiles.keys()].sort())
  for (const [file, text] of chartFiles) t.equal(readFileSync(join(chart, 'files', file), 'utf8'), text, file)
})

t.test('each dashboard is a ConfigMap that the sidecar of Grafana finds', async (t) => {
  const annotations = { grafana_folder: 'LLM' }
  const found = configMaps({ enabled: true, annotations })
  const shown = found.flatMap(({ data }) => Object.entries(data as Record<string, string>))
  t.strictSame(
    shown.map(([file]) => file).sort(),
    dashboards.map(({ uid }) => `${uid}.json`).sort(),
    'their names are unique: the sidecar puts all of them into one directory',
  )
  for (const [file, json] of shown) {
    const board = dashboards.find(({ uid }) => file === `${uid}.json`)
    t.strictSame(JSON.parse(json), JSON.parse(JSON.stringify(board)), file)
  }
  t.equal(new Set(found.map(({ metadata }) => metadata.name)).size, dashboards.length)
  for (const { metadata } of found) {
    t.match(metadata.labels, { grafana_dashboard: '1', 'app.kubernetes.io/name': 'signalbox' })
    t.match(metadata.annotations, annotations)
  }
})

t.test('each is small enough for Kubernetes', async (t) => {
  for (const manifest of configMaps({ enabled: true })) t.ok(JSON.stringify(manifest).length < 1_048_576 / 2)
})

t.test('the label is the one that the sidecar looks for', async (t) => {
  const [first] = configMaps({ enabled: true, labels: { grafana_dashboard: null, dashboards: 'yes' } })
  t.equal(first?.metadata.labels?.dashboards, 'yes')
  t.notHas(first?.metadata.labels, 'grafana_dashboard')
})

t.test('there are none, unless wanted', async (t) => {
  t.strictSame(configMaps({}), [])
})
