/**
 * What Helm does with the chart in the life of a release, against an API in memory (./fake-kubernetes.ts). A test of the
 * life cycle, not of a cluster: nothing is admitted, defaulted or scheduled there.
 */
import t from 'tap'
import type { KubernetesObject } from './kubernetes/kinds.ts'
import { name, namespace, neighbours, Release } from './release.ts'
import { environments, type Manifest, type RenderOptions, rendered, valuesFor } from './rendered.ts'

/** Values with a model; a change of it is live. */
const withModel = (model: string): Record<string, unknown> => ({
  config: {
    providers: { lab: { kind: 'openai-compatible', baseURL: 'http://vllm.lab:8000/v1' } },
    models: { fast: { targets: [{ model: `lab/${model}` }] } },
  },
})

/** How Helm marks what is its own. */
const owned = {
  labels: { 'app.kubernetes.io/managed-by': 'Helm' },
  annotations: { 'meta.helm.sh/release-name': name, 'meta.helm.sh/release-namespace': namespace },
}

/** A rendered object as it is in a cluster. */
const asApplied = ({ metadata, ...manifest }: Manifest): unknown => ({
  ...manifest,
  metadata: {
    ...metadata,
    namespace,
    labels: { ...metadata.labels, ...owned.labels },
    annotations: { ...metadata.annotations, ...owned.annotations },
  },
})

const isHook = ({ metadata }: Manifest): boolean => metadata.annotations?.['helm.sh/hook'] !== undefined

const manifestsOf = (options: RenderOptions): Manifest[] =>
  rendered({ ...options, name, namespace }).filter((one) => !isHook(one))

const keyOf = ({ kind, metadata }: Manifest | KubernetesObject): string => `${kind} ${metadata.name}`

for (const environment of environments) {
  t.test(`${environment} is installed as it renders, upgraded, rolled back and uninstalled`, async (t) => {
    const release = await Release.in(t)
    const { cluster } = release
    const values = valuesFor(environment)
    const first = { values, set: withModel('llama-3.1-8b') }

    const before = release.objects()
    t.match(await release.helm('install', ...release.chart(first), '--dry-run=server'), 'kind: Deployment')
    t.strictSame(cluster.writes(), [], 'a dry run writes nothing')

    const notes = await release.helm('install', ...release.chart(first), '--wait', '--timeout', '30s')
    const installed = release.objects()
    const named = Array.from(notes.matchAll(/\b(deployment|service)\/([\w-]+)/g), ([, kind, of]) => `${kind} ${of}`)
    const there = Array.from(installed.keys(), (key) => key.toLowerCase())
    t.ok(named.length > 0 && named.every((key) => there.includes(key)), `the notes name what is there: ${named}`)
    const manifests = manifestsOf(first)
    for (const manifest of manifests) {
      t.strictSame(installed.get(keyOf(manifest)), asApplied(manifest), `${keyOf(manifest)} is what was rendered`)
    }
    t.equal(installed.size, before.size + manifests.length, 'and nothing else')
    const kinds = cluster.applied().map(({ kind }) => kind)
    for (const kind of ['ServiceAccount', 'ConfigMap', 'Service', 'NetworkPolicy', 'PodDisruptionBudget']) {
      if (kinds.includes(kind)) t.ok(kinds.lastIndexOf(kind) < kinds.indexOf('Deployment'), `${kind} before the pods`)
    }

    const next = { values, set: { ...withModel('llama-3.3-70b'), preStopSeconds: 9 } }
    const changed = await release.changedBy(() =>
      release.helm('upgrade', ...release.chart(next), '--wait', '--timeout', '30s'),
    )
    t.strictSame(changed, [`ConfigMap ${name}`, `Deployment ${name}`])
    t.match(release.config, 'llama-3.3-70b')
    for (const manifest of manifestsOf(next)) {
      t.strictSame(
        release.objects().get(keyOf(manifest)),
        asApplied(manifest),
        `${keyOf(manifest)} is what was rendered`,
      )
    }

    t.match(await release.helm('rollback', '1', '--wait', '--timeout', '30s'), 'Rollback was a success')
    t.strictSame(release.objects(), installed, 'every object is what it was')
    t.match(release.config, 'llama-3.1-8b')
    const history: { revision: number; status: string; description: string }[] = JSON.parse(
      await release.helm('history', '--output', 'json'),
    )
    t.strictSame(
      history.map(({ revision, status, description }) => [revision, status, description]),
      [
        [1, 'superseded', 'Install complete'],
        [2, 'superseded', 'Upgrade complete'],
        [3, 'deployed', 'Rollback to 1'],
      ],
    )

    await release.helm('uninstall', '--wait')
    t.strictSame(release.objects(), before, 'what is left is what was there before')
    t.strictSame(
      cluster.objects.all().filter(({ type }) => type === 'helm.sh/release.v1'),
      [],
      "and none of Helm's records",
    )
  })
}

t.test('the pods are replaced only when something changes that they take up at a start', async (t) => {
  const release = await Release.in(t)
  const values = valuesFor('dev')
  const upgrade = (set: Record<string, unknown>) => () =>
    release.helm('upgrade', '--install', ...release.chart({ values, set }))
  await upgrade(withModel('llama-3.1-8b'))()
  const template = (): { metadata: { annotations: Record<string, string> }; spec: unknown } =>
    (release.deployment.spec as { template: ReturnType<typeof template> }).template

  t.strictSame(await release.changedBy(upgrade(withModel('llama-3.1-8b'))), [], 'nothing changes by itself')
  t.strictSame(await release.changedBy(upgrade(withModel('llama-3.3-70b'))), [`ConfigMap ${name}`], 'a model is live')

  const old = template()
  const { config } = withModel('llama-3.3-70b')
  const restart = upgrade({ config: { ...(config as object), limits: { concurrentRequests: 10 } } })
  t.strictSame(await release.changedBy(restart), [`ConfigMap ${name}`, `Deployment ${name}`])
  t.strictSame(template().spec, old.spec, 'the pods stay the same but for their annotations')
  const annotations = Object.keys(old.metadata.annotations)
  const changed = annotations.filter((key) => template().metadata.annotations[key] !== old.metadata.annotations[key])
  t.strictSame(changed, ['checksum/config'])
  t.equal(Object.keys(template().metadata.annotations).length, annotations.length)
})

t.test('an object that a new revision does without goes, and a rollback brings it back', async (t) => {
  const release = await Release.in(t)
  const values = valuesFor('dev')
  const ingress = { enabled: true, hosts: [{ host: 'llm.example.com', paths: [{ path: '/v1', pathType: 'Prefix' }] }] }
  await release.helm('install', ...release.chart({ values, set: { ingress } }))

  t.strictSame(await release.changedBy(() => release.helm('upgrade', ...release.chart({ values }))), [
    `Ingress ${name}`,
  ])
  t.notOk(release.objects().has(`Ingress ${name}`))
  t.strictSame(await release.changedBy(() => release.helm('rollback')), [`Ingress ${name}`])
  t.ok(release.objects().has(`Ingress ${name}`))
})

t.test('an upgrade whose pods do not become ready fails, and leaves the release as it was', async (t) => {
  const release = await Release.in(t, { runs: (object) => !JSON.stringify(object).includes(':broken') })
  const values = valuesFor('dev')
  await release.helm('install', ...release.chart({ values }), '--wait', '--timeout', '30s')
  const before = release.objects()

  const broken = release.chart({ values, set: { ...withModel('llama-3.1-8b'), image: { tag: 'broken' } } })
  const { status, stderr } = await release.try('upgrade', ...broken, '--rollback-on-failure', '--timeout', '30s')
  t.equal(status, 1)
  t.match(stderr, new RegExp(`Deployment/${namespace}/${name} not ready`))
  t.match(stderr, 'has been rolled back')
  t.strictSame(release.objects(), before)
  const history: { status: string }[] = JSON.parse(await release.helm('history', '--output', 'json'))
  t.strictSame(
    history.map((revision) => revision.status),
    ['superseded', 'failed', 'deployed'],
  )
})

t.test('an installation whose pods do not become ready leaves nothing', async (t) => {
  const release = await Release.in(t, { runs: () => false })
  const before = release.objects()
  const { status, stderr } = await release.try(
    'install',
    ...release.chart(),
    '--rollback-on-failure',
    '--timeout',
    '2s',
  )
  t.equal(status, 1)
  t.match(stderr, 'has been uninstalled')
  t.strictSame(release.objects(), before)
})

t.test('two releases live side by side in a namespace', async (t) => {
  const release = await Release.in(t)
  const other = release.beside('canary')
  const set = { dashboards: { enabled: true }, prometheusRule: { enabled: true }, serviceMonitor: { enabled: true } }
  const installing = { values: valuesFor('staging'), set }
  await release.helm('install', ...release.chart(installing))
  const alone = release.objects()

  const added = await release.changedBy(() => other.helm('install', ...other.chart(installing)))
  t.equal(added.length, alone.size - neighbours.length, 'none of the second is one of the first')
  await other.helm('uninstall')
  t.strictSame(release.objects(), alone)
})

t.test('what an autoscaler has set stays over an upgrade', async (t) => {
  const release = await Release.in(t)
  const set = { autoscaling: { enabled: true } }
  await release.helm('install', ...release.chart({ set }))
  t.notOk('replicas' in (release.deployment.spec as object), 'the chart does not say how many')
  release.cluster.edit('Deployment', name, namespace, { spec: { replicas: 7 } })

  await release.helm('upgrade', ...release.chart({ set: { ...set, preStopSeconds: 9 } }))
  t.match(release.deployment, { spec: { replicas: 7 } })
})

t.test('a release that turns to an autoscaler', async (t) => {
  const autoscaled = { set: { autoscaling: { enabled: true } } }

  t.test('gives up its number of replicas: in a cluster that is one, until the autoscaler has counted', async (t) => {
    const release = await Release.in(t)
    await release.helm('install', ...release.chart())
    await release.helm('upgrade', ...release.chart(autoscaled))
    t.notOk('replicas' in (release.deployment.spec as object))
  })

  t.test('keeps it when somebody else has set it before, as `kubectl scale` does', async (t) => {
    const release = await Release.in(t)
    await release.helm('install', ...release.chart())
    release.cluster.edit('Deployment', name, namespace, { spec: { replicas: 3 } })
    await release.helm('upgrade', ...release.chart(autoscaled))
    t.match(release.deployment, { spec: { replicas: 3 } })
  })
})

t.test('what somebody has changed by hand is not overwritten unasked', async (t) => {
  const release = await Release.in(t)
  await release.helm('install', ...release.chart())
  release.cluster.edit('Deployment', name, namespace, { spec: { replicas: 7 } })

  const upgrade = release.chart({ set: { replicaCount: 3 } })
  const { status, stderr } = await release.try('upgrade', ...upgrade)
  t.equal(status, 1)
  t.match(stderr, /conflict.*\.spec\.replicas/)
  t.match(release.deployment, { spec: { replicas: 7 } })
  await release.helm('upgrade', ...upgrade, '--force-conflicts')
  t.match(release.deployment, { spec: { replicas: 3 } })
})

t.test("a variable of the user's takes the place of the chart's: named twice it could not be applied", async (t) => {
  const release = await Release.in(t)
  const extraEnv = [{ name: 'SIGNALBOX_CONFIG', value: '/etc/mine/signalbox.yaml' }]
  await release.helm('install', ...release.chart({ set: { extraEnv } }))
  const env = [{ name: 'HOST', value: '' }, ...extraEnv]
  t.match(release.deployment, { spec: { template: { spec: { containers: [{ env }] } } } })

  const twice = release.chart({ set: { extraEnv: [...extraEnv, ...extraEnv] } })
  t.match((await release.try('upgrade', ...twice)).stderr, 'duplicates in .spec.template.spec.containers[].env')
})

t.test('an object of the same name that is not of the release is left alone', async (t) => {
  const release = await Release.in(t)
  const stranger = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { mine: 'yes' } }
  release.cluster.objects.put(stranger)
  const before = release.objects()
  const { status, stderr } = await release.try('install', ...release.chart())
  t.equal(status, 1)
  t.match(
    stderr,
    `ConfigMap "${name}" in namespace "${namespace}" exists and cannot be imported into the current release`,
  )
  t.strictSame(release.objects(), before)
})

t.test('without the definitions of an operator Helm says which kind is missing, and writes nothing', async (t) => {
  const release = await Release.in(t, { operators: false })
  const missing: [string, Record<string, unknown>][] = [
    ['ServiceMonitor" in version "monitoring.coreos.com/v1"', { serviceMonitor: { enabled: true } }],
    ['PrometheusRule" in version "monitoring.coreos.com/v1"', { prometheusRule: { enabled: true } }],
    [
      'ScaledObject" in version "keda.sh/v1alpha1"',
      { keda: { enabled: true, prometheusAddress: 'http://prometheus.monitoring:9090' } },
    ],
    [
      'HTTPRoute" in version "gateway.networking.k8s.io/v1"',
      { httpRoute: { enabled: true, parentRefs: [{ name: 'public' }], hostnames: ['llm.example.com'] } },
    ],
  ]
  for (const [kind, set] of missing) {
    const { status, stderr } = await release.try('install', ...release.chart({ set }))
    t.equal(status, 1)
    t.match(stderr, `no matches for kind "${kind}`)
    t.match(stderr, 'ensure CRDs are installed first')
  }
  t.strictSame(release.cluster.writes(), [])
})

t.test('helm test runs the pods of the chart, and tells when one fails', async (t) => {
  let runs = true
  const release = await Release.in(t, { runs: ({ kind }) => kind !== 'Pod' || runs })
  await release.helm('install', ...release.chart({ values: valuesFor('dev') }))
  const said = await release.helm('test', '--timeout', '20s')
  const pods = rendered({ values: valuesFor('dev'), name, namespace }).filter(isHook)
  t.ok(pods.length > 0)
  for (const { metadata } of pods) t.match(said, new RegExp(`TEST SUITE: +${metadata.name}`))
  t.equal(said.match(/Phase: +Succeeded/g)?.length, pods.length)

  runs = false
  const { status, stderr } = await release.try('test', '--timeout', '20s')
  t.equal(status, 1)
  t.match(stderr, 'failed')
})
