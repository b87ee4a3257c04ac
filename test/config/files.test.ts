import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'

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
