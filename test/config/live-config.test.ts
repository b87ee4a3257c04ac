import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { LiveConfig, type LivePart, type ReloadReport } from '../../src/config/live-config.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'

const configOf = (yaml: string): Config => parseConfig(yaml, 'the test', {})

/** A configuration that can be read again, and what became of each reload. */
function live(yaml: string, ...parts: LivePart[]) {
  let next: () => Config = () => configOf(yaml)
  const reports: ReloadReport[] = []
  const config = new LiveConfig({
    config: configOf(yaml),
    load: async () => next(),
    onReload: (report) => reports.push(report),
  })
  for (const part of parts) config.add(part)
  return {
    config,
    reports,
    reload(text: string) {
      next = () => configOf(text)
      return config.reload()
    },
    failing(error: unknown) {
      next = () => {
        throw error
      }
      return config.reload()
    },
  }
}

/** A part that writes down what it does. */
const part = (name: string, log: string[], keys: string[], problem?: string): LivePart => ({
  keys,
  prepare: () => {
    log.push(`${name} prepares`)
    if (problem) throw new Error(problem)
    return { commit: () => log.push(`${name} commits`), discard: () => log.push(`${name} discards`) }
  },
})

t.test('every part prepares before the first one commits', async (t) => {
  const log: string[] = []
  const { config, reload, reports } = live(
    '{}',
    part('a', log, ['server.bodyLimit']),
    part('b', log, ['server.logLevel']),
  )
  const { revision } = config
  t.match(revision, /^[\da-f]{12}$/)
  const report = await reload('server: { logLevel: warn, bodyLimit: 2048 }')
  t.strictSame(log.splice(0), ['a prepares', 'b prepares', 'a commits', 'b commits'])
  t.match(report, {
    outcome: 'applied',
    changed: ['server.bodyLimit', 'server.logLevel'],
    needsRestart: [],
    problems: [],
  })
  t.equal(report.revision, config.revision)
  t.not(config.revision, revision)
  t.equal(config.config.server.logLevel, 'warn')
  t.strictSame(reports, [report])
  await reload('server: { logLevel: error, bodyLimit: 2048 }')
  t.strictSame(log, ['b prepares', 'b commits'], 'what has not changed is not made anew')
})

t.test('when one cannot, none commits, and what was prepared is given up', async (t) => {
  const log: string[] = []
  const { config, reload } = live(
    '{}',
    part('a', log, ['server.bodyLimit']),
    part('b', log, ['server.logLevel'], 'b cannot'),
    part('c', log, ['server.jsonDepth']),
  )
  const { revision } = config
  const report = await reload('server: { logLevel: warn, bodyLimit: 2048, jsonDepth: 9 }')
  t.strictSame(log, ['a prepares', 'b prepares', 'a discards'])
  t.match(report, { outcome: 'failed', revision, changed: [], problems: ['b cannot'] })
  t.equal(config.config.server.logLevel, 'info')
})

t.test('what cannot be read leaves all as it is, and every problem is told', async (t) => {
  const log: string[] = []
  const { config, failing, reload } = live('{}', part('a', log, ['server.logLevel']))
  const { revision } = config
  const problems = ['server.prot: unknown key', 'auth: no']
  t.match(await failing(new ConfigError('x', problems)), { outcome: 'failed', revision, problems })
  t.match(await failing('a string'), { outcome: 'failed', problems: ['a string'] })
  t.strictSame(log, [])
  t.match(await reload('{}'), { outcome: 'unchanged', revision }, 'and the good one is good again')
})

t.test('what means the same is unchanged', async (t) => {
  const log: string[] = []
  const { config, reload } = live('catalog: { a/b: { contextWindow: 1 }, a/c: {} }', part('a', log, ['catalog']))
  const { revision } = config
  const report = await reload('# written otherwise\nserver: {}\ncatalog: { a/c: {}, a/b: { contextWindow: 1 } }')
  t.match(report, { outcome: 'unchanged', revision, changed: [] })
  t.strictSame(log, [])
})

t.test('what no part takes up waits for a restart, and the rest does not wait for it', async (t) => {
  const { config, reload } = live('server: { port: 1 }', part('a', [], ['server.logLevel', 'catalog']))
  const report = await reload(
    'server: { port: 2, logLevel: debug }\nstore: { kind: file, directory: x }\nauth: { keys: [{ key: sk-12345678 }] }',
  )
  const needsRestart = ['auth', 'server.port', 'store.directory', 'store.kind']
  t.match(report, { outcome: 'applied', changed: ['server.logLevel'], needsRestart })
  t.strictSame(config.needsRestart, needsRestart)
  const { server, store, auth } = config.config
  t.match(server, { port: 1, logLevel: 'debug' })
  t.match(store, { kind: 'memory', directory: undefined })
  t.equal(auth, undefined)
  t.equal(report.revision, live('server: { port: 1, logLevel: debug }').config.revision, 'of what is in force')
  t.match(await reload('server: { port: 1, logLevel: debug }'), { outcome: 'unchanged', needsRestart: [] })
  t.strictSame(config.needsRestart, [])
})

t.test('no value is among what is told', async (t) => {
  const { reload } = live(
    'auth: { keys: [{ key: sk-old-000001 }] }\nproviders: { a: { kind: openai, apiKey: k-1 } }',
    part('a', [], ['auth.keys', 'providers']),
  )
  const report = await reload(
    'auth: { keys: [{ key: sk-new-000001 }] }\nproviders: { a: { kind: openai, apiKey: k-2 }, b: { baseURL: "http://x" } }',
  )
  t.strictSame(report.changed, ['auth.keys', 'providers.a.apiKey', 'providers.b'])
})

t.test('reloads wait for each other, and those that wait together are one', async (t) => {
  let loads = 0
  let running = 0
  const config = new LiveConfig({
    config: configOf('{}'),
    async load() {
      loads += 1
      running += 1
      t.equal(running, 1)
      await sleep(20)
      running -= 1
      return configOf('{}')
    },
  })
  const first = config.reload()
  await sleep(5)
  const [second, third] = [config.reload(), config.reload()]
  await Promise.all([first, second, third])
  t.equal(loads, 2)
  t.equal(await second, await third)
  await config.reload()
  t.equal(loads, 3)
})

t.test('without a place to read it from it is what it was', async (t) => {
  const config = new LiveConfig({ config: configOf('{}') })
  t.match(await config.reload(), { outcome: 'unchanged' })
})
