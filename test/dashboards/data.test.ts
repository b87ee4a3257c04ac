import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { Prometheus, type Series } from '../prometheus.ts'
import { until } from '../redis-server.ts'
import { startLoad } from './load.ts'
import { boards, type Chosen, panelsOf, sent } from './shown.ts'

const load = await startLoad(t)
const targets = [new URL(load.gateway.url).host]
/** As a ServiceMonitor and a cluster's external labels would have it. */
const labels = { namespace: 'llm', environment: 'test' }
const [bare, labelled] = await Promise.all([
  Prometheus.start(t, { targets, interval: '1s' }),
  Prometheus.start(t, { targets, interval: '1s', labels }),
])

let isOver = false
const loading = (async () => {
  while (!isOver) await Promise.all([load.usual(), load.trouble()])
})()
t.teardown(async () => {
  isOver = true
  await loading
})

const chosen: Chosen = { rateInterval: '10s', range: '30s' }
const everything = { prometheus: bare, chosen }
const named = { prometheus: labelled, chosen: { ...chosen, ...labels } }
const hasData = (series: Series[]): boolean => series.some(({ value }) => Number.isFinite(value))

/** The values that Prometheus has of a label. */
const valuesOf = (prometheus: Prometheus, label: string): Promise<string[]> =>
  prometheus.get(`label/${label}/values`, { 'match[]': 'signalbox_upstream_attempts_total' })

t.test('the load does what panels of failures are there for', async (t) => {
  for (const prometheus of [bare, labelled]) {
    await until(async () => {
      const seen = await prometheus.query('sum by (code) (rate(signalbox_errors_total[10s])) > 0')
      return seen.length >= 8
    }, 'failures of every kind were scraped twice')
  }
  /** Once it was scraped: what happens later in a round comes later. */
  const has = async (metric: string, label: string, expected: string[]): Promise<void> => {
    let seen: (string | undefined)[] = []
    const isThere = async (): Promise<boolean> => {
      seen = (await bare.query(`sum by (${label}) (${metric})`)).map(({ metric }) => metric[label]).sort()
      return isDeepStrictEqual(seen, expected)
    }
    await until(isThere, metric).catch(() => undefined)
    t.strictSame(seen, expected)
  }
  await has('signalbox_errors_total', 'code', [
    'admin_key_required',
    'concurrency_limit_exceeded',
    'invalid_api_key',
    'model_not_found',
    'rate_limit_exceeded',
    'target_unavailable',
    'upstream_connection_lost',
    'upstream_error',
    'upstream_first_token_timeout',
    'upstream_timeout',
  ])
  await has('signalbox_client_disconnects_total', 'phase', ['before_answer', 'streaming'])
  await has('signalbox_breaker_transitions_total{target="shaky/small"}', 'state', ['half_open', 'open'])
  await has('signalbox_store_operations_total', 'part', ['events', 'index', 'leases', 'limits', 'values'])
})

for (const board of boards.values()) {
  t.test(`every query of ${board.title} has data`, async (t) => {
    for (const { title, targets } of panelsOf(board)) {
      for (const { refId, expr } of targets) {
        for (const [how, { prometheus, chosen }] of Object.entries({ everything, named })) {
          let series: Series[] = []
          const shown = async (): Promise<boolean> => {
            series = await prometheus.query(sent(expr, chosen))
            return hasData(series)
          }
          // Of what happens once in a round, a slow machine may have nothing within the window for a moment.
          await until(shown, title).catch(() => undefined)
          t.ok(hasData(series), `${title} ${refId}, ${how}: ${series.length} series`)
        }
      }
    }
  })
}

t.test('what is chosen is all that is shown', async (t) => {
  for (const board of boards.values()) {
    for (const { title, targets } of panelsOf(board)) {
      for (const { expr } of targets) {
        const elsewhere = { ...chosen, ...labels, environment: 'elsewhere' }
        t.notOk(hasData(await labelled.query(sent(expr, elsewhere))), title)
      }
    }
  }
  const byModel = 'sum by (model) (rate(signalbox_upstream_attempts_total{model=~"$model"}[$__rate_interval]))'
  const models = (await bare.query(sent(byModel, { ...chosen, model: 'fast|large' }))).map(({ metric }) => metric.model)
  t.strictSame(models.sort(), ['fast', 'large'])
})

t.test('the variables have values to choose', async (t) => {
  t.strictSame(await valuesOf(labelled, 'namespace'), ['llm'])
  t.strictSame(await valuesOf(labelled, 'environment'), ['test'])
  t.strictSame(await valuesOf(bare, 'namespace'), [])
  t.strictSame(await valuesOf(bare, 'model'), ['faq', 'fast', 'hasty', 'helpdesk', 'lab/*', 'large', 'shaky', 'steady'])
})
