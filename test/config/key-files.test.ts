import { join } from 'node:path'
import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { keysIn } from '../../src/config/key-files.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ReadFiles } from '../../src/config/read-files.ts'

const keysOf = (path: string) => keysIn(path, 'keys', new ReadFiles())

t.test('one key a line, without what is empty or said about it', async (t) => {
  const path = join(t.testdir({ keys: '\ufeff# of search\nsk-search-0001\n\n  sk-search-0002 \r\n' }), 'keys')
  t.strictSame(await keysOf(path), { keys: [{ key: 'sk-search-0001' }, { key: 'sk-search-0002' }], problems: [] })
})

t.test('in YAML a list as auth.keys has', async (t) => {
  const keys = "- { key: sk-alice-0001, user: alice, expiresAt: '2027-01-31T00:00:00Z' }\n- { key: sk-bobby-0001 }"
  const path = join(t.testdir({ 'keys.yaml': keys }), 'keys.yaml')
  t.strictSame(await keysOf(path), {
    keys: [{ key: 'sk-alice-0001', user: 'alice', expiresAt: '2027-01-31T00:00:00Z' }, { key: 'sk-bobby-0001' }],
    problems: [],
  })
})

t.test('of a directory the keys in each file, which is named for their user', async (t) => {
  const path = t.testdir({ alice: 'sk-alice-0001\nsk-alice-0002', bob: 'sk-bobby-0001\n', '..data': 'sk-hidden-1' })
  t.strictSame(await keysOf(path), {
    keys: [
      { key: 'sk-alice-0001', user: 'alice' },
      { key: 'sk-alice-0002', user: 'alice' },
      { key: 'sk-bobby-0001', user: 'bob' },
    ],
    problems: [],
  })
})

t.test('what is wrong is told with the file, and without the key', async (t) => {
  const directory = t.testdir({
    short: 'short',
    empty: '\n# none yet\n',
    'list.yaml': '- { key: sk-alice-0001, usr: alice }\n- { user: bob }',
    'both.yaml': `- { key: sk-alice-0001, sha256: ${'ab'.repeat(32)} }\n- { key: sk-bobby-0001, expiresAt: '2027-02-31T25:00:00Z' }`,
    'map.yaml': 'sk-alice-0001: alice',
    'broken.yaml': '- { key: sk-alice-0001',
    'alias.yaml': '- *sk-alice-0001',
  })
  const problemsOf = async (name: string) => (await keysOf(join(directory, name))).problems
  t.match(await problemsOf('short'), [/^auth\.keyFiles: keys: 0\.key: must not have fewer than 8 characters$/])
  t.match(await problemsOf('empty'), [/^auth\.keyFiles: keys: there is no key in it$/])
  t.match(await problemsOf('list.yaml'), [/keys: 0\.usr: unknown key; did you mean "user"\?$/])
  t.match(await problemsOf('both.yaml'), [
    /keys\.0: give either key or sha256$/,
    /keys\.1\.expiresAt: there is no such time$/,
  ])
  t.match(await problemsOf('map.yaml'), [/keys: \(top level\): must be array$/])
  t.match(await problemsOf('broken.yaml'), [/^auth\.keyFiles: keys: /])
  t.match(await problemsOf('alias.yaml'), [/^auth\.keyFiles: keys: /])
  t.match(await problemsOf('nowhere'), [/^auth\.keyFiles: keys: it cannot be read: ENOENT$/])
  for (const name of ['short', 'list.yaml', 'both.yaml', 'broken.yaml']) {
    t.notMatch((await problemsOf(name)).join(), /sk-alice|"short"/, name)
  }
})

t.test('they join those of the configuration', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': 'auth: { keys: [{ key: sk-alice-0001 }], keyFiles: [more, secret] }',
    more: 'sk-bobby-0001',
    secret: { carol: 'sk-carol-0001' },
    'twice.yaml': 'auth: { keys: [{ key: sk-bobby-0001 }], keyFiles: [more] }',
  })
  const { config } = await loadConfig({ file: join(directory, 'signalbox.yaml'), env: {} })
  t.strictSame(config.auth, {
    keys: [{ key: 'sk-alice-0001' }, { key: 'sk-bobby-0001' }, { key: 'sk-carol-0001', user: 'carol' }],
  })
  await t.rejects(
    loadConfig({ file: join(directory, 'twice.yaml'), env: {} }),
    new ConfigError(join(directory, 'twice.yaml'), ['auth.keys: the same API key is listed twice']),
  )
})

t.test("a provider's key comes from its file, without the line break", async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': 'providers: { openai: { apiKeyFile: key } }',
    key: 'sk-provider\n',
    'nowhere.yaml': 'providers: { openai: { apiKeyFile: nowhere } }',
    'empty.yaml': 'providers: { openai: { apiKeyFile: empty } }',
    empty: '\n',
    'both.yaml': 'providers: { openai: { apiKeyFile: key, apiKey: sk } }',
  })
  const load = (name: string) => loadConfig({ file: join(directory, name), env: {} })
  t.strictSame((await load('signalbox.yaml')).config.providers, { openai: { apiKey: 'sk-provider' } })
  const problems = {
    nowhere: 'providers.openai.apiKeyFile: the file nowhere cannot be read: ENOENT',
    empty: 'providers.openai.apiKeyFile: the file empty is empty',
    both: 'providers.openai: give either apiKey or apiKeyFile',
  }
  for (const [name, problem] of Object.entries(problems)) {
    await t.rejects(load(`${name}.yaml`), new ConfigError(join(directory, `${name}.yaml`), [problem]))
  }
})

t.test('none of them may be an admin key', async (t) => {
  const key = 'sk-of-both-0123456789'
  const directory = t.testdir({
    keys: key,
    'signalbox.yaml': `{ auth: { keyFiles: [keys] }, admin: { enabled: true, keys: [{ name: ops, key: ${key} }] } }`,
  })
  const refused = await loadConfig({ file: join(directory, 'signalbox.yaml'), env: {} }).catch(
    (error: unknown) => error,
  )
  t.match(refused, { problems: ['admin.keys.0: is a key of auth.keys, too; clients must not have it'] })
})
