import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { chart, helm } from './helm.ts'

const directory = mkdtempSync(join(tmpdir(), 'signalbox-chart-'))
t.teardown(() => rmSync(directory, { recursive: true }))

const everything = ['prometheusRule', 'dashboards', 'serviceMonitor', 'redis'].flatMap((section) => [
  '--set',
  `${section}.enabled=true`,
])

t.test('a package of the chart renders what its directory does, and says nothing else', async (t) => {
  const packed = helm(['package', chart, '--destination', directory])
  t.equal(packed.status, 0)
  t.equal(packed.stderr, '')
  const [, file = ''] = /saved it to: (\S+\.tgz)/.exec(packed.stdout) ?? []

  const [ofPackage, ofDirectory] = [file, chart].map((from) => helm(['template', 'signalbox', from, ...everything]))
  t.equal(ofPackage?.stderr, '')
  t.equal(ofDirectory?.stderr, '')
  t.ok(parseAllDocuments(ofPackage?.stdout ?? '').length > 10)
  t.equal(ofPackage?.stdout, ofDirectory?.stdout)
})
