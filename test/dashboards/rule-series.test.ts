/** Everything that the rules ask for is there: in the scrape of a gateway to which all of it happened, or recorded by them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineGuardrail } from 'signalbox'
import t from 'tap'
import { eventually } from '../core.ts'
import { CLIENT_KEY, startGateway } from '../gateway.ts'
import { root } from '../process.ts'
import { startRedis } from '../redis.ts'
import { samplesIn, scraped } from '../scrape.ts'
import * as up from '../upstream.ts'
import { alerts, recordings } from './rule-file.ts'
import { partsOf, selects } from './selector.ts'

const redis = await startRedis(t)
const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
const gateway = await startGateway(t, {
  upstream,
  // The first retry is one too many.
  provider: { retries: { budget: { ratio: 0, perSecond: 0 } } },
  extension: {
    guardrails: [
      defineGuardrail({
        name: 'broken',
        input: () => {
          throw new Error('a bug')
        },
      }),
    ],
  },
  config: {
    auth: { keys: [{ key: CLIENT_KEY, user: 'ann' }] },
    admin: { enabled: true, keys: [{ name: 'operator', key: 'sk-operator-of-the-test-0123456789' }] },
    models: { fast: { targets: [{ model: 'openai/small' }], limits: { requestsPerMinute: 1000 } } },
    agents: { guarded: { model: 'fast', guardrails: ['broken'] } },
    catalog: { 'openai/small': { prices: { input: 1, output: 10 } } },
    store: { kind: 'redis', url: redis.url },
  },
})

const ask = async (body: up.Json, headers: Record<string, string> = {}): Promise<void> => {
  const messages = [{ role: 'user', content: 'hello' }]
  await (await gateway.post('/v1/chat/completions', { model: 'fast', messages, ...body }, { headers })).text()
}
const turn = { 'x-conversation-id': 'c' }
upstream.behave(up.completion())
await ask({ stream: true }, turn)
upstream.next(up.failWith(500))
await ask({})
upstream.next(up.failWith(400))
await ask({})
upstream.next(up.dropAfter(2))
await ask({ stream: true })
await ask({}, { authorization: 'Bearer sk-wrong' })
await ask({ model: 'guarded' })
await (await fetch(`${gateway.url}/admin/v1/keys`, { headers: { authorization: 'Bearer sk-guessed' } })).text()
await redis.kill()
await ask({}, turn)
await eventually(() => gateway.app.oaiServer.openRequests === 0)

const samples = await scraped(gateway.url)
/** What Prometheus adds to each series, and one of its own for each target. */
const added = ['namespace', 'environment', 'job', 'instance']
const all = [...samples, ...samplesIn('up{job="any",instance="a"} 1')]
const recorded = recordings.map(({ record, labels = {} }) => ({ name: record, labels, value: 0 }))
const named = new Set(recorded.map(({ name }) => name))

for (const rule of [...recordings, ...alerts]) {
  t.test('alert' in rule ? rule.alert : `${rule.record} ${JSON.stringify(rule.labels ?? {})}`, async (t) => {
    const { selectors, labels } = partsOf(rule.expr)
    for (const selector of selectors) {
      // A ratio of what was recorded has its labels.
      const isRatio = selector.name.startsWith('signalbox:slo_errors:')
      const slo = selector.matchers.every(
        ({ label, value }) => label === 'slo' && /^(availability|first_token)$/.test(value),
      )
      const isThere = isRatio
        ? named.has(selector.name) && slo
        : [...all, ...recorded].some((sample) => selects(selector, sample))
      t.ok(isThere, selector.text)
    }
    const own = selectors.flatMap(({ name }) => all.filter((sample) => sample.name === name))
    const known = new Set([...added, 'slo', ...own.flatMap((sample) => Object.keys(sample.labels))])
    t.strictSame(
      labels.filter((label) => !known.has(label)),
      [],
      'it groups by labels that there are',
    )
  })
}

t.test('the queries of the runbooks', async (t) => {
  const runbooks = readFileSync(join(root, 'dashboards', 'runbooks.md'), 'utf8')
  const queries = Array.from(runbooks.matchAll(/```promql\n(.*?)```/gs), ([, query = '']) => query)
  t.ok(queries.length > alerts.length)
  const names = gateway.app.metrics.names.flatMap((name) => [name, `${name}_bucket`, `${name}_sum`])
  // They may have no series: nobody has to have left, and users are an option.
  const known = new Set([...names, 'up', 'signalbox_user_cost_usd_total'])
  for (const query of queries) {
    for (const { name } of partsOf(query).selectors) t.ok(known.has(name), `${name} in ${query}`)
  }
})

t.test('what is not there is missed', async (t) => {
  const isThere = (expression: string): boolean =>
    partsOf(expression).selectors.every((selector) => all.some((sample) => selects(selector, sample)))
  t.ok(isThere('sum by (code) (rate(signalbox_errors_total{code=~"upstream_.+", code!="x"}[5m]))'))
  t.notOk(isThere('signalbox_errors_total{code="upstream_err"}'))
  t.notOk(isThere('signalbox_errors_total{code=~"upstream"}'), 'all of a value has to match')
  t.notOk(isThere('signalbox_errors_total{code!~".+"}'))
  t.notOk(isThere('signalbox_error_total'))
  t.strictSame(partsOf('sum by (a) (x) and on (b) y').labels, ['a', 'b'])
  t.throws(() => partsOf('sum by (a) (x'), /no PromQL/)
})
