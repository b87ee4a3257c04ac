import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { messagesOf } from '../process.ts'
import { hello, start, startProvider, usualAt } from './start-live.ts'

const upstream = await startProvider(t)
const usual = usualAt(upstream)

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
  t.notMatch(live.process.stdout, /sk-(alice|bobby)-/)

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
