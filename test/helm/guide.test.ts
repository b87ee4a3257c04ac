import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { parseConfig } from '../../src/config/load.ts'
import { root } from '../process.ts'
import { chart, helm } from './helm.ts'
import { blockOf, blocks, codeSpans, page, pagePath, prose } from './page.ts'
import { environmentFile, kubeVersions, lint, type Manifest, only, rendered, template } from './rendered.ts'

type Values = Record<string, unknown>

const isValues = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const readme = readFileSync(join(root, 'README.md'), 'utf8')
const valuesOf = (file: string): Values => parse(readFileSync(file, 'utf8')) as Values

const directory = t.testdir()
const files = blocks
  .filter(({ mark }) => mark.startsWith('values'))
  .map(({ text, ...block }) => {
    const file = join(directory, `line-${block.line}.yaml`)
    writeFileSync(file, text)
    return { ...block, text, file }
  })
/** What the reader has at the end, without what is a choice. */
const all = [environmentFile('prod'), ...files.filter(({ mark }) => mark === 'values').map(({ file }) => file)]
const choices = files.filter(({ mark }) => mark === 'values: a choice')

const configIn = (manifests: Manifest[]): string =>
  (only(manifests, 'ConfigMap', 'signalbox').data as Record<string, string>)['signalbox.yaml'] ?? ''
const graceOf = (manifests: Manifest[]): number => {
  const { template } = only(manifests, 'Deployment').spec as {
    template: { spec: { terminationGracePeriodSeconds: number } }
  }
  return template.spec.terminationGracePeriodSeconds
}
const env = { OPENAI_API_KEY: 'sk-1', REDIS_URL: 'rediss://redis.example', REDIS_PASSWORD: 'secret' }

t.test('every block of YAML is marked as what it is', async (t) => {
  const known = ['values', 'values: a choice', 'prometheus.yml', 'adapter']
  for (const { mark, line } of blocks.filter(({ language }) => language === 'yaml'))
    t.ok(known.includes(mark), `line ${line}: ${mark}`)
  for (const { text, line } of choices) t.match(text, /^# Or: /, `line ${line} says that it is a choice`)
})

t.test('prod.yaml alone is refused, and with all values of the page it renders', async (t) => {
  t.match(template({ values: [environmentFile('prod')] }).stderr, /production is true/)
  for (const kubeVersion of kubeVersions) {
    const kinds = rendered({ values: all, kubeVersion, name: 'signalbox' }).map(({ kind }) => kind)
    t.ok(kinds.includes('Deployment') && kinds.includes('Ingress') && kinds.includes('PrometheusRule'), kubeVersion)
  }
  const { status, stdout, stderr } = lint({ values: all })
  t.equal(status, 0, stdout + stderr)
})

t.test('so it does with each of the choices', async (t) => {
  t.ok(choices.length > 2)
  for (const { file, line } of choices) {
    const { status, stderr } = template({ values: [...all, file] })
    t.equal(status, 0, `line ${line}: ${stderr}`)
  }
})

t.test('the gateway takes the configuration that comes of it', async (t) => {
  for (const values of [all, ...choices.map(({ file }) => [...all, file])]) {
    const manifests = rendered({ values })
    const config = parseConfig(configIn(manifests), 'the ConfigMap', env)
    t.equal(config.store.kind, 'redis')
    t.ok(config.models?.fast, 'the model of the page')
  }
})

t.test('each key that it names exists', async (t) => {
  const values = valuesOf(join(chart, 'values.yaml'))
  const keys = [...readme.matchAll(/^\| `([\w.<>[\]]+)` \|/gm)].map(([, key = '']) => key)
  const sections = new Set(keys.map((key) => key.split('.')[0]))
  const inConfig = (path: string): boolean => keys.some((key) => key === path || key.startsWith(`${path}.`))
  const inValues = (path: readonly string[]): boolean => {
    let at: unknown = values
    for (const name of path) {
      if (!isValues(at) || !(name in at)) return false
      at = at[name]
    }
    return true
  }
  let checked = 0
  for (const span of codeSpans) {
    const [, path] = /^([a-zA-Z]+(?:\.[a-zA-Z]+)+)(?::.*)?$/.exec(span) ?? []
    if (path === undefined || /\.(?:yaml|conf)$/.test(path)) continue
    const [first = '', ...rest] = path.split('.')
    if (first === 'config') t.ok(inConfig(rest.join('.')), `config: ${span}`)
    else if (first in values) t.ok(inValues([first, ...rest]), `values: ${span}`)
    else if (sections.has(first)) t.ok(inConfig(path), `config: ${span}`)
    else continue
    checked++
  }
  t.ok(checked > 20, `${checked} keys`)
})

t.test('each link leads somewhere', async (t) => {
  // As GitHub makes them: lower case, without punctuation, spaces as dashes.
  const anchorsOf = (markdown: string): string[] =>
    [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    )
  const links = [...page.matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target)
  t.ok(links.length > 20)
  for (const link of links) {
    const [path = '', anchor] = link.split('#')
    const file = path === '' ? pagePath : resolve(dirname(pagePath), path)
    if (!t.ok(existsSync(file), link)) continue
    if (anchor !== undefined) t.ok(anchorsOf(readFileSync(file, 'utf8')).includes(anchor), link)
  }
  for (const [, heading = ''] of page.matchAll(/^## (.+)$/gm))
    t.match(page, `[${heading}](#`, `the contents name ${heading}`)
})

t.test('each alert and each metric that it names exists', async (t) => {
  const rules = readFileSync(join(root, 'dashboards/rules/signalbox.rules.yaml'), 'utf8')
  const alerts = [...prose.matchAll(/\bSignalbox[A-Z]\w+/g)].map(([name]) => name)
  const metrics = [...page.matchAll(/\bsignalbox_[a-z_]+\b/g)].map(([name]) => name)
  t.ok(alerts.length > 5)
  t.ok(metrics.length > 2)
  for (const alert of alerts) t.match(rules, new RegExp(`alert: ${alert}$`, 'm'))
  for (const metric of metrics) t.match(readme, `| \`${metric}\` |`)
  t.match(blockOf('adapter'), 'signalbox_(in_flight_requests|open_streams)')
  for (const metric of ['signalbox_in_flight_requests', 'signalbox_open_streams']) t.match(readme, `| \`${metric}\` |`)
})

t.test('Helm has the commands and flags, and the files are there', async (t) => {
  const shell = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text.replaceAll('\\\n', ' '))
  const commands = [...shell, ...codeSpans]
    .flatMap((text) => text.split('\n'))
    .filter((line) => /^helm [a-z]+ /.test(line) && !line.startsWith('helm diff'))
  t.ok(commands.length > 3)
  const help = new Map<string, string>()
  for (const line of commands) {
    const command = line.split(' ')[1] ?? ''
    const text = help.get(command) ?? helm([command, '--help']).stdout
    help.set(command, text)
    for (const [flag] of line.matchAll(/--[a-z-]+/g)) t.match(text, flag, `helm ${command} ${flag}`)
    for (const [file] of line.matchAll(/\bhelm\/[\w/]+\.yaml\b/g)) t.ok(existsSync(join(root, file)), file)
  }
})

t.test('promtool takes the scrape', async (t) => {
  const file = join(directory, 'prometheus.yml')
  // Debian's Prometheus is built without Kubernetes.
  writeFileSync(file, blockOf('prometheus.yml').replace(/kubernetes_sd_configs: .*/, 'static_configs: []'))
  copyFileSync(join(root, 'dashboards/rules/signalbox.rules.yaml'), join(directory, 'signalbox.rules.yaml'))
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'config', file], { encoding: 'utf8' })
  t.equal(status, 0, stdout + stderr)
  t.match(stdout, /1 rule files found/)

  // By these it finds the pods, which the chart labels.
  const { template: pod } = only(rendered({ values: all }), 'Deployment').spec as {
    template: { metadata: { labels: Values }; spec: { containers: { ports: { name: string }[] }[] } }
  }
  t.equal(pod.metadata.labels['app.kubernetes.io/name'], 'signalbox')
  t.ok(pod.spec.containers[0]?.ports.some(({ name }) => name === 'metrics'))
})

t.test('the grace periods are those of the pods', async (t) => {
  const told = [...page.matchAll(/(?:= |makes it )(\d+) s\./g)].map(([, seconds]) => Number(seconds))
  t.same(told, [
    graceOf(rendered({ values: all })),
    graceOf(rendered({ values: all, set: { config: { server: { drainTimeout: '10m' } } } })),
  ])
})

t.test('the sizes are those of the values, and follow from the measured figures', async (t) => {
  const resourcesOf = (file: string) => {
    const { requests, limits } = valuesOf(file).resources as Record<'requests' | 'limits', Record<string, string>>
    return { ...requests, limit: limits.memory }
  }
  t.same(resourcesOf(environmentFile('prod')), { cpu: '1', memory: '512Mi', limit: '1Gi' })
  t.same(resourcesOf(join(chart, 'values.yaml')), { cpu: '500m', memory: '384Mi', limit: '1Gi' })
  for (const text of ['requests a core', '`memory: 512Mi`', '`cpu: 500m`', '`memory: 384Mi`', '`1Gi`'])
    t.match(page, text)

  const cores = 500 * 180e-6 + 2000 * 30 * 23e-6
  t.match(page, `= ${cores.toFixed(3)} cores`)
  const { targetCPUUtilizationPercentage: percent } = valuesOf(join(chart, 'values.yaml')).autoscaling as Values
  const { minReplicas } = valuesOf(environmentFile('prod')).autoscaling as Values
  t.equal(Math.ceil(cores / (Number(percent) / 100)), minReplicas)
  t.match(page, `two pods do it with ${(cores / 2).toFixed(2)} core each`)
})

t.test('what it says of proxies is what the gateway does', async (t) => {
  const { server } = parseConfig('', 'the defaults', {})
  t.match(page, `\`server.keepAlive\`, ${server.keepAlive}`)
  t.match(page, `\`server.timeouts.keepAlive\`, ${server.timeouts.keepAlive}`)
  const [, mebibytes] = /proxy-body-size: (\d+)m/.exec(page) ?? []
  t.equal(Number(mebibytes) * 1024 * 1024, server.bodyLimit)
  for (const values of [all, ...choices.map(({ file }) => [...all, file])])
    for (const { metadata } of rendered({ values }))
      for (const [key, value] of Object.entries(metadata.annotations ?? {})) t.type(value, 'string', key)
})

t.test('the package of the chart has the page, and nothing that only makes the chart', async (t) => {
  const { status, stderr } = helm(['package', chart, '--destination', directory])
  t.equal(status, 0, stderr)
  const { stdout } = spawnSync('tar', ['-tzf', join(directory, 'signalbox-0.1.0.tgz')], { encoding: 'utf8' })
  const packed = stdout.trim().split('\n')
  t.ok(packed.includes('signalbox/PRODUCTION.md') && packed.includes('signalbox/values.schema.json'))
  t.same(
    packed.filter((file) => file.endsWith('.ts')),
    [],
  )
})
