import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { HookBus } from '../../src/index.ts'
import { GatewayMetrics } from '../../src/metrics/gateway-metrics.ts'
import { metricsReference } from '../../src/metrics/reference.ts'
import { Admission } from '../../src/server/admission.ts'

const readme = new URL('../../README.md', import.meta.url)
const table = /(<!-- metrics -->\n)[\s\S]*?(\n<!-- \/metrics -->)/

t.test('every metric that is shown has its row, and no other', async (t) => {
  const ready = async () => true
  const limits = { maxInFlight: 1, maxQueue: 0, queueTimeoutMs: 1 }
  const readings = { draining: () => false, ready, storeUp: ready, admission: new Admission(limits) }
  const { names } = new GatewayMetrics(new HookBus(), { version: '1', topUsers: 1, revision: 'a', ...readings })
  const rows = Array.from(metricsReference().matchAll(/^\| `(\w+)`/gm), ([, name]) => name)
  t.strictSame(rows.sort(), names.filter((name) => !/^(process|nodejs)_/.test(name)).sort())
  t.ok(rows.length > 25)
})

t.test('the table of the README is the one that they make (npm run docs writes it)', async (t) => {
  const text = readFileSync(readme, 'utf8')
  const current = text.replace(table, (_whole, begin: string, end: string) => `${begin}${metricsReference()}${end}`)
  if (process.env.WRITE_DOCS) writeFileSync(readme, current)
  t.match(text, table)
  t.equal(process.env.WRITE_DOCS ? current : text, current)
})
