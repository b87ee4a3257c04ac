import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { messagesOf } from '../process.ts'
import { startRedis } from '../redis.ts'
import { freePort, RedisServer } from '../redis-server.ts'
import { scraped, sumOf } from '../scrape.ts'
import { startUpstream } from '../upstream.ts'
import { type Booted, boot } from './booted.ts'
import { containerOf } from './pods.ts'
import { redisLines } from './redis-lines.ts'
import { type RenderOptions, rendered, valuesFor } from './rendered.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

const freePorts = async () => ({ http: await freePort(), metrics: await freePort(), admin: await freePort() })

/** The provider of an environment, here. */
const provider = { openai: { baseURL: upstream.baseURL } }

const secrets = {
  'signalbox-env': { OPENAI_API_KEY: 'sk-provider', REDIS_URL: '', REDIS_PASSWORD: 'of-redis' },
  'signalbox-client-keys': { alice: 'sk-alice-0001\n', bob: 'sk-bobby-0001\n' },
  'signalbox-helm-test': { key: 'sk-bobby-0001' },
  'signalbox-redis': { password: 'of-redis' },
}

const client = ({ urls }: Booted, apiKey = 'any'): OpenAI =>
  new OpenAI({ baseURL: `${urls.http}/v1`, apiKey, maxRetries: 0 })

/** What holds wherever it runs: its probes, its metrics, and the pods of `helm test`. */
async function runs(t: Test, booted: Booted, tests: readonly string[]): Promise<void> {
  const { startupProbe, livenessProbe, readinessProbe } = containerOf(booted.pod)
  for (const [name, probe] of Object.entries({ startupProbe, livenessProbe, readinessProbe })) {
    const { path = '', port = '' } = probe?.httpGet ?? {}
    t.equal((await fetch(booted.urls[port] + path)).status, 200, `${name}: ${path} at the port ${port}`)
  }
  const samples = await scraped(booted.urls.metrics ?? '')
  t.equal(sumOf(samples, 'signalbox_build_info'), 1)
  t.not((await fetch(`${booted.urls.http}/metrics`)).status, 200, 'metrics are at their own port alone')
  for (const test of tests) {
    const { code, stderr } = await booted.test(`signalbox-test-${test}`)
    t.equal(code, 0, `helm test: ${test}${stderr}`)
  }
}

const chat = { messages: [{ role: 'user' as const, content: 'hello' }] }

t.test('dev: without a Secret, with the demo model', async (t) => {
  const manifests = rendered({ values: valuesFor('dev'), set: { ports: await freePorts() } })
  const booted = await boot(t, manifests)
  await runs(t, booted, ['health', 'models', 'completion'])
  const { choices } = await client(booted).chat.completions.create({ model: 'demo/echo', ...chat })
  t.match(choices[0]?.message.content, /hello/)

  booted.process.kill('SIGTERM')
  t.equal((await booted.process.exited).code, 0, 'it ends by itself, before its grace is over')
})

t.test('staging: with the Redis of the chart, started as its container is', async (t) => {
  const manifests = rendered({
    values: valuesFor('staging'),
    set: {
      ports: await freePorts(),
      config: { providers: provider, store: { required: true } },
      redis: { auth: { existingSecret: 'signalbox-redis' } },
      tests: { model: 'openai/m', clientKey: { existingSecret: 'signalbox-helm-test', key: 'key' } },
    },
  })
  const redis = await RedisServer.start(t, () => redisLines(manifests, secrets))
  const elsewhere = { 'redis://signalbox-redis:6379': redis.url }
  const booted = await boot(t, manifests, { secrets, elsewhere })
  await runs(t, booted, ['health', 'models', 'completion'])
})

t.test('prod: with a Redis elsewhere, and its Secrets', async (t) => {
  const redis = await startRedis(t, { config: ['requirepass of-redis'] })
  const manifests = rendered({
    values: valuesFor('prod'),
    set: { ports: await freePorts(), config: { providers: provider, store: { required: true } } },
  })
  const env = { ...secrets['signalbox-env'], REDIS_URL: redis.url }
  const booted = await boot(t, manifests, { secrets: { ...secrets, 'signalbox-env': env } })
  await runs(t, booted, ['health', 'models', 'completion'])

  const { choices } = await client(booted, 'sk-alice-0001').chat.completions.create({ model: 'fast', ...chat })
  t.ok(choices[0]?.message.content)
  t.equal(upstream.last().headers.authorization, 'Bearer sk-provider')
  await t.rejects(Promise.resolve(client(booted, 'sk-nobody-001').models.list()), /401/)
})

t.test('without a key of their own, the pods of helm test see that keys are asked for', async (t) => {
  const manifests = rendered({
    values: valuesFor('dev'),
    set: { ports: await freePorts(), secrets: { clientKeys: { existingSecret: 'signalbox-client-keys' } } },
  })
  t.notOk(manifests.some(({ metadata }) => metadata.name === 'signalbox-test-completion'))
  await runs(t, await boot(t, manifests, { secrets }), ['health', 'models'])
})

t.test('an extension of the values', async (t) => {
  const source = `export const auth = { async verify() { return { userId: 'everybody' } } }`
  const options: RenderOptions = {
    values: valuesFor('dev'),
    set: { ports: await freePorts(), extensions: { files: { 'extension.js': source }, auth: true } },
  }
  const booted = await boot(t, rendered(options))
  t.ok(await client(booted).models.list())
  t.notMatch(messagesOf(booted.process.stdout), [/No API keys/])
})

t.test('the admin API has a port of its own', async (t) => {
  const manifests = rendered({
    values: valuesFor('dev'),
    set: {
      ports: await freePorts(),
      config: { admin: { enabled: true, keys: [{ name: 'ops', key: `\${ADMIN_KEY}` }] } },
      secrets: { env: { existingSecret: 'admin' } },
    },
  })
  const { urls } = await boot(t, manifests, { secrets: { admin: { ADMIN_KEY: 'sk-admin-0123456789' } } })
  const headers = { authorization: 'Bearer sk-admin-0123456789' }
  t.equal((await fetch(`${urls.admin}/admin/v1/keys`, { headers })).status, 200)
  t.not((await fetch(`${urls.http}/admin/v1/keys`, { headers })).status, 200)
})

t.test("the configuration's host counts, and not the image's", async (t) => {
  const ports = await freePorts()
  const set = { ports, config: { server: { host: '127.0.0.2' } } }
  await boot(t, rendered({ values: valuesFor('dev'), set }))
  t.equal((await fetch(`http://127.0.0.2:${ports.http}/health`)).status, 200)
  await t.rejects(fetch(`http://127.0.0.1:${ports.http}/health`))
})
