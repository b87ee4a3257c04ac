import fc from 'fast-check'
import t from 'tap'
import { RetryBudget } from '../../src/router/retry-budget.ts'

t.test('of a hundred requests twenty retries, and one per second beside', async (t) => {
  const budget = new RetryBudget({ now: () => 0 })
  for (let n = 0; n < 100; n++) budget.request()
  const taken = Array.from({ length: 200 }, () => budget.take())
  t.equal(taken.filter(Boolean).length, 30)
  t.equal(taken.indexOf(false), 30)
})

t.test('little traffic has some, too; with nothing allowed there is none', async (t) => {
  t.ok(new RetryBudget().take())
  t.notOk(new RetryBudget({ ratio: 0, perSecond: 0 }).take())
})

t.test('what is older than ten seconds is forgotten', async (t) => {
  let now = 0
  const budget = new RetryBudget({ ratio: 0, perSecond: 0.1, now: () => now })
  t.ok(budget.take())
  now = 9999
  t.notOk(budget.take())
  now = 10_000
  t.ok(budget.take())
})

t.test('whatever comes, and whenever: never more, and no less than that', async () => {
  const step = fc.record({ wait: fc.nat(4000), what: fc.constantFrom('request' as const, 'take' as const) })
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(2),
      (steps, ratio, perSecond) => {
        let now = 0
        const budget = new RetryBudget({ ratio, perSecond, now: () => now })
        const requests: number[] = []
        const retries: number[] = []
        for (const { wait, what } of steps) {
          now += wait
          const second = Math.floor(now / 1000)
          const within = (times: number[]): number => times.filter((time) => time > second - 10).length
          if (what === 'request') {
            budget.request()
            requests.push(second)
            continue
          }
          const allowed = within(retries) + 1 <= perSecond * 10 + ratio * within(requests)
          if (budget.take() !== allowed) throw new Error(`at ${now} it should have said ${allowed}`)
          if (allowed) retries.push(second)
        }
      },
    ),
  )
})
