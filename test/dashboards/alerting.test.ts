/** One alert, for real: a gateway whose Redis goes away, Prometheus, Alertmanager, and who is told. */
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { Alertmanager, type Notice } from '../alertmanager.ts'
import { runGateway } from '../process.ts'
import { Prometheus } from '../prometheus.ts'
import { startRedis } from '../redis.ts'
import { until } from '../redis-server.ts'
import { ruleFile } from './rule-file.ts'

const [redis, alertmanager] = await Promise.all([startRedis(t), Alertmanager.start(t)])

const alert = 'SignalboxStoreDown'
/** The committed rules; only that this alert waits for no minutes. */
const hasty = {
  groups: ruleFile.groups.map(({ name, rules }) => ({
    name,
    rules: rules.map((rule) => ('alert' in rule && rule.alert === alert ? { ...rule, for: '1s' } : rule)),
  })),
}
const directory = t.testdir({
  'signalbox.yaml': stringify({ store: { kind: 'redis', url: redis.url } }),
  'rules.yaml': stringify(hasty),
})
const { url } = await runGateway(t, { cwd: directory, lifeMs: 60_000 })
const ask = (headers: Record<string, string> = {}): Promise<Response> => {
  const body = JSON.stringify({ model: 'demo/echo', messages: [{ role: 'user', content: 'hello' }], stream: true })
  return fetch(`${url}/v1/chat/completions`, { method: 'POST', body, headers })
}
await (await ask()).text()

const prometheus = await Prometheus.start(t, {
  targets: [new URL(url).host],
  interval: '500ms',
  ruleFiles: [join(directory, 'rules.yaml')],
  alertmanagers: [alertmanager.host],
})

interface Rule {
  name: string
  health: string
  lastError?: string
}
const rulesNow = async (): Promise<Rule[]> => {
  const { groups } = await prometheus.get<{ groups: { rules: Rule[] }[] }>('rules')
  return groups.flatMap(({ rules }) => rules)
}
/** The first notice of the alert, in that state. */
const told = async (status: Notice['status']): Promise<Notice | undefined> => {
  const find = () =>
    alertmanager.notices.find((notice) => notice.labels.alertname === alert && notice.status === status)
  await until(() => find() !== undefined, `the webhook is told that it is ${status}`)
  return find()
}

t.test('Prometheus evaluates every rule, and nothing is wrong', async (t) => {
  await until(async () => (await rulesNow()).every(({ health }) => health === 'ok'), 'every rule is evaluated')
  for (const { name, lastError = '' } of await rulesNow()) t.equal(lastError, '', name)
  t.strictSame(alertmanager.notices, [])
})

t.test('the store goes away, and somebody is told, with the way to the runbook', async (t) => {
  await redis.kill()
  t.equal((await ask({ 'x-conversation-id': 'c' })).status, 503)
  t.match(await told('firing'), {
    labels: { alertname: alert, severity: 'page' },
    annotations: {
      summary: 'The store does not answer',
      description:
        'Of the gateways, 1 cannot reach the store: conversations and stored responses are refused with 503.',
      dashboard: 'Signalbox / Runtime and store',
      runbook_url: /\/runbooks\.md#signalboxstoredown$/,
    },
  })
})

t.test('it comes back, and they are told that, too', async (t) => {
  await redis.restart()
  t.match(await told('resolved'), { labels: { alertname: alert } })
})
