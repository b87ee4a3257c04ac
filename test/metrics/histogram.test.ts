import fc from 'fast-check'
import { Histogram as TheirHistogram } from 'prom-client'
import t from 'tap'
import { Exposition } from '../../src/metrics/exposition.ts'
import { Histogram } from '../../src/metrics/histogram.ts'

const openMetrics = 'application/openmetrics-text'
const bounds = [0.1, 1, 2.5]
const labelNames = ['x', 'y']
const value = fc.constantFrom('', 'a', 'b', 'with "quotes"')

t.test("it shows what prom-client's histogram shows, in both formats", async (t) => {
  const seconds = fc.oneof(fc.constantFrom(0, 0.1, 1, 2.5, 3, -1), fc.double({ min: 0, max: 5, noNaN: true }))
  const values = fc.array(fc.record({ labels: fc.record({ x: value, y: value }), seconds }))
  await fc.assert(
    fc.asyncProperty(values, async (values) => {
      const ours = new Histogram('took_seconds', 'Took.', bounds, labelNames)
      const theirs = new TheirHistogram({
        name: 'took_seconds',
        help: 'Took.',
        labelNames,
        buckets: bounds,
        registers: [],
      })
      for (const { labels, seconds } of values) {
        ours.observe(labels, seconds)
        theirs.observe(labels, seconds)
      }
      for (const accept of ['text/plain', openMetrics]) {
        t.equal(
          (await new Exposition([ours]).scrape(accept)).text,
          (await new Exposition([theirs]).scrape(accept)).text,
        )
      }
    }),
  )
})

t.test('the latest exemplar of a bucket is shown in OpenMetrics, and only there', async (t) => {
  const histogram = new Histogram('took_seconds', 'Took.', bounds, ['x'])
  const startedAt = Date.now()
  histogram.observe({ x: 'a' }, 0.5, { trace_id: 'first', span_id: '1' })
  histogram.observe({ x: 'a' }, 0.75, { trace_id: 'second', span_id: '2' })
  histogram.observe({ x: 'a' }, 0.8)
  histogram.observe({ x: 'a' }, 100, { trace_id: 'slow', span_id: '3' })
  const exposition = new Exposition([histogram])
  const { text } = await exposition.scrape(openMetrics)
  t.match(text, /^took_seconds_bucket\{le="1",x="a"\} 3 # \{trace_id="second",span_id="2"\} 0\.75 \d+(\.\d+)?$/m)
  t.match(text, /^took_seconds_bucket\{le="\+Inf",x="a"\} 4 # \{trace_id="slow",span_id="3"\} 100 /m)
  t.match(text, /^took_seconds_bucket\{le="0\.1",x="a"\} 0$/m)
  const [, seconds] = /"slow".* (\S+)$/m.exec(text) ?? []
  t.ok(Number(seconds) * 1000 >= startedAt && Number(seconds) * 1000 <= Date.now(), 'when it was seen, in seconds')
  t.notMatch((await exposition.scrape()).text, 'trace_id')
})

t.test('what is no number is not observed', async (t) => {
  const histogram = new Histogram('took_seconds', 'Took.', bounds, ['x'])
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => histogram.observe({ x: 'a' }, value), RangeError)
  t.same(histogram.get().values, [])
})
