/** The configuration of a running process is changed as an operator, an editor or the kubelet changes it. */
import { createHash } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { Mounted, replaceFile } from '../mounted.ts'
import { messagesOf, type Program, runGateway } from '../process.ts'
import { until } from '../redis-server.ts'
import { type Sample, scraped, sumOf } from '../scrape.ts'
import { completion, gated, type Json, startUpstream, type Upstream } from '../upstream.ts'

async function startProvider(t: Test): Promise<Upstream> {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  return upstream
}

const [upstream, second] = await Promise.all([startProvider(t), startProvider(t)])
t.beforeEach(() => {
  upstream.reset()
  second.reset()
})

const providers = { openai: { apiKey: 'k', baseURL: upstream.baseURL } }
const models = { fast: { targets: [{ model: 'openai/small' }] } }
const usual = { providers, models }
const hello = { messages: [{ role: 'user' as const, content: 'hello' }] }

interface Live {
  process: Program
  url: string
  directory: string
  /** Of `signalbox.yaml`. */
  file: string
  write(config: Json): Promise<void>
  client(apiKey?: string): OpenAI
  /** The status that a chat with this key is answered with. */
  status(apiKey?: string, model?: string): Promise<number>
  metrics(): Promise<Sample[]>
  metric(name: string, labels?: Record<string, string>): Promise<number | undefined>
  revision(): Promise<string | undefined>
  /** Resolves when this many reloads ended so. */
  reloads(outcome: 'applied' | 'unchanged' | 'failed', count?: number): Promise<void>
}

/** A process whose configuration is a file, and other files beside it. */
async function start(t: Test, config: Json, files: Record<string, string> = {}): Promise<Live> {
  const directory = t.testdir({ 'signalbox.yaml': stringify(config), ...files })
  return startIn(t, directory)
}

async function startIn(t: Test, directory: string): Promise<Live> {
  const file = join(directory, 'signalbox.yaml')
  const gateway = await runGateway(t, { args: ['--config', file], lifeMs: 60_000 })
  const { url, baseURL } = gateway
  const client = (apiKey = 'any'): OpenAI => new OpenAI({ baseURL, apiKey, maxRetries: 0 })
  const metrics = () => scraped(url)
  return {
    process: gateway.process,
    url,
    directory,
    file,
    client,
    metrics,
    write: (config) => replaceFile(file, stringify(config)),
    status: (apiKey, model = 'fast') =>
      client(apiKey)
        .chat.completions.create({ model, ...hello })
        .then(
          () => 200,
          (error: unknown) => (error instanceof OpenAI.APIError ? Number(error.status) : 0),
        ),
    metric: async (name, labels) => sumOf(await metrics(), name, labels),
    revision: async () => (await metrics()).find(({ name }) => name === 'signalbox_config_revision')?.labels.revision,
    reloads: (outcome, count = 1) =>
      until(
        async () => sumOf(await metrics(), 'signalbox_config_reloads_total', { outcome }) === count,
        `${count} reloads were ${outcome}`,
      ),
  }
}

t.test('a new file is in force soon, and what it was made of is told by name', async (t) => {
  const live = await start(t, usual)
  const revision = await live.revision()
  t.match(revision, /^[\da-f]{12}$/)
  t.equal(await live.metric('signalbox_config_last_reload_successful'), 1, 'as it has started')
  t.equal(await live.status(), 200)
  t.equal(await live.status('any', 'new'), 404)

  await live.write({
    ...usual,
    models: { new: { targets: [{ model: 'openai/large' }] } },
    server: { logLevel: 'warn' },
  })
  await live.reloads('applied')
  t.equal(await live.status('any', 'new'), 200)
  t.match(upstream.last().body, { model: 'large' })
  t.equal(await live.status(), 404, 'what is no longer in it is gone')
  const now = await live.revision()
  t.not(now, revision)
  t.equal((await live.metrics()).filter(({ name }) => name === 'signalbox_config_revision').length, 1)

  await live.write(usual)
  await live.reloads('applied', 2)
  t.equal(await live.revision(), revision, 'and the same is the same again')
  const reloaded = live.process.stdout.split('\n').filter((line) => line.includes('the configuration was reloaded'))
  t.match(JSON.parse(reloaded.at(-1) ?? ''), {
    level: 30,
    revision,
    changed: ['models.fast', 'models.new', 'server.logLevel'],
  })
})

t.test('SIGHUP reads it again', async (t) => {
  const live = await start(t, usual)
  live.process.kill('SIGHUP')
  await live.reloads('unchanged')
  t.ok(messagesOf(live.process.stdout).includes('the configuration was read again: it is as it was'))
  live.process.kill('SIGHUP')
  await live.reloads('unchanged', 2)
  t.equal(await live.status(), 200, 'and the process goes on')
})

t.test('a ConfigMap and a Secret, as the kubelet swaps them', async (t) => {
  const directory = t.testdir({ config: {}, keys: {} })
  const [config, keys] = [new Mounted(join(directory, 'config')), new Mounted(join(directory, 'keys'))]
  const auth = { keyFiles: [join(directory, 'keys')] }
  await keys.update({ alice: 'sk-alice-0001\n' })
  await config.update({ 'signalbox.yaml': stringify({ ...usual, auth }) })
  const live = await startIn(t, join(directory, 'config'))
  t.equal(await live.status('sk-alice-0001'), 200)

  await config.update({ 'signalbox.yaml': stringify({ ...usual, auth, models: { ...models, new: models.fast } }) })
  await live.reloads('applied')
  t.equal(await live.status('sk-alice-0001', 'new'), 200)

  t.comment('rotated with an overlap: both are good, then the new one alone')
  await keys.update({ alice: 'sk-alice-0001\nsk-alice-0002\n', bob: 'sk-bobby-0001' })
  await live.reloads('applied', 2)
  for (const key of ['sk-alice-0001', 'sk-alice-0002', 'sk-bobby-0001']) t.equal(await live.status(key), 200, key)
  await keys.update({ alice: 'sk-alice-0002\n' })
  await live.reloads('applied', 3)
  t.equal(await live.status('sk-alice-0001'), 401)
  t.equal(await live.status('sk-bobby-0001'), 401)
  t.equal(await live.status('sk-alice-0002'), 200)
})

t.test('a key that is revoked is refused within five seconds', async (t) => {
  const keys = [{ key: 'sk-alice-0001', user: 'alice' }, { key: 'sk-bobby-0001' }]
  const live = await start(t, { ...usual, auth: { keys } })
  t.equal(await live.status('sk-alice-0001'), 200)
  await live.write({ ...usual, auth: { keys: keys.slice(1) } })
  const revokedAt = Date.now()
  while ((await live.status('sk-alice-0001')) === 200 && Date.now() - revokedAt < 5000) await sleep(10)
  t.equal(await live.status('sk-alice-0001'), 401)
  t.ok(Date.now() - revokedAt < 5000)
  t.equal(await live.status('sk-bobby-0001'), 200, 'and no other')
})

t.test('a key is refused from the time on that it expires at, and nothing needs to be changed then', async (t) => {
  const expiresAt = new Date(Date.now() + 6000).toISOString()
  const sha256 = createHash('sha256').update('sk-old-000001').digest('hex')
  const keys = [
    { sha256, user: 'alice', expiresAt },
    { key: 'sk-new-000001', user: 'alice' },
    { key: 'sk-later-0001', user: 'alice', notBefore: '2999-01-01T00:00:00Z' },
  ]
  const live = await start(t, { ...usual, auth: { keys } })
  const before = await live.status('sk-old-000001')
  if (Date.now() < Date.parse(expiresAt)) t.equal(before, 200)
  t.equal(await live.status('sk-new-000001'), 200)
  t.equal(await live.status('sk-later-0001'), 401)
  await until(async () => (await live.status('sk-old-000001')) === 401, 'it has expired')
  t.ok(Date.now() >= Date.parse(expiresAt), 'not before its time')
  t.equal(await live.status('sk-new-000001'), 200)
})

t.test("a provider's key that is rotated in its file reaches the provider", async (t) => {
  const config = { ...usual, providers: { openai: { baseURL: upstream.baseURL, apiKeyFile: 'provider-key' } } }
  const live = await start(t, config, { 'provider-key': 'sk-first\n' })
  await live.status()
  t.equal(upstream.last().headers.authorization, 'Bearer sk-first')
  await replaceFile(join(live.directory, 'provider-key'), 'sk-second\n')
  await live.reloads('applied')
  await live.status()
  t.equal(upstream.last().headers.authorization, 'Bearer sk-second')
  t.notMatch(live.process.stdout, /sk-(first|second)/)
})

t.test('instructions of an agent are read again from their file', async (t) => {
  const config = { ...usual, agents: { helper: { model: 'fast', systemFile: 'helper.md' } } }
  const live = await start(t, config, { 'helper.md': 'Be brief.' })
  await writeFile(join(live.directory, 'helper.md'), 'Be kind.')
  await live.reloads('applied')
  t.equal(await live.status('any', 'helper'), 200)
  t.match(upstream.last().body, { messages: [{ role: 'system', content: 'Be kind.' }, ...hello.messages] })
})

t.test('a file that is not valid changes nothing, and everybody is told', async (t) => {
  const auth = { keys: [{ key: 'sk-alice-0001' }] }
  const live = await start(t, { ...usual, auth })
  const revision = await live.revision()
  const serves = async (): Promise<void> => {
    t.equal(await live.status('sk-alice-0001'), 200)
    t.equal((await fetch(`${live.url}/ready`)).status, 200, 'it still wants traffic')
    t.equal(await live.revision(), revision)
  }

  await live.write({ ...usual, auth: { keys: [{ key: 'sk-bobby-0001', usr: 'bob' }] }, server: { prot: 1 } })
  await live.reloads('failed')
  t.equal(await live.metric('signalbox_config_last_reload_successful'), 0)
  await serves()
  const [line] = live.process.stdout.split('\n').filter((line) => line.includes('was not reloaded'))
  t.match(JSON.parse(line ?? ''), {
    level: 50,
    revision,
    problems: ['server.prot: unknown key; did you mean "port"?', 'auth.keys.0.usr: unknown key; did you mean "user"?'],
  })
  t.notMatch(live.process.stdout, /sk-/)

  t.comment('half written')
  await writeFile(live.file, 'providers:\n  openai: { apiKey: k, base')
  await live.reloads('failed', 2)
  await serves()

  t.comment('what only the parts can tell')
  await live.write({ ...usual, auth, agents: { a: { model: 'fast', tools: ['clock'] } }, extensions: './none.ts' })
  await live.reloads('failed', 3)
  t.match(live.process.stdout, /agents\.a\.tools: the extension has no \\"clock\\"/)
  await serves()

  t.comment('gone')
  await rm(live.file)
  await live.reloads('failed', 4)
  await serves()

  t.comment('and as it was')
  const before = (await live.metric('signalbox_config_last_reload_success_timestamp_seconds')) ?? 0
  await live.write({ ...usual, auth })
  await live.reloads('unchanged')
  t.equal(await live.metric('signalbox_config_last_reload_successful'), 1)
  t.ok(((await live.metric('signalbox_config_last_reload_success_timestamp_seconds')) ?? 0) > before)
  await serves()
})

t.test('what needs a restart is told, and waits for it; the rest is in force', async (t) => {
  const live = await start(t, usual)
  const changed = { ...usual, server: { bodyLimit: 2000, headerLimit: 9999 }, metrics: { users: { enabled: true } } }
  await live.write(changed)
  await live.reloads('applied')
  t.equal(await live.metric('signalbox_config_restart_required'), 2)
  t.match(live.process.stdout, /"needsRestart":\["metrics\.users\.enabled","server\.headerLimit"\]/)
  const content = 'x'.repeat(3000)
  const long = await fetch(`${live.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'fast', messages: [{ role: 'user', content }] }),
  })
  t.equal(long.status, 413)
  t.equal(await live.status(), 200)

  t.comment('keys for a gateway that had none, too: it says so rather than to pretend')
  await live.write({ ...usual, auth: { keys: [{ key: 'sk-alice-0001' }] } })
  await live.reloads('applied', 2)
  t.equal(await live.metric('signalbox_config_restart_required'), 1)
  t.match(live.process.stdout, /"needsRestart":\["auth"\]/)
})

t.test('what is under way ends as it began', async (t) => {
  const live = await start(t, usual)
  const gate = gated([' one', ' two', ' three'])
  upstream.next(gate.behaviour)
  const stream = await live.client().chat.completions.create({ model: 'fast', stream: true, ...hello })
  gate.release(2)
  await until(() => gate.sent === 2, 'the stream has begun')

  await live.write({ ...usual, providers: { openai: { apiKey: 'other', baseURL: second.baseURL } } })
  await live.reloads('applied')
  t.equal(await live.status(), 200)
  t.equal(second.requests.length, 1, 'new requests go to the new provider')
  t.equal(second.last().headers.authorization, 'Bearer other')
  t.equal(upstream.openConnections(), 1, 'the old one has the stream')

  gate.release(100)
  let text = ''
  let finish: string | null | undefined
  for await (const { choices } of stream) {
    text += choices[0]?.delta.content ?? ''
    finish = choices[0]?.finish_reason ?? finish
  }
  t.equal(text, ' one two three')
  t.equal(finish, 'stop')
  await until(() => upstream.openConnections() === 0, 'and then its connections are closed')
})

t.test('under traffic, with open streams, no request fails while the file is swapped twenty times', async (t) => {
  const versions = [upstream, second].map(({ baseURL }, n) => ({
    providers: { openai: { apiKey: `k${n}`, baseURL } },
    models: { ...models, [`extra-${n}`]: models.fast },
    agents: { helper: { model: 'fast', system: `version ${n}` } },
    auth: { keys: [{ key: 'sk-alice-0001' }, { key: `sk-extra-000${n}` }] },
  }))
  const live = await start(t, versions[0] ?? {})
  const tokens = Array.from({ length: 20 }, (_, n) => ` word${n}`)
  for (const provider of [upstream, second]) provider.behave(completion({ tokens, delayMs: 15 }))

  const client = live.client('sk-alice-0001')
  const failures: unknown[] = []
  let answered = 0
  let isOver = false
  const sends = async (send: () => Promise<string>): Promise<void> => {
    while (!isOver) {
      try {
        const text = await send()
        if (text !== tokens.join('')) failures.push(text)
        answered += 1
      } catch (error) {
        failures.push(error)
      }
    }
  }
  const whole = (model: string) => async (): Promise<string> =>
    (await client.chat.completions.create({ model, ...hello })).choices[0]?.message.content ?? ''
  const streamed = (model: string) => async (): Promise<string> => {
    let text = ''
    const stream = await client.chat.completions.create({ model, stream: true, ...hello })
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    return text
  }
  const traffic = ['fast', 'helper'].flatMap((model) => [
    ...[1, 2, 3].map(() => sends(streamed(model))),
    sends(whole(model)),
  ])
  for (let n = 1; n <= 20; n++) {
    await live.write(versions[n % 2] ?? {})
    await live.reloads('applied', n)
  }
  isOver = true
  await Promise.all(traffic)
  t.strictSame(failures, [])
  t.ok(answered >= 40, `${answered} were answered`)
  t.ok(upstream.requests.length > 0 && second.requests.length > 0, 'by the one and the other')
  for (const [provider, key, system] of [
    [upstream, 'Bearer k0', 'version 0'],
    [second, 'Bearer k1', 'version 1'],
  ] as const) {
    for (const { headers, body } of provider.requests) {
      const [first] = (body as { messages: { role: string; content: string }[] }).messages
      if (headers.authorization !== key) t.fail('a key of the other configuration')
      if (first?.role === 'system' && first.content !== system) t.fail('instructions of the other configuration')
    }
  }
})
