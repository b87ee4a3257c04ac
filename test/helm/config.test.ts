import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { containerOf, gatewayPod } from './pods.ts'
import { only, rendered } from './rendered.ts'

const textOf = (set: Record<string, unknown>): string =>
  (only(rendered({ set }), 'ConfigMap', 'signalbox').data as Record<string, string>)['signalbox.yaml'] ?? ''

/** What the gateway reads in the ConfigMap. */
const configOf = (set: Record<string, unknown>): Config => parseConfig(textOf(set), 'the ConfigMap', {})

t.test('the chart adds where to listen', async (t) => {
  t.match(configOf({}), { server: { host: '0.0.0.0', port: 4000 }, metrics: { port: 9464 } })
  t.equal(configOf({}).admin.port, undefined)
  const admin = { enabled: true, keys: [{ name: 'ops', sha256: 'a'.repeat(64) }] }
  const ports = { http: 8080, metrics: 9090, admin: 8081 }
  t.match(configOf({ ports, config: { admin } }), {
    server: { port: 8080 },
    metrics: { port: 9090 },
    admin: { port: 8081 },
  })
  t.equal(configOf({ config: { server: { host: '::' } } }).server.host, '::', 'where there is IPv6 alone')
  t.equal(configOf({ config: { metrics: { enabled: false } } }).metrics.port, undefined)
})

t.test('the chart adds the mounted keys of clients to those that there are', async (t) => {
  const secrets = { clientKeys: { existingSecret: 'keys' } }
  t.match(textOf({ secrets }), 'keyFiles:\n  - /etc/signalbox-keys\n')
  t.match(textOf({ secrets, config: { auth: { keyFiles: ['/mine'] } } }), '- /mine\n  - /etc/signalbox-keys\n')
})

t.test('the chart adds where the extension is', async (t) => {
  const extensions = { existingConfigMap: 'tools', module: 'main.ts' }
  const mounts = containerOf(gatewayPod(rendered({ set: { extensions } }))).volumeMounts ?? []
  t.equal(mounts.find(({ name }) => name === 'extensions')?.mountPath, '/etc/signalbox-extensions')
  t.match(textOf({ extensions }), 'extensions: /etc/signalbox-extensions/main.ts\n')
})

t.test('all else is as it was given', async (t) => {
  const config = {
    server: { bodyLimit: 20_971_520, cors: { origins: ['https://a.example'] } },
    limits: { requestsPerMinute: 100_000_000 },
    providers: {
      lab: { kind: 'openai-compatible', baseURL: 'http://lab:8000/v1', headers: { 'x-of': 'no', 'x-n': '1e3' } },
    },
    models: { fast: { targets: [{ model: 'lab/llama-3.1-8b', weight: 0.5 }], choose: 'latency' } },
    agents: { helper: { model: 'fast', system: 'Be kind.\n\n  And brief: "yes" or \'no\'. $${NOT_A_VARIABLE}\n' } },
  }
  const { server, limits, providers, models, agents } = configOf({ config })
  t.match(server, config.server)
  t.match(limits, config.limits)
  t.match(providers, config.providers)
  t.match(models, config.models)
  t.equal(agents.helper?.system, config.agents.helper.system.replace('$$', '$'))
})

t.test('null leaves out what another file of values has set', async (t) => {
  t.notMatch(textOf({ config: { store: { kind: null, url: null }, agents: null } }), /null/)
  t.equal(configOf({ config: { server: { host: null } } }).server.host, '0.0.0.0')
})
