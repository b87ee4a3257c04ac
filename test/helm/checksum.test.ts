import t from 'tap'
import { freePort, until } from '../redis-server.ts'
import { scraped, sumOf } from '../scrape.ts'
import { boot } from './booted.ts'
import { gatewayPod } from './pods.ts'
import { type Manifest, rendered } from './rendered.ts'

const checksum = (manifests: readonly Manifest[], of = 'config'): string | undefined =>
  gatewayPod(manifests).annotations[`checksum/${of}`]

const key = (digit: string) => ({ sha256: digit.repeat(64) })
const ports = { http: await freePort(), metrics: await freePort(), admin: await freePort() }
const usual = {
  providers: { openai: { apiKey: 'k' } },
  models: { fast: { targets: [{ model: 'openai/small' }] } },
  auth: { keys: [key('a')] },
  admin: { enabled: true, keys: [{ name: 'ops', ...key('e') }] },
}
const render = (config: object): Manifest[] => rendered({ set: { ports, replicaCount: 1, config } })

/** Each is another one than the usual, in one respect. */
const changes: Record<string, object> = {
  'another model': { ...usual, models: { ...usual.models, slow: { targets: [{ model: 'openai/large' }] } } },
  'another provider': { ...usual, providers: { ...usual.providers, groq: { apiKey: 'k' } } },
  'an agent': { ...usual, agents: { helper: { model: 'fast' } } },
  'a price': { ...usual, catalog: { 'openai/small': { prices: { input: 1 } } } },
  'another key of a client': { ...usual, auth: { keys: [key('a'), key('b')] } },
  'the level of the log': { ...usual, server: { logLevel: 'debug' } },
  'the limit of a body': { ...usual, server: { bodyLimit: 20_971_520 } },
  'the depth of a body': { ...usual, server: { jsonDepth: 64 } },
  'a timeout of the server': { ...usual, server: { timeouts: { keepAlive: '60s' } } },
  'the drain': { ...usual, server: { drainTimeout: '30s' } },
  'a limit of the gateway': { ...usual, limits: { requestsPerMinute: 10 } },
  'an admin key': { ...usual, admin: { enabled: true, keys: [{ name: 'ops', ...key('f') }] } },
  'the store': { ...usual, store: { connectTimeout: '3s' } },
  'users in metrics': { ...usual, metrics: { users: { enabled: true } } },
  'how long conversations are kept': { ...usual, conversations: { ttl: '1d' } },
  'how long responses are kept': { ...usual, responses: { ttl: '1d' } },
  'no keys any more': { ...usual, auth: undefined },
}

t.test('pods are replaced for what the gateway says takes a restart, and for nothing else', async (t) => {
  const before = render(usual)
  const { urls, remount } = await boot(t, before)
  const metric = async (name: string, labels = {}) => sumOf(await scraped(urls.metrics ?? ''), name, labels)
  let count = 0
  /** Whether the gateway waits for a restart, when it has read what is mounted now. */
  const waitsWith = async (manifests: readonly Manifest[]): Promise<boolean> => {
    await remount(manifests)
    count++
    await until(async () => ((await metric('signalbox_config_reloads_total')) ?? 0) >= count, `reload ${count}`)
    return ((await metric('signalbox_config_restart_required')) ?? 0) > 0
  }
  for (const [name, config] of Object.entries(changes)) {
    const after = render(config)
    const waits = await waitsWith(after)
    t.equal(checksum(after) !== checksum(before), waits, `${name}: ${waits ? 'new pods' : 'the pods stay'}`)
    t.equal(await waitsWith(before), false)
  }
  t.equal(await metric('signalbox_config_reloads_total', { outcome: 'failed' }), 0, 'the gateway took them all')
})

t.test('another file of an extension takes new pods, too', async (t) => {
  const of = (text: string) =>
    checksum(rendered({ set: { extensions: { files: { 'extension.js': text } } } }), 'extensions')
  t.ok(of('a'))
  t.not(of('a'), of('b'))
  t.equal(checksum(rendered(), 'extensions'), undefined)
})

t.test('the same values make the same pods', async (t) => {
  t.same(gatewayPod(render(usual)), gatewayPod(render(usual)))
})
