import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../process.ts'
import { alerts } from './rule-file.ts'

const runbooks = readFileSync(join(root, 'dashboards', 'runbooks.md'), 'utf8')
const sections = runbooks.split(/^## /m).slice(1)
const readme = join(root, 'README.md')
const table = /(<!-- alerts -->\n)[\s\S]*?(\n<!-- \/alerts -->)/

t.test('each alert has its section, in their order, and there is no other', async (t) => {
  t.strictSame(
    sections.map((section) => section.split('\n', 1)[0]),
    alerts.map(({ alert }) => alert),
  )
})

t.test('each alert leads to its section; where the runbooks are is the same for all', async (t) => {
  const places = new Set<string>()
  for (const { alert, annotations } of alerts) {
    const [place = '', anchor] = annotations.runbook_url?.split('#') ?? []
    t.equal(anchor, alert.toLowerCase())
    places.add(place)
  }
  t.equal(places.size, 1)
  t.match([...places][0], /^https:\/\/.*\/dashboards\/runbooks\.md$/)
})

t.test('each section is as the alert, and says what it means, who notices, where to look and what to do', async (t) => {
  for (const [n, { alert, labels, annotations }] of alerts.entries()) {
    const section = sections[n] ?? ''
    const dashboard = annotations.dashboard?.replace('Signalbox / ', '')
    t.ok(section.includes(`\`${labels.severity}\` · Dashboard: *${dashboard}*`), alert)
    const parts = Array.from(section.matchAll(/^\*\*(\w+)\.\*\*/gm), ([, part]) => part)
    t.strictSame(parts, ['Means', 'Impact', 'See', 'Do'], alert)
  }
})

t.test('the links between sections lead somewhere', async (t) => {
  const links = Array.from(runbooks.matchAll(/\[(\w+)\]\(#(\w+)\)/g))
  t.ok(links.length > 0)
  for (const [, name = '', anchor] of links) {
    t.ok(
      alerts.some(({ alert }) => alert === name),
      name,
    )
    t.equal(anchor, name.toLowerCase())
  }
})

t.test('the table of the README is the one that the rules make (npm run docs writes it)', async (t) => {
  const rows = alerts.map(({ alert, labels, annotations }) => {
    const runbook = `[\`${alert}\`](dashboards/runbooks.md#${alert.toLowerCase()})`
    return `| ${runbook} | ${labels.severity} | ${annotations.summary} |`
  })
  const made = ['| Alert | Severity | |', '|---|---|---|', ...rows].join('\n')
  const text = readFileSync(readme, 'utf8')
  const current = text.replace(table, (_whole, begin: string, end: string) => `${begin}${made}${end}`)
  if (process.env.WRITE_DOCS) writeFileSync(readme, current)
  t.match(text, table)
  t.equal(process.env.WRITE_DOCS ? current : text, current)
})
