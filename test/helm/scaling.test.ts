/** What the pods are scaled by: the metrics are asked for as an adapter and KEDA ask, of a real Prometheus with real gateways. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { partsOf } from '../dashboards/selector.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { Prometheus } from '../prometheus.ts'
import { until } from '../redis-server.ts'
import * as up from '../upstream.ts'
import { chart } from './helm.ts'
import { metaLabels, monitored, scrapeConfig } from './monitored.ts'
import { type Manifest, only, rendered, template } from './rendered.ts'

const namespace = 'llm'
const name = 'front'
const byMetrics = { targetInFlightRequests: 200, targetOpenStreams: 150 }
const prometheusAddress = 'http://prometheus.monitoring:9090'
const withHpa = (values: Record<string, unknown> = {}): Manifest[] =>
  rendered({ set: { autoscaling: { enabled: true, ...values } }, name, namespace })
const withKeda = (values: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Manifest[] =>
  rendered({ set: { keda: { enabled: true, prometheusAddress, ...values }, ...more }, name, namespace })

interface Behavior {
  scaleUp: { stabilizationWindowSeconds: number }
  scaleDown: {
    stabilizationWindowSeconds: number
    policies: { type: string; value: number; periodSeconds: number }[]
  }
}

interface HpaSpec {
  scaleTargetRef: { apiVersion: string; kind: string; name: string }
  minReplicas: number
  maxReplicas: number
  metrics: {
    type: string
    resource?: { name: string; target: unknown }
    pods?: { metric: { name: string }; target: unknown }
  }[]
  behavior: Behavior
}

interface Trigger {
  type: string
  metricType: string
  metadata: Record<string, string>
}

interface KedaSpec {
  scaleTargetRef: { name: string }
  minReplicaCount: number
  maxReplicaCount: number
  pollingInterval: number
  fallback?: { failureThreshold: number; replicas: number; behavior: string }
  advanced: { horizontalPodAutoscalerConfig: { behavior: Behavior } }
  triggers: Trigger[]
}

const hpaOf = (manifests: Manifest[]) => only(manifests, 'HorizontalPodAutoscaler').spec as HpaSpec
const kedaOf = (manifests: Manifest[]) => only(manifests, 'ScaledObject').spec as KedaSpec
const queriesOf = (manifests: Manifest[]): string[] =>
  kedaOf(manifests).triggers.flatMap(({ metadata }) => metadata.query ?? [])

/** Seconds that it takes at least until half of ten pods are gone. */
function secondsToHalf({ stabilizationWindowSeconds, policies }: Behavior['scaleDown']): number {
  const fastest = policies.map(({ type, value, periodSeconds }) => {
    const pods = type === 'Pods' ? value : Math.ceil((10 * value) / 100)
    return (Math.ceil(5 / pods) - 1) * periodSeconds
  })
  return stabilizationWindowSeconds + Math.min(...fastest)
}

t.test('an HPA scales the Deployment, which has no number of its own, by CPU', async (t) => {
  const manifests = withHpa({ minReplicas: 3, maxReplicas: 9 })
  const deployment = only(manifests, 'Deployment')
  const { scaleTargetRef, minReplicas, maxReplicas, metrics } = hpaOf(manifests)
  t.strictSame(scaleTargetRef, { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name })
  t.notHas(deployment.spec, 'replicas')
  t.strictSame([minReplicas, maxReplicas], [3, 9])
  const target = { type: 'Utilization', averageUtilization: 70 }
  t.strictSame(metrics, [{ type: 'Resource', resource: { name: 'cpu', target } }])
})

t.test('and by what a pod works on', async (t) => {
  const { metrics } = hpaOf(withHpa({ targetCPUUtilizationPercentage: null, ...byMetrics }))
  t.strictSame(
    metrics.map(({ type, pods }) => [type, pods?.metric.name, pods?.target]),
    [
      ['Pods', 'signalbox_in_flight_requests', { type: 'AverageValue', averageValue: '200' }],
      ['Pods', 'signalbox_open_streams', { type: 'AverageValue', averageValue: '150' }],
    ],
  )
})

t.test('up at once, down slowly, whoever scales', async (t) => {
  for (const behavior of [
    hpaOf(withHpa()).behavior,
    kedaOf(withKeda()).advanced.horizontalPodAutoscalerConfig.behavior,
  ]) {
    t.equal(behavior.scaleUp.stabilizationWindowSeconds, 0)
    t.ok(secondsToHalf(behavior.scaleDown) >= 15 * 60)
  }
})

t.test('KEDA scales the Deployment, which has no number of its own', async (t) => {
  const manifests = withKeda({ minReplicas: 3, maxReplicas: 9, ...byMetrics })
  const deployment = only(manifests, 'Deployment')
  const { scaleTargetRef, minReplicaCount, maxReplicaCount, triggers } = kedaOf(manifests)
  t.equal(kedaOf(withKeda({ pollingInterval: 7 })).pollingInterval, 7)
  t.equal(scaleTargetRef.name, deployment.metadata.name)
  t.notHas(deployment.spec, 'replicas')
  t.strictSame([minReplicaCount, maxReplicaCount], [3, 9])
  t.strictSame(
    triggers.map(({ type, metricType, metadata }) => [type, metricType, metadata.threshold ?? metadata.value]),
    [
      ['prometheus', 'AverageValue', '200'],
      ['prometheus', 'AverageValue', '150'],
      ['cpu', 'Utilization', '70'],
    ],
  )
  for (const { metadata } of triggers) for (const value of Object.values(metadata)) t.type(value, 'string')
})

t.test('without an answer of Prometheus no pod goes', async (t) => {
  const { fallback, triggers } = kedaOf(withKeda())
  t.strictSame(fallback, { failureThreshold: 3, replicas: 2, behavior: 'currentReplicasIfHigher' })
  for (const { metadata } of triggers.filter(({ type }) => type === 'prometheus')) {
    t.equal(metadata.ignoreNullValues, 'false', 'no series is no zero')
    t.equal(metadata.serverAddress, prometheusAddress)
  }
  const byCpu = kedaOf(withKeda({ targetInFlightRequests: null }))
  t.notHas(byCpu, 'fallback', 'KEDA refuses one for CPU alone')
})

t.test('more triggers', async (t) => {
  const cron = {
    type: 'cron',
    metadata: { timezone: 'UTC', start: '0 7 * * *', end: '0 19 * * *', desiredReplicas: '4' },
  }
  t.strictSame(kedaOf(withKeda({ triggers: [cron] })).triggers.at(-1), cron)
})

t.test('what could not scale is refused', async (t) => {
  const off = { targetCPUUtilizationPercentage: null, targetInFlightRequests: null }
  const refusals: [Record<string, unknown>, RegExp][] = [
    [{ autoscaling: { enabled: true, ...off } }, /autoscaling\.enabled has nothing to scale by/],
    [{ keda: { enabled: true, ...off } }, /keda\.enabled has nothing to scale by/],
    [{ keda: { enabled: true } }, /keda\.prometheusAddress: without it/],
    [
      { autoscaling: { enabled: true }, resources: { requests: { cpu: null } } },
      /resources\.requests\.cpu: without it/,
    ],
    [{ autoscaling: { enabled: true }, keda: { enabled: true, prometheusAddress } }, /autoscaling\.enabled and keda/],
  ]
  for (const [set, reason] of refusals) {
    const { status, stderr } = template({ set })
    t.not(status, 0)
    t.match(stderr, reason)
  }
})

t.test('neither is there, unless wanted', async (t) => {
  const manifests = rendered()
  t.notOk(manifests.some(({ kind }) => kind === 'HorizontalPodAutoscaler' || kind === 'ScaledObject'))
  t.equal((only(manifests, 'Deployment').spec as { replicas: number }).replicas, 2)
})

t.test('with two gateways at work', async (t) => {
  const upstream = await up.startUpstream()
  t.teardown(() => upstream.close())
  upstream.behave(up.completion({ tokens: [' a', ' b'], delayMs: 600_000 }))
  const gateways = [await startGateway(t, { upstream }), await startGateway(t, { upstream })] as const

  /** Opens streams, and leaves them open. */
  const open = (gateway: Gateway, streams: number): Promise<unknown> =>
    Promise.all(
      Array.from({ length: streams }, () =>
        gateway.post('/v1/chat/completions', {
          model: 'openai/small',
          messages: [{ role: 'user', content: 'hello' }],
          stream: true,
        }),
      ),
    )
  await Promise.all([open(gateways[0], 3), open(gateways[1], 2)])

  const manifests = withKeda(byMetrics, { podMonitor: { enabled: true } })
  const scrape = scrapeConfig(monitored(manifests, 'PodMonitor').endpoint)
  const pods = gateways.map(({ url }) => new URL(url).host)
  const prometheus = await Prometheus.start(t, {
    targets: pods,
    interval: '1s',
    labels: metaLabels({ namespace }),
    scrape: {
      ...scrape,
      // Its address is a pod's name here.
      relabel_configs: [{ source_labels: ['__address__'], target_label: '__meta_pod' }, ...scrape.relabel_configs],
    },
  })
  await until(async () => (await prometheus.query('signalbox_open_streams > 0')).length === 2, 'both are scraped')

  t.test("KEDA's questions come to the sum over the pods", async (t) => {
    const queries = queriesOf(manifests)
    t.strictSame(
      queries.map((query) => partsOf(query).selectors.map((selector) => selector.name)),
      [['signalbox_in_flight_requests'], ['signalbox_open_streams']],
    )
    for (const query of queries) {
      // A slow machine misses a scrape.
      await until(async () => (await prometheus.query(query))[0]?.value === 5, `5 is what ${query} comes to`)
      t.equal((await prometheus.query(query)).length, 1, query)
    }
  })

  t.test('those of another release, or another namespace, come to nothing', async (t) => {
    const set = { keda: { enabled: true, prometheusAddress, ...byMetrics } }
    const others = [rendered({ set, name: 'other', namespace }), rendered({ set, name, namespace: 'elsewhere' })]
    for (const query of others.flatMap(queriesOf)) t.strictSame(await prometheus.query(query), [], query)
  })

  t.test('the rule of the page about scaling gives an HPA what it asks for, by pod', async (t) => {
    const page = readFileSync(join(chart, 'scaling.md'), 'utf8')
    const [, text = ''] = /```yaml\n(.*?)```/s.exec(page) ?? []
    const { rules }: { rules: { custom: { seriesQuery: string; metricsQuery: string }[] } } = parse(text)
    const [rule] = rules.custom
    const found = await prometheus.get<{ __name__: string }[]>('series', { 'match[]': rule?.seriesQuery ?? '' })
    const { metrics } = hpaOf(withHpa(byMetrics))
    const asked = metrics.flatMap(({ pods }) => pods?.metric.name ?? [])
    t.strictSame([...new Set(found.map(({ __name__ }) => __name__))].sort(), asked.sort())
    const query = (rule?.metricsQuery ?? '')
      .replace('<<.Series>>', 'signalbox_open_streams')
      .replace('<<.LabelMatchers>>', `namespace="${namespace}",pod=~"${pods.join('|')}"`)
      .replace('<<.GroupBy>>', 'pod')
    await until(async () => (await prometheus.query(query)).length === 2, 'both were scraped')
    const streams = (await prometheus.query(query)).map(({ metric, value }) => [metric.pod, value])
    t.strictSame(Object.fromEntries(streams), { [pods[0] ?? '']: 3, [pods[1] ?? '']: 2 })
  })
})
