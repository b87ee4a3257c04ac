import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { type Overdue, Patience } from '../../src/llm/patience.ts'

/** A call that is waited for, on a clock that goes by hand. */
function waitedFor(t: Test, total: number, shortest: number) {
  const clock = mock.timers
  let now = 0
  clock.enable({ apis: ['setTimeout'] })
  const realNow = performance.now
  performance.now = () => now
  t.teardown(() => {
    performance.now = realNow
    clock.reset()
  })
  const told: [what: Overdue, at: number][] = []
  const patience = new Patience(total, shortest, (what) => told.push([what, now]))
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left--) {
      now += 1
      clock.tick(1)
    }
  }
  return { patience, told, pass }
}

t.test('the whole', async (t) => {
  const { told, pass } = waitedFor(t, 1000, 300)
  pass(998)
  t.strictSame(told, [])
  pass(2000)
  t.match(told, [['total', /^(999|1000|1001)$/]], 'is told of once')
})

t.test('a silence', async (t) => {
  const { patience, told, pass } = waitedFor(t, 10_000, 100)
  pass(500)
  t.strictSame(told, [], 'is none before anything is listened for')
  patience.listen(300)
  for (let turn = 0; turn < 5; turn++) {
    pass(290)
    patience.heard()
  }
  t.strictSame(told, [], 'is none while something is heard')
  pass(298)
  t.strictSame(told, [])
  pass(110)
  t.equal(told.length, 1)
  t.equal(told[0]?.[0], 'silence')
  const at = 500 + 5 * 290 + 300
  t.ok(Math.abs(Number(told[0]?.[1]) - at) <= 1, `${told[0]?.[1]} is ${at}`)
})

t.test('a shorter silence may follow a longer one', async (t) => {
  const { patience, told, pass } = waitedFor(t, 10_000, 50)
  patience.listen(1000)
  pass(400)
  patience.listen(50)
  pass(52)
  t.match(told, [['silence', /^(449|450|451)$/]])
})

t.test('who pauses hears nothing, and that is no silence', async (t) => {
  const { patience, told, pass } = waitedFor(t, 10_000, 100)
  patience.listen(100)
  patience.pause()
  pass(1000)
  t.strictSame(told, [])
  patience.resume()
  pass(98)
  t.strictSame(told, [])
  pass(110)
  t.match(told, [['silence', Number]])
})

t.test('pausing does not stop the clock of the whole', async (t) => {
  const { patience, told, pass } = waitedFor(t, 1000, 100)
  patience.listen(100)
  patience.pause()
  pass(1100)
  t.match(told, [['total', /^(999|1000|1001)$/]])
})

t.test('nothing is told after the end', async (t) => {
  const { patience, told, pass } = waitedFor(t, 1000, 100)
  patience.listen(100)
  patience.end()
  pass(2000)
  t.strictSame(told, [])
})
