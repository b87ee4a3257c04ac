import t from 'tap'
import { containerOf, containersOf, gatewayPod, podsIn, portsOf, selects } from './pods.ts'
import { environments, kubeVersions, type Manifest, only, type RenderOptions, rendered, valuesFor } from './rendered.ts'

interface ServiceSpec {
  ports: { name: string; port: number; targetPort: string }[]
}

interface DeploymentSpec {
  replicas?: number
  strategy: object
  selector: { matchLabels: Record<string, string> }
}

const deploymentIn = (manifests: readonly Manifest[]): DeploymentSpec =>
  only(manifests, 'Deployment').spec as DeploymentSpec

const keyed = { admin: { enabled: true, keys: [{ name: 'ops', sha256: 'a'.repeat(64) }] } }

/** The gateway's pod with these values. */
const podOf = (set: RenderOptions['set'] = {}) => gatewayPod(rendered({ set }))

for (const environment of environments) {
  const manifests = rendered({ values: valuesFor(environment) })
  const pods = podsIn(manifests)

  t.test(`${environment}: the Deployment and its budget are for the gateway's pods alone`, async (t) => {
    for (const { kind, spec } of manifests.filter(({ kind }) => /^(Deployment|PodDisruptionBudget)$/.test(kind))) {
      const { selector } = spec as DeploymentSpec
      const found = pods.filter(({ labels }) => selects(labels, selector.matchLabels))
      t.same(
        found.map(({ kind }) => kind),
        ['Deployment'],
        kind,
      )
    }
  })

  t.test(`${environment}: images come from a registry that is named`, async (t) => {
    for (const { image } of pods.flatMap(containersOf)) t.match(image, /^[\w.-]+\.\w+\/.+/)
  })

  t.test(`${environment}: what the gateway mounts it reads only, and sees change`, async (t) => {
    for (const { mountPath, readOnly, subPath } of containerOf(gatewayPod(manifests)).volumeMounts ?? []) {
      t.equal(readOnly, true)
      t.equal(subPath, undefined, `${mountPath} is a directory: what is mounted as a file never changes`)
    }
  })
}

t.test('replicas: a number, or what an autoscaler says', async (t) => {
  t.equal(deploymentIn(rendered()).replicas, 2)
  t.equal(deploymentIn(rendered({ set: { replicaCount: 5 } })).replicas, 5)
  for (const scaler of ['autoscaling', 'keda']) {
    const keda = { enabled: scaler === 'keda', prometheusAddress: 'http://prometheus:9090' }
    const manifests = rendered({ set: { keda, autoscaling: { enabled: scaler === 'autoscaling' } } })
    t.notOk('replicas' in deploymentIn(manifests), scaler)
  }
})

t.test('a rollout brings a new pod before an old one goes', async (t) => {
  t.match(deploymentIn(rendered({ set: { revisionHistoryLimit: 3 } })), { revisionHistoryLimit: 3 })
  const rolling = { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: 0 } }
  t.same(deploymentIn(rendered()).strategy, rolling)
  t.same(deploymentIn(rendered({ set: { strategy: { type: 'Recreate' } } })).strategy, { type: 'Recreate' })
})

t.test('the kubelet asks whether it lives, and, of Services, whether it is ready', async (t) => {
  const { startupProbe, livenessProbe, readinessProbe } = containerOf(
    podOf({
      probes: { startup: { periodSeconds: 3 }, liveness: { periodSeconds: 4 }, readiness: { periodSeconds: 5 } },
    }),
  )
  const get = (path: string) => ({ httpGet: { path, port: 'http' } })
  t.match(startupProbe, { ...get('/health'), periodSeconds: 3 })
  t.match(livenessProbe, { ...get('/health'), periodSeconds: 4 })
  t.match(readinessProbe, { ...get('/ready'), periodSeconds: 5 })
})

t.test('the budget of disruptions: where there is more than one pod', async (t) => {
  const budgets = (set: RenderOptions['set']): number =>
    rendered({ set }).filter(({ kind }) => kind === 'PodDisruptionBudget').length
  t.equal(budgets({}), 1)
  t.equal(budgets({ replicaCount: 1 }), 0)
  t.equal(budgets({ replicaCount: 1, autoscaling: { enabled: true, minReplicas: 2 } }), 1)
  const keda = { enabled: true, prometheusAddress: 'http://prometheus:9090' }
  t.equal(budgets({ keda: { ...keda, minReplicas: 1, maxReplicas: 2 } }), 0)
  t.equal(budgets({ podDisruptionBudget: { enabled: false } }), 0)
  t.match(only(rendered({ set: { podDisruptionBudget: { maxUnavailable: '20%' } } }), 'PodDisruptionBudget').spec, {
    maxUnavailable: '20%',
    unhealthyPodEvictionPolicy: 'AlwaysAllow',
  })
})

t.test('the end of a pod: out of the endpoints, then the drain, and time for both', async (t) => {
  const grace = (set: RenderOptions['set']): number | undefined => podOf(set).spec.terminationGracePeriodSeconds
  t.equal(grace({}), 5 + 5 + 60 + 3 + 5, 'with the defaults of the gateway')
  t.equal(grace({ preStopSeconds: 0 }), 5 + 60 + 3 + 5)
  t.equal(grace({ config: { server: { drainDelay: '0s', drainTimeout: '10m' } } }), 5 + 600 + 3 + 5)
  t.equal(grace({ config: { server: { drainDelay: '1500ms', drainTimeout: '1h' } } }), 5 + 2 + 3600 + 3 + 5)
  t.equal(grace({ config: { server: { drainTimeout: '1d' }, tracing: { flushTimeout: '30s' } } }), 5 + 5 + 86_400 + 35)
  t.same(containerOf(podOf()).lifecycle, { preStop: { sleep: { seconds: 5 } } }, 'which needs no shell')
  t.equal(containerOf(podOf({ preStopSeconds: 0 })).lifecycle, undefined)
  for (const drainTimeout of ['soon', '90', '1.5m']) {
    t.throws(() => podOf({ config: { server: { drainTimeout } } }), /config\W+server\W+drainTimeout/)
  }
})

t.test('the ports that are listened on, each by its name', async (t) => {
  const ports = (set: RenderOptions['set']) => portsOf(containerOf(podOf(set)))
  const services = (set: RenderOptions['set']) =>
    rendered({ set })
      .filter(({ kind }) => kind === 'Service')
      .map(({ metadata }) => metadata.name)
      .toSorted()
  t.same(ports({}), { http: 4000, metrics: 9464 })
  t.same(services({}), ['signalbox', 'signalbox-metrics'])
  t.same(ports({ config: { metrics: { enabled: false } } }), { http: 4000 })
  t.same(services({ config: { metrics: { enabled: false } } }), ['signalbox'])
  t.same(ports({ config: keyed }), { http: 4000, metrics: 9464, admin: 4001 })
  t.same(services({ config: keyed }), ['signalbox', 'signalbox-admin', 'signalbox-metrics'])
  t.same(ports({ ports: { http: 8080, metrics: 9090 } }), { http: 8080, metrics: 9090 })
})

t.test('only the API is at the Service that an ingress or a load balancer shows', async (t) => {
  const annotations = { 'example.com/internal': 'true' }
  const manifests = rendered({ set: { config: keyed, service: { type: 'LoadBalancer', port: 8080, annotations } } })
  const { spec, metadata } = only(manifests, 'Service', 'signalbox')
  t.same(metadata.annotations, annotations)
  t.match(spec, {
    type: 'LoadBalancer',
    ports: [{ name: 'http', port: 8080, targetPort: 'http', appProtocol: 'http' }],
  })
  t.equal((spec as ServiceSpec).ports.length, 1)
  t.match(only(manifests, 'Service', 'signalbox-admin').spec, { type: 'ClusterIP', ports: [{ port: 4001 }] })
  t.match(only(manifests, 'Service', 'signalbox-metrics').spec, { clusterIP: 'None' })
})

t.test('variables come from Secrets by reference, and extraEnv wins', async (t) => {
  const { env, envFrom } = containerOf(
    podOf({
      secrets: { env: { existingSecret: 'providers' } },
      redis: { enabled: true, auth: { existingSecret: 'of-redis', key: 'pass' } },
      extraEnv: [{ name: 'SIGNALBOX_CONFIG', value: '/elsewhere.yaml' }],
      extraEnvFrom: [{ configMapRef: { name: 'more' } }],
    }),
  )
  t.same(envFrom, [{ secretRef: { name: 'providers' } }, { configMapRef: { name: 'more' } }])
  t.same(env, [
    { name: 'HOST', value: '' },
    { name: 'REDIS_PASSWORD', valueFrom: { secretKeyRef: { name: 'of-redis', key: 'pass' } } },
    { name: 'SIGNALBOX_CONFIG', value: '/elsewhere.yaml' },
  ])
})

t.test('traces say which pod they are of, where there are any', async (t) => {
  const named = (set: RenderOptions['set']) =>
    Object.fromEntries((containerOf(podOf(set)).env ?? []).map(({ name, ...rest }) => [name, rest]))
  t.same(Object.keys(named({})), ['SIGNALBOX_CONFIG', 'HOST'])
  const endpoint = { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: 'http://collector:4318' }
  const exporter = { name: 'OTEL_TRACES_EXPORTER', value: 'otlp' }
  for (const set of [{ config: { tracing: { enabled: true } } }, { extraEnv: [endpoint] }, { extraEnv: [exporter] }]) {
    t.match(named({ environment: 'prod', ...set }), {
      K8S_POD_NAME: { valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      K8S_NODE_NAME: { valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
      OTEL_SERVICE_NAME: { value: 'signalbox' },
      OTEL_RESOURCE_ATTRIBUTES: {
        value:
          /service\.instance\.id=\$\(K8S_POD_NAME\),.*k8s\.pod\.name=\$\(K8S_POD_NAME\),.*deployment\.environment\.name=prod$/,
      },
    })
  }
})

t.test('replicas are spread, each version for itself', async (t) => {
  const { topologySpreadConstraints = [] } = podOf().spec
  t.same(
    topologySpreadConstraints.map(({ topologyKey }) => topologyKey),
    ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'],
  )
  for (const { labelSelector, matchLabelKeys } of topologySpreadConstraints) {
    t.ok(selects(podOf().labels, labelSelector?.matchLabels ?? {}))
    t.same(matchLabelKeys, ['pod-template-hash'])
  }
  const own = { maxSkew: 2, topologyKey: 'rack', whenUnsatisfiable: 'DoNotSchedule', labelSelector: {} }
  t.same(podOf({ topologySpreadConstraints: [own] }).spec.topologySpreadConstraints, [own])
})

t.test('the image: by its tag, or by its digest, which wins', async (t) => {
  const image = (given: object) => containerOf(podOf({ image: { repository: 'registry.example/llm', ...given } })).image
  t.equal(image({}), 'registry.example/llm:0.1.0', 'by default the version of the chart’s app')
  t.equal(image({ tag: '1.2.3' }), 'registry.example/llm:1.2.3')
  t.equal(image({ tag: '1.2.3', digest: `sha256:${'0'.repeat(64)}` }), `registry.example/llm@sha256:${'0'.repeat(64)}`)
})

t.test('extensions are mounted from files, from a ConfigMap, or from an image', async (t) => {
  const volume = (extensions: object, kubeVersion: string = kubeVersions[1]) =>
    gatewayPod(rendered({ set: { extensions }, kubeVersion })).spec.volumes?.find(({ name }) => name === 'extensions')
  const files = { 'extension.js': 'export const tools = []\n' }
  t.same(volume({ files }), { name: 'extensions', configMap: { name: 'signalbox-extensions' } })
  t.same(only(rendered({ set: { extensions: { files } } }), 'ConfigMap', 'signalbox-extensions').data, files)
  t.same(volume({ existingConfigMap: 'tools' }), { name: 'extensions', configMap: { name: 'tools' } })
  const image = { reference: 'registry.example/tools:1', pullPolicy: 'IfNotPresent' }
  t.same(volume({ image }), { name: 'extensions', image })
  t.throws(() => volume({ image }, kubeVersions[0]), /extensions\.image needs Kubernetes 1\.33/)
})

t.test('what is added to every object, and to the pods', async (t) => {
  const manifests = rendered({
    set: {
      commonLabels: { team: 'ml' },
      commonAnnotations: { owner: 'ml@example.com' },
      podLabels: { sidecar: 'no' },
      podAnnotations: { note: 'of the pod' },
    },
  })
  for (const { kind, metadata } of manifests) {
    t.match(metadata, { labels: { team: 'ml' }, annotations: { owner: 'ml@example.com' } }, kind)
  }
  const clashing = rendered({ set: { commonLabels: { 'app.kubernetes.io/component': 'ml' } } })
  const own = { labels: { 'app.kubernetes.io/component': 'metrics' } }
  t.match(only(clashing, 'Service', 'signalbox-metrics').metadata, own, 'a label of its own wins')
  const { labels, annotations } = gatewayPod(manifests)
  t.match(labels, { team: 'ml', sidecar: 'no' })
  t.match(annotations, { owner: 'ml@example.com', note: 'of the pod' })
})

t.test('what the chart adds itself is there once: YAML may not have a key twice', async (t) => {
  const container = 'kubectl.kubernetes.io/default-container'
  const component = 'app.kubernetes.io/component'
  const set = {
    commonLabels: { [component]: 'llm' },
    commonAnnotations: { 'helm.sh/hook': 'pre-install' },
    podAnnotations: { [container]: 'proxy', 'checksum/config': 'none' },
  }
  // Parsing refuses a key that is there twice.
  const manifests = rendered({ set })
  const { annotations } = gatewayPod(manifests)
  t.equal(annotations[container], 'proxy')
  t.not(annotations['checksum/config'], 'none')
  t.equal(gatewayPod(rendered()).annotations[container], 'signalbox')
  for (const { metadata } of manifests.filter(({ kind }) => kind === 'Pod')) {
    t.equal(metadata.labels?.[component], 'test', 'by which the network policy knows it')
    t.equal(metadata.annotations?.['helm.sh/hook'], 'test')
  }
})

t.test('what a pod has beside that', async (t) => {
  const given = {
    priorityClassName: 'high',
    affinity: { nodeAffinity: {} },
    nodeSelector: { pool: 'llm' },
    tolerations: [{ key: 'llm', operator: 'Exists' }],
    initContainers: [{ name: 'first', image: 'a' }],
  }
  const extra = {
    extraContainers: [{ name: 'beside', image: 'b' }],
    extraVolumes: [{ name: 'data', emptyDir: {} }],
    extraVolumeMounts: [{ name: 'data', mountPath: '/data' }],
    image: { pullSecrets: [{ name: 'registry' }], pullPolicy: 'Never' },
    resources: { requests: { cpu: '2' } },
  }
  const pod = podOf({ ...given, ...extra })
  t.match(pod.spec, { ...given, imagePullSecrets: [{ name: 'registry' }] })
  t.ok(containerOf(pod, 'beside'))
  t.match(containerOf(pod), { imagePullPolicy: 'Never', resources: { requests: { cpu: '2' } } })
  t.equal(pod.annotations['kubectl.kubernetes.io/default-container'], containerOf(pod).name)
  t.match(pod.spec.volumes?.at(-1), extra.extraVolumes[0])
  t.match(containerOf(pod).volumeMounts?.at(-1), extra.extraVolumeMounts[0])
})

t.test('a name that is too long is cut, and still tells one object from another', async (t) => {
  const manifests = rendered({ set: { config: keyed, fullnameOverride: 'x'.repeat(63) } })
  const services = manifests.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name)
  t.equal(new Set(services).size, 3)
  t.ok(manifests.every(({ metadata }) => metadata.name.length <= 63))
})

t.test('a name of a release is no name of a Service where it has dots, or begins with a digit', async (t) => {
  const set = { redis: { enabled: true } }
  const manifests = rendered({ name: 'eu.west', set })
  const services = manifests.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name)
  t.same(services.sort(), ['eu-west-redis', 'eu-west-signalbox', 'eu-west-signalbox-metrics'])
  t.match(only(manifests, 'ConfigMap').data, { 'signalbox.yaml': /redis:\/\/eu-west-redis:6379/ })

  t.throws(() => rendered({ name: '1st' }), /fullnameOverride: .*1st-signalbox does not/)
  t.doesNotThrow(() => rendered({ name: '1st', set: { fullnameOverride: 'first' } }))
  t.throws(
    () => rendered({ name: '1st', set: { ...set, fullnameOverride: 'first' } }),
    /redis\.enabled: .*1st does not/,
  )
})
