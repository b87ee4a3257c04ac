import t from 'tap'
import { type Manifest, only, rendered, template } from './rendered.ts'

interface ServiceSpec {
  type: string
  ports: { name: string; port: number; targetPort: number | string }[]
}

interface IngressSpec {
  ingressClassName?: string
  tls?: unknown
  rules: {
    host: string
    http: {
      paths: {
        path: string
        pathType: string
        backend: { service: { name: string; port: { name?: string; number?: number } } }
      }[]
    }
  }[]
}

interface RouteSpec {
  parentRefs: unknown
  hostnames?: string[]
  rules: {
    matches: unknown
    timeouts?: Record<string, string>
    backendRefs: { name: string; port: number }[]
  }[]
}

/** The container's port behind a port of a rendered Service; `of` tells the port by its name or number. */
function behind(manifests: Manifest[], name: string, of: string | number | undefined): number | string | undefined {
  const { ports } = only(manifests, 'Service', name).spec as ServiceSpec
  return ports.find((each) => each.name === of || each.port === of)?.targetPort
}

const host = 'llm.example.com'
const withIngress = (values: Record<string, unknown>): Manifest[] =>
  rendered({ name: 'front', set: { ingress: { enabled: true, ...values } } })
const ingressOf = (manifests: Manifest[]) => only(manifests, 'Ingress').spec as IngressSpec

t.test('an Ingress leads to the API and to nothing else', async (t) => {
  const manifests = withIngress({ hosts: [{ host }] })
  const { rules } = ingressOf(manifests)
  t.equal(rules.length, 1)
  t.equal(rules[0]?.host, host)
  const paths = rules.flatMap(({ http }) => http.paths)
  t.strictSame(
    paths.map(({ path, pathType }) => [path, pathType]),
    [['/v1', 'Prefix']],
    'neither /metrics nor /admin nor /ready',
  )
  for (const { backend } of paths) t.equal(behind(manifests, backend.service.name, backend.service.port.name), 'http')
})

t.test('it has the class, the hosts, the paths, the TLS and the annotations of the values', async (t) => {
  const tls = [{ secretName: 'llm-tls', hosts: [host] }]
  const annotations = { 'nginx.ingress.kubernetes.io/proxy-buffering': 'off' }
  const hosts = [
    { host, paths: [{ path: '/', pathType: 'Exact' }, { path: '/v1' }] },
    { host: '*.llm.example.com', paths: [{ path: '/v1' }] },
  ]
  const manifests = withIngress({ className: 'nginx', hosts, tls, annotations })
  const { ingressClassName, rules, ...spec } = ingressOf(manifests)
  t.equal(ingressClassName, 'nginx')
  t.strictSame(spec.tls, tls)
  t.strictSame(only(manifests, 'Ingress').metadata.annotations, annotations)
  t.strictSame(
    rules.map(({ host, http }) => [host, ...http.paths.map(({ path, pathType }) => `${path} ${pathType}`)]),
    [
      [host, '/ Exact', '/v1 Prefix'],
      ['*.llm.example.com', '/v1 Prefix'],
    ],
  )
})

t.test('an HTTPRoute leads to the API, and lets a stream take its time', async (t) => {
  const parentRefs = [{ name: 'public', namespace: 'gateways', sectionName: 'https' }]
  const annotations = { owner: 'ml' }
  const set = { httpRoute: { enabled: true, parentRefs, hostnames: [host], annotations }, service: { port: 8080 } }
  const manifests = rendered({ name: 'front', set })
  const { rules, ...spec } = only(manifests, 'HTTPRoute').spec as RouteSpec
  t.strictSame(spec, { parentRefs, hostnames: [host] })
  t.strictSame(only(manifests, 'HTTPRoute').metadata.annotations, annotations)
  t.equal(rules.length, 1)
  for (const { matches, timeouts, backendRefs } of rules) {
    t.strictSame(matches, [{ path: { type: 'PathPrefix', value: '/v1' } }])
    t.strictSame(timeouts, { request: '0s', backendRequest: '0s' })
    t.equal(backendRefs.length, 1)
    for (const { name, port } of backendRefs) t.equal(behind(manifests, name, port), 'http')
  }
})

t.test('an HTTPRoute without timeouts has the ones of its Gateway', async (t) => {
  const set = { httpRoute: { enabled: true, parentRefs: [{ name: 'public' }], timeouts: null } }
  const { rules } = only(rendered({ set }), 'HTTPRoute').spec as RouteSpec
  t.notHas(rules[0], 'timeouts')
})

t.test('what leads nowhere is refused', async (t) => {
  t.match(template({ set: { ingress: { enabled: true } } }).stderr, /- .*ingress\.hosts/)
  t.match(template({ set: { httpRoute: { enabled: true } } }).stderr, /- .*httpRoute\.parentRefs/)
})

t.test('there is neither, unless wanted', async (t) => {
  const kinds = rendered().map(({ kind }) => kind)
  t.notOk(kinds.includes('Ingress') || kinds.includes('HTTPRoute'))
})
