import t from 'tap'
import { type RenderOptions, template, valuesFor } from './rendered.ts'

/** The lines of a refusal, each of which begins with what to set. */
function refusals(options: RenderOptions): string[] {
  const { status, stderr } = template(options)
  if (status === 0) return []
  const lines = stderr.split('\n').flatMap((line) => (line.startsWith('- ') ? [line.slice(2)] : []))
  if (lines.length === 0) throw new Error(stderr)
  return lines
}

const contradictions = (set: RenderOptions['set']): string[] => refusals({ set })

/** What production lacks when this is set over what it has. */
const missing = (set: RenderOptions['set']): string[] => refusals({ values: valuesFor('prod'), set })

const prometheusAddress = 'http://prometheus:9090'
const key = { name: 'ops', sha256: 'a'.repeat(64) }

t.test('nothing is missing of what the environments have', async (t) => {
  t.same(contradictions({}), [])
  t.same(missing({}), [])
})

t.test('production says all that is missing at once', async (t) => {
  const lines = contradictions({ production: true, replicaCount: 1, resources: { limits: { memory: null } } })
  t.match(lines, [
    /^environment/,
    /^keys of clients/,
    /^config\.providers/,
    /^config\.store\.kind redis/,
    /^image\.digest/,
    /^more than one replica/,
    /^resources/,
  ])
  t.equal(lines.length, 7)
})

t.test('what cannot work is told together with what is missing', async (t) => {
  const { stderr } = template({
    set: { production: true, keda: { enabled: true, prometheusAddress }, autoscaling: { enabled: true } },
  })
  t.match(stderr, /These values can't work:\n- autoscaling.*\nMissing, since production is true:\n- environment/)
})

t.test('production: keys of clients', async (t) => {
  const none = {
    secrets: { clientKeys: { existingSecret: '' } },
    tests: { model: '', clientKey: { existingSecret: '' } },
  }
  t.match(missing(none), [/^keys of clients/])
  t.same(missing({ ...none, config: { admin: { enabled: true, keys: [key] } } }), [], 'the admin API makes some')
  t.same(missing({ ...none, config: { auth: { keys: [{ sha256: 'b'.repeat(64) }] } } }), [])
  t.same(missing({ ...none, extensions: { files: { 'extension.js': '' }, auth: true } }), [])
  t.match(missing({ ...none, extensions: { files: { 'extension.js': '' } } }), [/extensions\.auth/])
})

t.test('production: a store that all replicas share and that survives a pod', async (t) => {
  const without = (set: object): string[] =>
    refusals({ values: valuesFor('prod').slice(1), set: { environment: 'prod', production: true, ...set } })
  t.match(without({}), [/^config\.store\.kind redis/])
  t.match(without({ config: { store: { kind: 'redis' } } }), [/^config\.store\.url/])
  t.match(without({ redis: { enabled: true } }), [/^a Redis that is highly available/])
})

t.test('production: an image that stays what it is', async (t) => {
  t.match(missing({ image: { digest: '' } }), [/^image\.digest/])
  t.match(missing({ image: { digest: '', tag: 'latest' } }), [/^image\.digest/])
  t.same(missing({ image: { digest: '', tag: '1.2.3' } }), [])
})

t.test('production: more than one pod at any time', async (t) => {
  t.match(missing({ autoscaling: { minReplicas: 1 } }), [/^more than one replica/])
  t.match(missing({ autoscaling: { enabled: false }, replicaCount: 1 }), [/^more than one replica/])
  t.match(missing({ podDisruptionBudget: { enabled: false } }), [/^podDisruptionBudget\.enabled/])
})

t.test('production: a way in that is encrypted, and ways out that the policy leaves open', async (t) => {
  t.match(missing({ ingress: { tls: [] } }), [/^ingress\.tls/])
  t.same(missing({ ingress: { enabled: false, tls: [] } }), [])
  t.match(missing({ networkPolicy: { redis: { to: [] } } }), [/^networkPolicy\.redis\.to/])
  t.same(missing({ networkPolicy: { enabled: false, redis: { to: [] } } }), [])
  t.match(missing({ config: { tracing: { enabled: true } } }), [/^networkPolicy\.collector\.to/])
})

t.test('production: no secret is written out, and none is quoted', async (t) => {
  const secret = 'hunter2-hunter2-hunter2'
  const { stderr } = template({
    values: valuesFor('prod'),
    set: {
      extraEnv: [
        { name: 'GROQ_API_KEY', value: secret },
        { name: 'OTEL_EXPORTER_OTLP_HEADERS', value: 'authorization=$(OTLP_TOKEN)' },
        { name: 'MISTRAL_API_KEY', valueFrom: { secretKeyRef: { name: 'a', key: 'b' } } },
        { name: 'MAX_TOKENS', value: '5' },
      ],
      config: {
        providers: { openai: { apiKey: secret, headers: { 'x-api-key': secret, 'x-team': 'ml' } } },
        auth: { keys: [{ key: secret }] },
        admin: { enabled: true, keys: [{ name: 'ops', key: secret }] },
        store: { url: `redis://user:${secret}@redis:6379`, password: secret, tls: { key: secret } },
      },
    },
  })
  for (const place of [
    'config.providers.openai.apiKey',
    'config.providers.openai.headers.x-api-key',
    'config.auth.keys[0].key',
    'config.admin.keys[0].key',
    'config.store.password',
    'config.store.tls.key',
    'config.store.url',
  ]) {
    t.match(stderr, `- ${place} by reference`)
  }
  t.match(stderr, '- extraEnv: GROQ_API_KEY by valueFrom')
  t.notMatch(stderr, /OTEL|MISTRAL|MAX_TOKENS/)
  t.notMatch(stderr, 'x-team')
  t.notMatch(stderr, secret)
})

t.test('what contradicts itself is refused in every environment', async (t) => {
  const file = { kind: 'file', directory: '/data' }
  const files = { 'extension.js': '' }
  const cases: [RenderOptions['set'], RegExp][] = [
    [
      { autoscaling: { enabled: true }, keda: { enabled: true, prometheusAddress } },
      /^autoscaling\.enabled and keda\.enabled/,
    ],
    [{ autoscaling: { enabled: true, minReplicas: 20 } }, /^autoscaling\.minReplicas \(20\)/],
    [{ serviceMonitor: { enabled: true }, podMonitor: { enabled: true } }, /^serviceMonitor\.enabled and podMonitor/],
    [{ serviceMonitor: { enabled: true }, config: { metrics: { enabled: false } } }, /nothing to scrape/],
    [{ ingress: { enabled: true } }, /^ingress\.hosts/],
    [{ httpRoute: { enabled: true } }, /^httpRoute\.parentRefs/],
    [
      { serviceMonitor: { enabled: true, interval: '5s' } },
      /^serviceMonitor\.scrapeTimeout \(10s\) is more than interval/,
    ],
    [{ podMonitor: { enabled: true, interval: '1m', scrapeTimeout: '90s' } }, /^podMonitor\.scrapeTimeout \(90s\)/],
    [{ keda: { enabled: true, prometheusAddress, minReplicas: 0 } }, /^keda\.minReplicas is 0/],
    [{ tests: { clientKey: { existingSecret: 'a' } } }, /^tests\.clientKey\.key/],
    [{ tests: { model: 'm' }, secrets: { clientKeys: { existingSecret: 'a' } } }, /^tests\.model: clients need a key/],
    [{ fullnameOverride: '1st' }, /^fullnameOverride: a Service's name begins with a letter, and 1st does not/],
    [{ nameOverride: 'redis', redis: { enabled: true } }, /^nameOverride or fullnameOverride/],
    [{ fullnameOverride: 'signalbox-redis', redis: { enabled: true } }, /^nameOverride or fullnameOverride/],
    [
      { commonLabels: { 'app.kubernetes.io/name': 'a' } },
      /^commonLabels: app\.kubernetes\.io\/name is the chart's own/,
    ],
    [{ podLabels: { 'app.kubernetes.io/part-of': 'a' } }, /^podLabels: app\.kubernetes\.io\/part-of/],
    [{ strategy: { rollingUpdate: { maxSurge: '0%' } } }, /^strategy\.rollingUpdate: /],
    [{ enabled: false }, /^enabled: is for the condition/],
    [{ ports: { http: 9464 } }, /^ports: http, metrics and admin must differ/],
    [{ config: { server: { host: '127.0.0.1' } } }, /^config\.server\.host/],
    [{ config: { admin: { enabled: true } } }, /^config\.admin\.keys/],
    [
      { redis: { enabled: true }, config: { store: { kind: 'redis', url: 'redis://a' } } },
      /^redis\.enabled and config/,
    ],
    [{ config: { store: file }, strategy: { type: 'Recreate' } }, /^config\.store\.kind is file.*replicaCount/],
    [{ config: { store: file }, replicaCount: 1 }, /^config\.store\.kind is file.*strategy\.type/],
    [{ externalSecrets: { enabled: true, env: { data: [] } } }, /^externalSecrets\.secretStoreRef\.name/],
    [{ externalSecrets: { enabled: true, secretStoreRef: { name: 'vault' } } }, /^externalSecrets\.env or/],
    [{ extensions: { files, existingConfigMap: 'a' } }, /^extensions: .* keep one/],
    [{ extensions: { files, module: 'tools.js' } }, /^extensions\.module is tools\.js/],
    [{ extensions: { files }, config: { extensions: './other.js' } }, /^config\.extensions/],
    [{ config: { providers: { openai: { apiKey: `\${OPENAI_API_KEY}` } } } }, /^OPENAI_API_KEY: config refers to it/],
  ]
  for (const [set, expected] of cases) t.match(contradictions(set), [expected], JSON.stringify(set))
})

t.test('what is like that, and works, is not refused', async (t) => {
  const monitor = { enabled: true, interval: '1m30s', scrapeTimeout: '1m' }
  t.same(contradictions({ serviceMonitor: monitor }), [])
  t.same(contradictions({ serviceMonitor: { ...monitor, interval: '1m', scrapeTimeout: '60s' } }), [])
  t.same(contradictions({ podMonitor: { interval: '5s' } }), [], 'it is off')
  const triggers = [{ type: 'cron', metadata: { start: '0 8 * * *' } }]
  t.same(contradictions({ keda: { enabled: true, prometheusAddress, minReplicas: 0, triggers } }), [])
  t.same(contradictions({ tests: { model: 'm' } }), [], 'nobody needs a key')
  t.same(contradictions({ nameOverride: 'redis' }), [], 'it has none beside it')
  t.same(contradictions({ enabled: true }), [])
})

t.test('a variable of the configuration may come from anywhere, or have a default', async (t) => {
  const config = { providers: { openai: { apiKey: `\${OPENAI_API_KEY}` } } }
  t.same(contradictions({ config, secrets: { env: { existingSecret: 'a' } } }), [])
  t.same(contradictions({ config, extraEnvFrom: [{ secretRef: { name: 'a' } }] }), [])
  t.same(contradictions({ config, extraEnv: [{ name: 'OPENAI_API_KEY', value: 'k' }] }), [])
  t.same(contradictions({ config: { providers: { openai: { apiKey: `\${OPENAI_API_KEY:-none}` } } } }), [])
  t.same(
    contradictions({ config: { agents: { a: { model: 'm', system: `say $\${THIS}` } } } }),
    [],
    'it is no variable',
  )
  t.same(contradictions({ redis: { enabled: true, auth: { existingSecret: 'a' } } }), [], 'of the chart’s Redis')
})

t.test('one process with a store of files is fine', async (t) => {
  const store = { kind: 'file', directory: '/data' }
  t.same(contradictions({ config: { store }, replicaCount: 1, strategy: { type: 'Recreate' } }), [])
})
