import { join } from 'node:path'
import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { withFiles } from '../../src/config/files.ts'
import { loadConfig, parseConfig } from '../../src/config/load.ts'

const load = (file: string) => loadConfig({ file, env: {} })

t.test('paths are seen from the configuration, wherever the process runs', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': `
      store: { kind: file, directory: ./data }
      extensions: ../extension.ts
      agents: { helper: { model: demo/echo, systemFile: prompts/helper.md } }`,
    prompts: { 'helper.md': '\nBe brief.\n\nAnd kind.\n' },
  })
  const { config } = await load(join(directory, 'signalbox.yaml'))
  t.equal(config.store.directory, join(directory, 'data'))
  t.equal(config.extensions, join(directory, '..', 'extension.ts'))
  t.strictSame(config.agents, { helper: { model: 'demo/echo', system: 'Be brief.\n\nAnd kind.' } })
})

t.test('absolute ones stay as they are', async (t) => {
  const directory = t.testdir({ 'signalbox.yaml': 'extensions: /etc/signalbox/extension.ts' })
  const { config } = await load(join(directory, 'signalbox.yaml'))
  t.equal(config.extensions, '/etc/signalbox/extension.ts')
})

t.test('without a configuration they are seen from where the process runs', async (t) => {
  const { config } = await withFiles(parseConfig('store: { kind: file, directory: data }', 'the test', {}), undefined)
  t.match(config.store, { kind: 'file', directory: join(process.cwd(), 'data') })
})

t.test('an agent without a file keeps what it has, and gets nothing', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': 'agents: { a: { model: demo/echo, system: " Be. " }, b: { model: demo/echo } }',
  })
  const { config } = await load(join(directory, 'signalbox.yaml'))
  t.strictSame(config.agents, { a: { model: 'demo/echo', system: ' Be. ' }, b: { model: 'demo/echo' } })
})

t.test('a file that is there but empty instructs nobody, and is refused', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': 'agents: { a: { model: demo/echo, systemFile: a.md } }',
    'a.md': '\ufeff\n  \n',
  })
  const file = join(directory, 'signalbox.yaml')
  await t.rejects(load(file), new ConfigError(file, ['agents.a.systemFile: the file a.md is empty']))
})

t.test('a store that cannot be a directory is refused; one that is there, or not yet, is not', async (t) => {
  const at = (path: string) => `store: { kind: file, directory: ${path} }`
  const directory = t.testdir({
    'file.yaml': at('file.yaml'),
    'below.yaml': at('file.yaml/data'),
    'good.yaml': at('.'),
    'new.yaml': at('a/b/c'),
  })
  for (const [name, path] of Object.entries({ file: 'file.yaml', below: 'file.yaml/data' })) {
    const file = join(directory, `${name}.yaml`)
    await t.rejects(load(file), new ConfigError(file, [`store.directory: ${path} is not a directory`]))
  }
  for (const file of ['good', 'new']) await t.resolves(load(join(directory, `${file}.yaml`)))
})

t.test('they are told together with all else that is wrong', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': `
      sever: {}
      providers: { openai: {} }
      store: { kind: file, directory: signalbox.yaml }
      agents:
        a: { model: openai/x, systemFile: nowhere.md, system: Be brief. }
        b: { model: nobody/x }`,
  })
  const error = await load(join(directory, 'signalbox.yaml')).catch((error: unknown) => error)
  t.match(error, {
    problems: [
      /^sever: unknown key/,
      'agents.a: give either system or systemFile',
      /^agents\.b\.model: "nobody\/x" is none of the models/,
      /^providers\.openai: .*needs an API key/,
      /^agents\.a\.systemFile: the file nowhere\.md cannot be read: ENOENT$/,
      'store.directory: signalbox.yaml is not a directory',
    ],
  })
})

t.test('each file that cannot be read is told', async (t) => {
  const directory = t.testdir({
    'signalbox.yaml': `
      agents:
        one: { model: demo/echo, systemFile: nowhere.md }
        two: { model: demo/echo, systemFile: folder }`,
    folder: {},
  })
  await t.rejects(load(join(directory, 'signalbox.yaml')), {
    name: 'ConfigError',
    message:
      /agents\.one\.systemFile: the file nowhere\.md cannot be read: ENOENT\n.*agents\.two\.systemFile: .*EISDIR/,
  })
})
