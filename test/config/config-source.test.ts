import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ConfigSource } from '../../src/config/config-source.ts'

t.test('it is read again from its file, and what was read is known, also when it is not valid', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': 'agents: { a: { model: demo/echo, systemFile: a.md } }\nauth: { keyFiles: [keys] }',
    'a.md': 'Be brief.',
    keys: { alice: 'sk-alice-0001' },
  })
  const path = (...names: string[]): string => join(directory, ...names)
  const source = new ConfigSource({ file: path('signalbox.yaml'), env: {} })
  const { config } = await source.load()
  t.equal(config.agents.a?.system, 'Be brief.')
  const all = [path('a.md'), path('keys'), path('keys', 'alice'), path('signalbox.yaml')]
  t.strictSame(source.files.paths.toSorted(), all)
  const before = source.files
  await writeFile(path('a.md'), 'Be kind.')
  t.not(await source.files.fingerprintNow(), before.fingerprint)
  t.equal((await source.load()).config.agents.a?.system, 'Be kind.')
  await rm(path('a.md'))
  await t.rejects(source.load(), { name: 'ConfigError' })
  t.not(source.files, before)
  t.strictSame(source.files.paths.toSorted(), all)
})

t.test('a file that was found, and is gone, is missed: the defaults are not what is meant', async (t) => {
  const directory = t.testdir({})
  t.teardown(process.chdir.bind(process, process.cwd()))
  process.chdir(directory)
  const source = new ConfigSource({ env: {} })
  t.equal((await source.load()).file, undefined, 'there is none yet')
  t.strictSame(source.files.paths, [join(directory, 'signalbox.yaml')], 'but there may be')
  await writeFile('signalbox.yaml', 'server: { port: 1 }')
  t.match(await source.load(), { file: 'signalbox.yaml', config: { server: { port: 1 } } })
  await rm('signalbox.yaml')
  await t.rejects(source.load(), { message: /signalbox\.yaml is not valid:\n {2}- the file does not exist/ })
})
