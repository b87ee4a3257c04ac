import t from 'tap'
import { configValues, readByChart } from '../../helm/config-values.ts'
import { ChartValues } from '../../helm/values-schema.ts'
import { ConfigSchema } from '../../src/config/schema.ts'
import { isObject } from '../../src/json.ts'
import { environments, lint, template, valuesFor } from './rendered.ts'

/** What Helm refuses: where it is in the values, what is there, and what Helm says of it. */
const refused: [path: string, value: unknown, said: RegExp][] = [
  // Unknown keys, at any depth.
  ['enviroment', 'dev', /at '': additional properties 'enviroment' not allowed/],
  ['image.repo', 'x', /at '\/image': additional properties 'repo' not allowed/],
  ['networkPolicy.dns.port', [53], /at '\/networkPolicy\/dns': additional properties 'port' not allowed/],
  ['redis.persistance', {}, /at '\/redis': additional properties 'persistance' not allowed/],
  ['redis.persistence.sise', '1Gi', /at '\/redis\/persistence': additional properties 'sise' not allowed/],
  ['affinity.podAfinity', {}, /at '\/affinity': additional properties 'podAfinity' not allowed/],
  ['config.modles', {}, /at '\/config': additional properties 'modles' not allowed/],
  ['config.server.prot', 1, /at '\/config\/server': additional properties 'prot' not allowed/],
  ['config.providers.a.apikey', 'k', /at '\/config\/providers\/a': additional properties 'apikey' not allowed/],
  ['config.models.a.targets', [{ name: 'a/b' }], /at '\/config\/models\/a\/targets\/0': .*'name' not allowed/s],
  // Wrong types, and values that cannot be.
  ['replicaCount', 'two', /at '\/replicaCount': got string, want integer/],
  ['replicaCount', -1, /at '\/replicaCount': minimum: got -1, want 0/],
  ['production', 'true', /at '\/production': got string, want boolean/],
  ['image.tag', 1.1, /at '\/image\/tag': got number, want string/],
  ['image.digest', 'sha256:1', /at '\/image\/digest': 'sha256:1' does not match pattern/],
  ['image.pullPolicy', 'always', /at '\/image\/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'/],
  ['ports.http', 70_000, /at '\/ports\/http': maximum: got 70,?000, want 65,?535/],
  ['service.port', '80', /at '\/service\/port': got string, want integer/],
  ['autoscaling.targetOpenStreams', 0, /at '\/autoscaling\/targetOpenStreams'/],
  ['networkPolicy.dns.ports', [], /at '\/networkPolicy\/dns\/ports': minItems: got 0, want 1/],
  ['ingress.hosts', [{ host: 'https://llm.example.com' }], /at '\/ingress\/hosts\/0\/host': .* does not match pattern/],
  ['httpRoute.hostnames', ['llm.example.com:443'], /at '\/httpRoute\/hostnames\/0': .* does not match pattern/],
  [
    'probes.liveness.successThreshold',
    2,
    /at '\/probes\/liveness': additional properties 'successThreshold' not allowed/,
  ],
  ['extraEnv', { A: 'b' }, /at '\/extraEnv': got object, want array/],
  ['extraEnv', [{ name: 'A', value: 1 }], /at '\/extraEnv\/0\/value': got number, want string/],
  ['extraEnv', [{ value: '1' }], /at '\/extraEnv\/0': missing property 'name'/],
  ['commonLabels.team', 'a b', /at '\/commonLabels\/team': 'a b' does not match pattern/],
  ['podLabels.team', true, /at '\/podLabels\/team': got boolean, want string/],
  ['fullnameOverride', 'Signal_Box', /at '\/fullnameOverride': 'Signal_Box' does not match pattern/],
  ['extensions.files', { 'a/b.js': '' }, /at '\/extensions\/files': additional properties 'a\/b.js' not allowed/],
  ['redis.maxmemory', 256, /at '\/redis\/maxmemory': got number, want string/],
  ['config.server.bodyLimit', 'large', /at '\/config\/server\/bodyLimit': got string, want integer/],
  ['config.server.drainDelay', 5, /at '\/config\/server\/drainDelay': got number, want null or string/],
  ['config.server.drainDelay', '5 s', /at '\/config\/server\/drainDelay': '5 s' does not match pattern/],
  ['config.server.logLevel', 'loud', /at '\/config\/server\/logLevel': value must be one of 'fatal', .*'silent'/],
  ['config.models.a', {}, /at '\/config\/models\/a': missing property 'targets'/],
  ['config.metrics', 'off', /at '\/config\/metrics': got string, want null or object/],
  // What the chart sets.
  ['config.server.port', 4000, /at '\/config\/server\/port': value must be 'set by the chart: use ports.http'/],
  ['config.metrics.port', 9464, /at '\/config\/metrics\/port': value must be 'set by the chart: use ports.metrics'/],
  ['config.admin.port', 4001, /at '\/config\/admin\/port': value must be 'set by the chart: use ports.admin'/],
]

const nested = (path: string, value: unknown): Record<string, unknown> =>
  Object(path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value))

t.test('what is wrong is refused, and named', async (t) => {
  for (const [path, value, said] of refused) {
    const { status, stderr } = template({ set: nested(path, value) })
    t.not(status, 0, `${path}: ${JSON.stringify(value)}`)
    t.match(stderr, said)
  }
})

t.test('lint refuses it, too', async (t) => {
  for (const [path, value, said] of refused.filter((_each, index) => index % 8 === 0)) {
    const { status, stdout, stderr } = lint({ set: nested(path, value) })
    t.not(status, 0, `${path}: ${JSON.stringify(value)}`)
    t.match(stdout + stderr, said)
  }
})

t.test('all that is wrong is told at once', async (t) => {
  const { stderr } = template({ set: { replicas: 3, image: { tag: 1 }, config: { server: { prot: 1 } } } })
  t.match(stderr, "additional properties 'replicas' not allowed")
  t.match(stderr, "at '/image/tag'")
  t.match(stderr, "additional properties 'prot' not allowed")
})

t.test('variables of the environment stand for numbers, booleans and texts of the configuration', async (t) => {
  const variable = '${' + 'NAME}'
  const config = {
    server: {
      bodyLimit: variable,
      logLevel: variable,
      keepAlive: '${' + 'KEEP_ALIVE:-20s}',
      cors: { credentials: variable },
    },
    metrics: { users: { enabled: variable } },
    auth: { keys: [{ key: variable }, { sha256: variable }] },
    limits: { localShare: variable, usdPerDay: variable },
    providers: { a: { kind: 'openai-compatible', baseURL: `https://${variable}/v1`, apiKey: variable } },
    models: { fast: { targets: [{ model: `a/${variable}`, weight: variable }] } },
  }
  const { stderr, status, stdout } = template({ set: { config, secrets: { env: { existingSecret: 'keys' } } } })
  t.equal(status, 0, stderr)
  t.match(stdout, `bodyLimit: ${variable}`)
  t.not(template({ set: { config, replicaCount: variable } }).status, 0, 'and nothing of the chart itself')
  for (const path of readByChart) {
    const { stderr } = template({ set: nested(`config.${path}`, variable) })
    t.match(stderr, `at '/config/${path.replaceAll('.', '/')}'`, 'nor what the chart reads')
  }
  const escaped = template({ set: { config: { server: { bodyLimit: `$${variable}` } } } })
  t.match(escaped.stderr, "at '/config/server/bodyLimit': got string, want integer", 'which is no variable')
})

t.test('the chart as it is, and each environment, have nothing that lint would say', async (t) => {
  for (const values of [[], ...environments.map(valuesFor)]) {
    const { status, stdout, stderr } = lint({ values })
    t.equal(status, 0, stdout + stderr)
  }
})

t.test('null takes a default away, or what another file has set', async (t) => {
  const set = { autoscaling: { enabled: true, targetCPUUtilizationPercentage: null, targetOpenStreams: 100 } }
  t.equal(template({ set }).status, 0)
  t.equal(
    template({ set: { config: { server: { keepAlive: null }, models: { fast: null }, metrics: null } } }).status,
    0,
  )
  t.equal(template({ set: { resources: { limits: null }, podSecurityContext: { fsGroup: null } } }).status, 0)
})

t.test('nothing that is not known has a place, where the chart or the gateway owns the shape', async (t) => {
  const open = [...openObjects(ChartValues, ''), ...openObjects(configValues(ConfigSchema), 'config')]
  // Kubernetes' own, of which there is a list: the API server knows what is in them.
  t.strictSame(
    open.filter((path) => !path.endsWith('[]')),
    [],
  )
})

/** Where objects with keys of their own take others as well. */
function* openObjects(schema: unknown, path: string): Generator<string> {
  if (!isObject(schema)) return
  const { properties, patternProperties, items, anyOf } = schema
  if (isObject(properties) && Object.keys(properties).length > 0) {
    if (schema.additionalProperties !== false) yield path
    for (const [name, inner] of Object.entries(properties)) yield* openObjects(inner, path ? `${path}.${name}` : name)
  }
  if (isObject(patternProperties)) yield* openObjects(Object.values(patternProperties)[0], `${path}.<name>`)
  if (items !== undefined) yield* openObjects(items, `${path}[]`)
  for (const branch of Array.isArray(anyOf) ? anyOf : []) yield* openObjects(branch, path)
}
