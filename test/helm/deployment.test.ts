import t from 'tap'
import { containerOf, gatewayPod, podsIn, portsOf, selects } from './pods.ts'
import { environments, kubeVersions, type Manifest, only, type RenderOptions, rendered, valuesFor } from './rendered.ts'

interface ServiceSpec {
  selector: Record<string, string>
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

  t.test(`${environment}: selectors find the pods that they are for, and no others`, async (t) => {
    const gateway = gatewayPod(manifests)
    t.ok(selects(gateway.labels, deploymentIn(manifests).selector.matchLabels))
    for (const { metadata, spec } of manifests.filter(({ kind }) => kind === 'Service')) {
      const { selector, ports } = spec as ServiceSpec
      const found = pods.filter(({ labels }) => selects(labels, selector))
      t.equal(found.length, 1, `the Service ${metadata.name} has the pods of one object`)
      for (const { targetPort } of ports) {
        const names = found.flatMap((pod) => pod.spec.containers.flatMap((each) => Object.keys(portsOf(each))))
        t.ok(names.includes(targetPort), `${metadata.name}: ${targetPort} is a port of the container`)
      }
    }
    for (const { spec } of manifests.filter(({ kind }) => kind === 'PodDisruptionBudget')) {
      const { selector, unhealthyPodEvictionPolicy } = spec as DeploymentSpec & { unhealthyPodEvictionPolicy: string }
      t.same(
        pods.filter(({ labels }) => selects(labels, selector.matchLabels)).map(({ kind }) => kind),
        ['Deployment'],
      )
      t.equal(unhealthyPodEvictionPolicy, 'AlwaysAllow')
    }
  })

  t.test(`${environment}: every pod is what the Pod Security Standard "restricted" asks for, and more`, async (t) => {
    for (const { name, spec } of pods) {
      t.match(spec.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } }, name)
      t.ok(Number(spec.securityContext?.runAsUser) > 0, 'a numeric user, which the kubelet can check')
      t.equal(spec.automountServiceAccountToken, false)
      t.equal(spec.enableServiceLinks, false)
      for (const { securityContext, resources, image } of spec.containers) {
        t.same(securityContext, {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        t.ok(resources?.requests?.cpu && resources.requests.memory && resources.limits?.memory)
        t.notOk(resources?.limits?.cpu, 'a limit of CPU only slows down')
        t.match(image, /^[\w.-]+\.\w+\/.+(:|@sha256:)/, 'with its registry, and pinned')
      }
    }
  })

  t.test(`${environment}: what a pod mounts is there`, async (t) => {
    const { spec } = gatewayPod(manifests)
    const volumes = (spec.volumes ?? []).map(({ name }) => name)
    const mounts = containerOf(gatewayPod(manifests)).volumeMounts ?? []
    t.same(mounts.map(({ name }) => name).toSorted(), volumes.toSorted())
    for (const { mountPath, readOnly, subPath } of mounts) {
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
  const rolling = { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: 0 } }
  t.same(deploymentIn(rendered()).strategy, rolling)
  t.same(deploymentIn(rendered({ set: { strategy: { type: 'Recreate' } } })).strategy, { type: 'Recreate' })
})

t.test('the budget of disruptions: where there is more than one pod', async (t) => {
  const budgets = (set: RenderOptions['set']): number =>
    rendered({ set }).filter(({ kind }) => kind === 'PodDisruptionBudget').length
  t.equal(budgets({}), 1)
  t.equal(budgets({ replicaCount: 1 }), 0)
  t.equal(budgets({ replicaCount: 1, autoscaling: { enabled: true, minReplicas: 2 } }), 1)
  t.equal(budgets({ podDisruptionBudget: { enabled: false } }), 0)
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
  const manifests = rendered({ set: { config: keyed, service: { type: 'LoadBalancer', port: 8080 } } })
  const { spec } = only(manifests, 'Service', 'signalbox')
  t.match(spec, { type: 'LoadBalancer', ports: [{ name: 'http', port: 8080, targetPort: 'http' }] })
  t.equal((spec as ServiceSpec).ports.length, 1)
  for (const name of ['signalbox-admin', 'signalbox-metrics']) {
    t.notMatch(only(manifests, 'Service', name).spec, { type: 'LoadBalancer' })
  }
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
  for (const set of [{ config: { tracing: { enabled: true } } }, { extraEnv: [endpoint] }]) {
    t.match(named({ environment: 'prod', ...set }), {
      K8S_POD_NAME: { valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      OTEL_SERVICE_NAME: { value: 'signalbox' },
      OTEL_RESOURCE_ATTRIBUTES: { value: /k8s\.pod\.name=\$\(K8S_POD_NAME\),.*deployment\.environment\.name=prod$/ },
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
    image: { pullSecrets: [{ name: 'registry' }] },
  }
  const pod = podOf({ ...given, ...extra })
  t.match(pod.spec, { ...given, imagePullSecrets: [{ name: 'registry' }] })
  t.ok(containerOf(pod, 'beside'))
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
