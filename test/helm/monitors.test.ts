/** What Prometheus would scrape by the rendered monitors; then it does, a real one a real gateway. */
import t from 'tap'
import { startGateway } from '../gateway.ts'
import { Prometheus } from '../prometheus.ts'
import { type Monitored, metaLabels, monitored, scrapeConfig } from './monitored.ts'
import { type Manifest, only, rendered, template } from './rendered.ts'

const namespace = 'llm'
const render = (kind: Kind, values: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Manifest[] =>
  rendered({ set: { [valuesOf[kind]]: { enabled: true, ...values }, ...more }, namespace, name: 'front' })

type Kind = 'ServiceMonitor' | 'PodMonitor'
const valuesOf = { ServiceMonitor: 'serviceMonitor', PodMonitor: 'podMonitor' } as const

for (const kind of ['ServiceMonitor', 'PodMonitor'] as const) {
  t.test(kind, async (t) => {
    t.test('finds the port of metrics of the gateways, and no other', async (t) => {
      const { selected, port, endpoint } = monitored(render(kind), kind)
      t.equal(selected.length, 1)
      t.equal(port, 9464)
      t.equal(endpoint.path, '/metrics')
      t.equal(endpoint.honorLabels, false)
      t.equal(monitored(render(kind, {}, { ports: { metrics: 9999 } }), kind).port, 9999)
    })

    t.test('is found by its labels, and asks as often as it is told', async (t) => {
      const manifests = render(kind, { labels: { release: 'stack' }, interval: '1m', scrapeTimeout: '20s' })
      t.match(only(manifests, kind).metadata.labels, { release: 'stack' })
      t.match(monitored(manifests, kind).endpoint, { interval: '1m', scrapeTimeout: '20s' })
    })

    t.test('there is none, unless wanted, and none without metrics', async (t) => {
      t.notOk(rendered().some((each) => each.kind === kind))
      const set = { [valuesOf[kind]]: { enabled: true }, config: { metrics: { enabled: false } } }
      t.match(template({ set }).stderr, /config\.metrics\.enabled is false/)
    })
  })
}

t.test('a pod that drains is still seen', async (t) => {
  const { publishNotReadyAddresses } = Object(only(rendered(), 'Service', 'signalbox-metrics').spec)
  t.equal(publishNotReadyAddresses, true, 'Kubernetes takes it out of the endpoints otherwise')
  t.notOk(Object(only(rendered(), 'Service', 'signalbox').spec).publishNotReadyAddresses, 'but gets no requests')
})

t.test('one of them is enough', async (t) => {
  const set = { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } }
  t.match(template({ set }).stderr, /every series would be there twice/)
})

t.test('a gateway that is scraped so', async (t) => {
  const gateway = await startGateway(t)
  const start = async ({ endpoint }: Monitored): Promise<Prometheus> =>
    Prometheus.start(t, {
      targets: [new URL(gateway.url).host],
      interval: '1s',
      labels: metaLabels({ namespace, pod: 'front-signalbox-5d-x', container: 'signalbox' }),
      scrape: scrapeConfig(endpoint),
    })

  for (const kind of ['ServiceMonitor', 'PodMonitor'] as const) {
    t.test(`by the ${kind} has the labels that dashboards, rules and KEDA select by`, async (t) => {
      const more = { environment: 'staging' }
      const dropped = [{ sourceLabels: ['__name__'], regex: 'nodejs_gc_.*', action: 'drop' }]
      const prometheus = await start(monitored(render(kind, { metricRelabelings: dropped }, more), kind))
      const [info] = await prometheus.query('signalbox_build_info')
      t.match(info?.metric, { namespace, environment: 'staging', job: 'front-signalbox', pod: 'front-signalbox-5d-x' })
      const chosen = 'signalbox_build_info{namespace=~"llm", environment=~"staging"}'
      t.equal((await prometheus.query(chosen)).length, 1)
      t.equal((await prometheus.query('sum by (namespace, environment) (up)'))[0]?.metric.environment, 'staging')

      t.ok((await prometheus.query('nodejs_eventloop_lag_p99_seconds')).length > 0)
      t.strictSame(await prometheus.query('{__name__=~"nodejs_gc_.*"}'), [], 'what is relabelled away is away')
    })
  }

  t.test('has no environment where none is named', async (t) => {
    const prometheus = await start(monitored(render('PodMonitor'), 'PodMonitor'))
    const [info] = await prometheus.query('signalbox_build_info')
    t.equal(info?.metric.namespace, namespace)
    t.notHas(info?.metric, 'environment')
  })
})
