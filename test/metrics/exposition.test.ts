import { Counter, Gauge, Histogram } from 'prom-client'
import t from 'tap'
import { Exposition } from '../../src/metrics/exposition.ts'

function exposition() {
  const registers: [] = []
  const count = new Counter({ name: 'a_total', help: 'A.', registers })
  const gauge = new Gauge({ name: 'b', help: 'B.', registers })
  const times = new Histogram({
    name: 'c_seconds',
    help: 'C.',
    buckets: [1],
    labelNames: ['trace_id'],
    registers,
    enableExemplars: true,
  })
  count.inc(2)
  gauge.set(3)
  times.observe({ value: 0.5, exemplarLabels: { trace_id: 'abc' } })
  return new Exposition([count, gauge, times])
}

const openMetrics = 'application/openmetrics-text; version=1.0.0'

t.test('the formats are what they are, whichever was asked for before, and at the same time', async (t) => {
  const shown = exposition()
  const scrapes = await Promise.all([openMetrics, 'text/plain', openMetrics, undefined].map((a) => shown.scrape(a)))
  for (const { contentType, text } of [scrapes[0], scrapes[2]].flatMap((scrape) => scrape ?? [])) {
    t.equal(contentType, 'application/openmetrics-text; version=1.0.0; charset=utf-8')
    t.match(text, /^# TYPE a counter\na_total 2\n/m)
    t.match(text, /^c_seconds_bucket\{le="1"\} 1 # \{trace_id="abc"\} 0\.5 \d+/m)
    t.match(text, /\n# EOF\n$/)
  }
  for (const { contentType, text } of [scrapes[1], scrapes[3]].flatMap((scrape) => scrape ?? [])) {
    t.equal(contentType, 'text/plain; version=0.0.4; charset=utf-8')
    t.match(text, /^# TYPE a_total counter\na_total 2\n/m)
    t.match(text, /^c_seconds_bucket\{le="1"\} 1$/m)
    t.notMatch(text, 'EOF')
  }
  t.strictSame(shown.names, ['a_total', 'b', 'c_seconds'])
})

t.test('OpenMetrics is for who prefers it', async (t) => {
  const shown = exposition()
  for (const [accept, isOpen] of [
    [
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      true,
    ],
    ['text/plain;version=0.0.4,Application/OpenMetrics-Text', false],
    ['text/plain;q=0.2, application/openmetrics-text; q=0.3', true],
    ['Application/OpenMetrics-Text', true],
    ['application/openmetrics-text;q=0', false],
    ['application/openmetrics-text;q=nonsense, application/openmetrics-text', true],
    ['application/openmetrics-text;q=nonsense', false],
    ['*/*', false],
    ['', false],
  ] as const) {
    const { contentType } = await shown.scrape(accept)
    t.equal(contentType.startsWith('application/openmetrics-text'), isOpen, accept)
  }
})
