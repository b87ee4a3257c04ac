import fc from 'fast-check'
import { Counter as TheirCounter } from 'prom-client'
import t from 'tap'
import { Counter } from '../../src/metrics/counter.ts'
import { Exposition } from '../../src/metrics/exposition.ts'

const openMetrics = 'application/openmetrics-text'
const value = fc.constantFrom('', 'a', 'b', 'with "quotes"', 'back\\slash', 'line\nbreak')

t.test("it shows what prom-client's counter shows, in both formats", async (t) => {
  const counts = fc.array(fc.record({ labels: fc.record({ x: value, y: value }), by: fc.constantFrom(0, 1, 0.25, 7) }))
  await fc.assert(
    fc.asyncProperty(counts, async (counts) => {
      const ours = new Counter('things_total', 'Things.', ['x', 'y'])
      const theirs = new TheirCounter({ name: 'things_total', help: 'Things.', labelNames: ['x', 'y'], registers: [] })
      for (const { labels, by } of counts) {
        ours.inc(labels, by)
        // It takes a step of 0 for one of 0, too.
        theirs.inc(labels, by)
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

t.test('without labels it begins at 0', async (t) => {
  const counter = new Counter('things_total', 'Things.', [])
  t.match((await new Exposition([counter]).scrape()).text, /^things_total 0$/m)
  counter.inc({})
  t.match((await new Exposition([counter]).scrape()).text, /^things_total 1$/m)
})

t.test('it never goes down, and counts nothing that is no number', async (t) => {
  const counter = new Counter('things_total', 'Things.', ['x'])
  for (const by of [-1, Number.NaN]) t.throws(() => counter.inc({ x: 'a' }, by), RangeError)
  t.same(counter.get().values, [])
})
