/** Which connections the rendered NetworkPolicies let through: they are asked, not read. */
import t from 'tap'
import { type Connection, isAllowed, type Peer } from './connection.ts'
import { type Manifest, only, rendered } from './rendered.ts'

const namespace = 'llm'
const render = (set: Record<string, unknown> = {}): Manifest[] => rendered({ set, namespace })

interface PodTemplate {
  template: {
    metadata: { labels: Record<string, string> }
    spec: { containers: { ports: { name: string; containerPort: number }[] }[] }
  }
}

/** A pod of the rendered Deployment or StatefulSet. */
function podOf(manifests: Manifest[], kind: string): Peer {
  const { template } = only(manifests, kind).spec as PodTemplate
  const ports = template.spec.containers.flatMap((container) => container.ports)
  return {
    ip: '10.1.0.10',
    namespace,
    labels: template.metadata.labels,
    ports: Object.fromEntries(ports.map(({ name, containerPort }) => [name, containerPort])),
  }
}
const gatewayOf = (manifests: Manifest[]): Peer => podOf(manifests, 'Deployment')
const pod = (namespace: string, labels: Record<string, string> = {}): Peer => ({ ip: '10.1.0.99', namespace, labels })
const outside = (ip: string): Peer => ({ ip })
const redis = (instance: string): Peer => ({
  ...pod(namespace, { 'app.kubernetes.io/name': 'redis', 'app.kubernetes.io/instance': instance }),
  ports: { redis: 6379 },
})

/** Whether the gateway may call, and be called, by what was rendered. */
const policyOf = (set: Record<string, unknown> = {}) => {
  const manifests = render(set)
  const gateway = gatewayOf(manifests)
  return {
    manifests,
    to: (to: Peer, port: number, protocol: Connection['protocol'] = 'TCP') =>
      isAllowed(manifests, { from: gateway, to, port, protocol }),
    from: (from: Peer, port: number) => isAllowed(manifests, { from, to: gateway, port }),
  }
}

const [http, metrics, adminPort] = [4000, 9464, 4001]
const admin = { enabled: true, keys: [{ name: 'ops', key: 'sk-operator-of-gateway' }] }
const provider = outside('104.18.7.192')
const nobody: Peer[] = [outside('203.0.113.5'), pod(namespace), pod('default'), pod('kube-system')]

t.test('without a value, all is denied but what a gateway needs', async (t) => {
  const { to, from } = policyOf()

  t.test('it resolves names, in kube-system or on a link of the node, and nowhere else', async (t) => {
    const dns = pod('kube-system', { 'k8s-app': 'kube-dns' })
    t.ok(to(dns, 53, 'UDP'))
    t.ok(to(dns, 53, 'TCP'))
    for (const cache of ['169.254.20.10', '169.254.25.10', '169.254.169.254'])
      t.ok(to(outside(cache), 53, 'UDP'), cache)
    t.notOk(to(dns, 5353, 'UDP'))
    t.notOk(to(pod('default'), 53, 'UDP'))
    t.notOk(to(outside('8.8.8.8'), 53, 'UDP'), 'what leaks by names leaks here')
  })

  t.test('it calls providers, on the internet, with TLS', async (t) => {
    t.ok(to(provider, 443))
    t.ok(to(outside('2606:4700::6812:7c0'), 443))
    t.notOk(to(provider, 80))
    t.notOk(to(provider, 443, 'UDP'))
  })

  t.test('it does not get at what is inside: metadata of the cloud, the API of Kubernetes, other pods', async (t) => {
    const inside = [
      'fd00:ec2::254',
      'fe80::1',
      'fc00::1',
      '169.254.169.254',
      '169.254.170.2',
      '10.96.0.1',
      '172.20.0.1',
      '192.168.1.1',
      '100.64.0.1',
    ]
    for (const ip of inside) for (const port of [80, 443, 6443]) t.notOk(to(outside(ip), port), `${ip}:${port}`)
    for (const peer of [pod(namespace), pod('default'), redis('signalbox')]) {
      for (const port of [443, 6379, 4317]) t.notOk(to(peer, port))
    }
  })

  t.test('everybody may call the API, nobody the admin API', async (t) => {
    for (const peer of nobody) {
      t.ok(from(peer, http))
      t.notOk(from(peer, adminPort))
      t.notOk(from(peer, 22))
    }
  })

  t.test('metrics are for pods, not for what is outside', async (t) => {
    t.ok(from(pod('monitoring'), metrics))
    t.notOk(from(outside('203.0.113.5'), metrics))
  })
})

t.test('clients, Prometheus and admins are those that are named', async (t) => {
  const inNamespace = (name: string) => ({
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
  })
  const { from, manifests } = policyOf({
    config: { admin },
    networkPolicy: {
      clients: [inNamespace('ingress-nginx'), { podSelector: { matchLabels: { app: 'chat' } } }],
      prometheus: [inNamespace('monitoring')],
      admin: [inNamespace('operations')],
    },
  })
  t.ok(from(pod('ingress-nginx'), http))
  t.ok(from(pod(namespace, { app: 'chat' }), http))
  t.notOk(from(pod(namespace, { app: 'other' }), http))
  t.notOk(from(pod('default', { app: 'chat' }), http), 'a selector of pods is about this namespace')
  t.notOk(from(outside('203.0.113.5'), http))
  const ofHelmTest = only(manifests, 'Pod', 'signalbox-test-health')
  t.ok(from({ ...pod(namespace), labels: ofHelmTest.metadata.labels ?? {} }, http), 'and those of `helm test`')

  t.ok(from(pod('monitoring'), metrics))
  t.notOk(from(pod('monitoring'), http))
  t.notOk(from(pod('default'), metrics))

  t.ok(from(pod('operations'), adminPort))
  t.notOk(from(pod('operations'), metrics))
  t.notOk(from(pod('default'), adminPort))
})

t.test('an empty list is nobody', async (t) => {
  const { to, from } = policyOf({
    config: { admin },
    networkPolicy: { prometheus: [], admin: [], dns: { to: [] }, providers: { to: [] }, redis: { to: [] } },
  })
  for (const peer of nobody) {
    t.notOk(from(peer, metrics))
    t.notOk(from(peer, adminPort))
    for (const port of [53, 443, 6379]) t.notOk(to(peer, port))
  }
})

t.test('what is off has no open port', async (t) => {
  const peers = [{ namespaceSelector: {} }]
  const { to, from } = policyOf({
    config: { metrics: { enabled: false }, tracing: { enabled: false } },
    networkPolicy: { admin: peers, prometheus: peers, collector: { to: peers } },
  })
  t.notOk(from(pod('monitoring'), metrics))
  t.notOk(from(pod('monitoring'), adminPort), 'the admin API is off, unless it is configured')
  t.notOk(to(pod('monitoring'), 4318))
})

t.test('Redis: the one of the release, or the one that is named', async (t) => {
  const own = policyOf({ redis: { enabled: true } })
  t.ok(own.to(redis('signalbox'), 6379))
  t.notOk(own.to(redis('other'), 6379))
  t.notOk(own.to(redis('signalbox'), 22))

  const manifests = render({ redis: { enabled: true } })
  const real = podOf(manifests, 'StatefulSet')
  t.ok(isAllowed(manifests, { from: gatewayOf(manifests), to: real, port: 6379 }), 'at both ends')

  const named = policyOf({
    networkPolicy: { redis: { to: [{ ipBlock: { cidr: '10.20.0.0/24' } }], ports: [6379, 26_379] } },
  })
  t.ok(named.to(outside('10.20.0.7'), 6379))
  t.ok(named.to(outside('10.20.0.7'), 26_379))
  t.notOk(named.to(outside('10.20.0.7'), 443))
  t.notOk(named.to(outside('10.21.0.7'), 6379))
})

t.test('the collector of traces', async (t) => {
  const peers = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'otel' } } }]
  const { to } = policyOf({ config: { tracing: { enabled: true } }, networkPolicy: { collector: { to: peers } } })
  t.ok(to(pod('otel'), 4317))
  t.ok(to(pod('otel'), 4318))
  t.notOk(to(pod('otel'), 8888))
  t.notOk(to(pod('default'), 4318))
})

t.test('providers elsewhere, and more rules', async (t) => {
  const { to, from } = policyOf({
    networkPolicy: {
      providers: { to: [{ ipBlock: { cidr: '104.18.0.0/16' } }], ports: [443, 8443] },
      extraEgress: [{ to: [{ podSelector: { matchLabels: { app: 'vllm' } } }], ports: [{ port: 8000 }] }],
      extraIngress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: 8080, endPort: 8090 }] }],
    },
  })
  t.ok(to(provider, 8443))
  t.notOk(to(outside('1.1.1.1'), 443))
  t.ok(to(pod(namespace, { app: 'vllm' }), 8000))
  t.notOk(to(pod(namespace, { app: 'vllm' }), 8001))
  t.ok(from(pod('default'), 8085))
  t.notOk(from(pod('default'), 8091))
})

t.test('Redis lets in gateways of its release, and nobody else', async (t) => {
  const manifests = render({ redis: { enabled: true } })
  const to = podOf(manifests, 'StatefulSet')
  for (const from of [...nobody, pod(namespace, { 'app.kubernetes.io/instance': 'signalbox' })]) {
    t.notOk(isAllowed(manifests, { from, to, port: 6379 }))
  }
})

t.test('other ports of the container are those of the policy', async (t) => {
  const { from } = policyOf({ ports: { http: 8080, metrics: 9090, admin: 8081 } })
  t.ok(from(pod('default'), 8080))
  t.notOk(from(pod('default'), http))
  t.ok(from(pod('monitoring'), 9090))
})

t.test('it can be left out', async (t) => {
  const manifests = render({ networkPolicy: { enabled: false } })
  t.strictSame(
    manifests.filter(({ kind }) => kind === 'NetworkPolicy'),
    [],
  )
  t.ok(isAllowed(manifests, { from: gatewayOf(manifests), to: outside('169.254.169.254'), port: 80 }), 'all is open')
})
