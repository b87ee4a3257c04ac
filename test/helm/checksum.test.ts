import t from 'tap'
import { isObject } from '../../src/json.ts'
import { freePort, until } from '../redis-server.ts'
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
  const { process, remount } = await boot(t, before)
  /** What the log says of each reload. */
  const reloads = (): Record<string, unknown>[] =>
    process.stdout.split('\n').flatMap((line): Record<string, unknown>[] => {
      const entry: unknown = line.startsWith('{') && line.endsWith('}') ? JSON.parse(line) : undefined
      return isObject(entry) && /was reloaded|was read again|not reloaded|waits for/.test(String(entry.msg))
        ? [entry]
        : []
    })
  const read = (entries: readonly Record<string, unknown>[]) => entries.filter(({ needsRestart }) => !needsRestart)
  let count = 0
  const mountedAs = async (manifests: readonly Manifest[]) => {
    const so = reloads().length
    await remount(manifests)
    count++
    await until(() => read(reloads()).length >= count, 'a reload')
    return reloads().slice(so)
  }
  for (const [name, config] of Object.entries(changes)) {
    const after = render(config)
    const entries = await mountedAs(after)
    t.notOk(
      entries.some(({ problems }) => problems),
      `${name}: the gateway takes it`,
    )
    // It is said at once after the other, in one go.
    const waits = entries.some(({ needsRestart }) => needsRestart)
    t.equal(checksum(after) !== checksum(before), waits, `${name}: ${waits ? 'new pods' : 'the pods stay'}`)
    await mountedAs(before)
  }
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
