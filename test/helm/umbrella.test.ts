/** The chart as part of another one, as those who keep all of an environment in one place have it. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { chart, helm } from './helm.ts'

const directory = t.testdir()
const dependency = { name: 'signalbox', version: '0.1.0', condition: 'signalbox.enabled' }
mkdirSync(join(directory, 'charts'))
writeFileSync(
  join(directory, 'Chart.yaml'),
  stringify({ apiVersion: 'v2', name: 'platform', version: '1.0.0', dependencies: [dependency] }),
)
cpSync(chart, join(directory, 'charts/signalbox'), { recursive: true, dereference: true })

const template = (signalbox: Record<string, unknown>, more: Record<string, unknown> = {}) => {
  const file = join(directory, 'given.yaml')
  writeFileSync(file, stringify({ signalbox, ...more }))
  return helm(['template', 'platform', directory, '--values', file])
}

t.test('a condition of the other chart turns it on and off', async (t) => {
  const on = template({ enabled: true, redis: { enabled: true } }, { global: { region: 'eu' } })
  t.equal(on.status, 0, on.stderr)
  t.match(on.stdout, /kind: Deployment/)
  t.match(on.stdout, 'redis://platform-redis:6379')
  const off = template({ enabled: false })
  t.equal(off.status, 0, off.stderr)
  t.notMatch(off.stdout, /kind:/)
})
