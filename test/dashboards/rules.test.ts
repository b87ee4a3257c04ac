import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { alerts, rulesDirectory, rulesFile } from './rule-file.ts'

interface UnitTests {
  tests: {
    alert_rule_test?: { alertname: string; exp_alerts?: object[] }[]
    promql_expr_test?: { expr: string; exp_samples?: { labels: string }[] }[]
  }[]
}

const unitTests = globSync('*.test.yaml', { cwd: rulesDirectory }).map((file) => join(rulesDirectory, file))

/** Nothing, or what it does not like. */
const promtool = (...args: string[]): Promise<string> =>
  new Promise((resolve) => {
    execFile('promtool', args, { timeout: 50_000 }, (error, stdout, stderr) => {
      resolve(error ? `${error.message}\n${stdout}${stderr}` : '')
    })
  })

t.test('promtool has nothing to say against the rules', async (t) => {
  t.equal(await promtool('check', 'rules', '--lint=all', '--lint-fatal', rulesFile), '')
})

t.test('the unit tests of the rules pass', async (t) => {
  t.ok(unitTests.length > 0)
  for (const file of unitTests) t.equal(await promtool('test', 'rules', file), '', basename(file))
})

t.test('each alert has a unit test in which it fires, and one in which it is silent', async (t) => {
  const tests = unitTests.flatMap((file) => (parse(readFileSync(file, 'utf8'), { merge: true }) as UnitTests).tests)
  const ofAlerts = tests.flatMap((test) => test.alert_rule_test ?? [])
  for (const { alert } of alerts) {
    const own = ofAlerts.filter(({ alertname }) => alertname === alert)
    t.ok(
      own.some(({ exp_alerts = [] }) => exp_alerts.length > 0),
      `${alert} fires`,
    )
    t.ok(
      own.some(({ exp_alerts = [] }) => exp_alerts.length === 0),
      `${alert} is silent`,
    )
  }
  const known = alerts.map(({ alert }) => alert)
  t.strictSame(
    ofAlerts.filter(({ alertname }) => !known.includes(alertname)),
    [],
    'of alerts that there are',
  )
})

t.test('each alert says how urgent it is, for how long it waits, and where to look', async (t) => {
  t.ok(alerts.length > 10)
  for (const { alert, labels, annotations, for: wait } of alerts) {
    t.match(alert, /^Signalbox[A-Z]\w+$/)
    t.match(labels.severity, /^(page|ticket)$/, alert)
    t.match(wait, /^\d+m$/, alert)
    t.match(annotations.summary, /^[A-Z][^.{]+$/, alert)
    t.match(annotations.description, /\.$/, alert)
    t.match(annotations.dashboard, /^Signalbox \/ (Overview|Models and providers|Tenants and cost|Runtime and store)$/)
    t.strictSame(Object.keys(annotations).sort(), ['dashboard', 'description', 'runbook_url', 'summary'], alert)
  }
})
