import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { stringify } from 'yaml'
import { Mounted, replaceFile } from '../mounted.ts'
import { until } from '../redis-server.ts'
import { start, startIn, startProvider, usualAt } from './start-live.ts'

const upstream = await startProvider(t)
const usual = usualAt(upstream)
const { models } = usual

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
  const expiresAt = new Date(Date.now() + 4000).toISOString()
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
