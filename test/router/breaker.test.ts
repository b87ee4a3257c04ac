import fc from 'fast-check'
import t from 'tap'
import { Breaker } from '../../src/router/breaker.ts'
import type { BreakerState } from '../../src/types.ts'

/** A breaker with a clock of its own, and what it told. */
function breakerOf(options = {}) {
  const states: BreakerState[] = []
  const clock = { now: 1000 }
  const breaker = new Breaker({ minimumRequests: 4, openFor: 100, now: () => clock.now, ...options }, (state) =>
    states.push(state),
  )
  const enter = (): number => breaker.enter() ?? Number.NaN
  const fail = (times = 1): void => {
    for (let n = 0; n < times; n++) breaker.fail(enter())
  }
  return { breaker, states, clock, enter, fail }
}

t.test('opens when more than the threshold of enough requests has failed', async (t) => {
  const { breaker, states, enter, fail } = breakerOf()
  breaker.succeed(enter())
  breaker.succeed(enter())
  fail(2)
  t.equal(breaker.state, 'closed', 'half of them is not more than half')
  t.equal(breaker.waitMs(), undefined)
  fail()
  t.equal(breaker.state, 'open')
  t.equal(breaker.enter(), undefined)
  t.equal(breaker.waitMs(), 100)
  t.strictSame(states, ['open'])
})

t.test('a few requests tell nothing', async (t) => {
  const { breaker, fail } = breakerOf()
  fail(3)
  t.equal(breaker.state, 'closed')
  for (const minimumRequests of [1, 2, 3, 5, 7, 11, 13]) {
    for (const window of [1000, 3000, 7000, 10_000]) {
      const { breaker, fail } = breakerOf({ minimumRequests, window })
      fail(minimumRequests - 1)
      t.equal(breaker.state, 'closed', `${minimumRequests} in ${window}`)
      fail()
      t.equal(breaker.state, 'open', `${minimumRequests} in ${window}`)
    }
  }
})

t.test('failures before a long silence are forgotten', async (t) => {
  const { breaker, clock, fail } = breakerOf()
  fail(3)
  clock.now += 10_001
  fail()
  t.equal(breaker.state, 'closed')
})

t.test('then lets one request try', async (t) => {
  t.test('which closes it when it succeeds', async (t) => {
    const { breaker, states, clock, enter, fail } = breakerOf()
    fail(4)
    clock.now += 100
    t.equal(breaker.waitMs(), undefined, 'it takes one')
    const pass = enter()
    t.equal(breaker.enter(), undefined, 'and no other')
    t.ok(Number(breaker.waitMs()) > 0)
    breaker.succeed(pass)
    t.strictSame(states, ['open', 'half_open', 'closed'])
    fail(2)
    t.equal(breaker.state, 'closed', 'and begins to count anew')
    fail()
    t.equal(breaker.state, 'open', 'with the one that tried')
  })

  t.test('which closes it as soon as it is seen to be alive, and counts when it breaks after that', async (t) => {
    const { breaker, clock, enter, fail } = breakerOf()
    fail(4)
    clock.now += 100
    const pass = enter()
    breaker.alive(pass)
    t.equal(breaker.state, 'closed')
    fail(3)
    breaker.fail(pass)
    t.equal(breaker.state, 'open')
  })

  t.test('which opens it again when it fails', async (t) => {
    const { breaker, states, clock, enter, fail } = breakerOf()
    fail(4)
    clock.now += 100
    breaker.fail(enter())
    t.equal(breaker.waitMs(), 100)
    t.strictSame(states, ['open', 'half_open', 'open'])
  })

  t.test('and the next, when nothing was learnt from it', async (t) => {
    const { breaker, clock, enter, fail } = breakerOf()
    fail(4)
    clock.now += 100
    breaker.leave(enter())
    t.equal(breaker.state, 'half_open')
    t.not(breaker.enter(), undefined)
  })

  t.test('and the next, when nobody tells what became of it', async (t) => {
    const { breaker, clock, enter, fail } = breakerOf()
    fail(4)
    clock.now += 100
    const lost = enter()
    clock.now += 100
    const next = enter()
    breaker.succeed(lost)
    t.equal(breaker.state, 'half_open', 'what it tells at last is too late')
    breaker.succeed(next)
    t.equal(breaker.state, 'closed')
  })
})

t.test('requests of before it opened change nothing any more', async (t) => {
  const { breaker, states, clock, enter, fail } = breakerOf()
  const before = Array.from({ length: 5 }, enter)
  fail(4)
  clock.now += 60
  for (const pass of before) breaker.fail(pass)
  t.equal(breaker.waitMs(), 40, 'it is not open for longer')
  for (const pass of before) breaker.succeed(pass)
  t.strictSame(states, ['open'])
})

t.test('whatever happens: nothing is let through while it is open, and one at a time while it tries', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('enter' as const) }),
    fc.record({
      do: fc.constantFrom('succeed' as const, 'fail' as const, 'leave' as const, 'alive' as const),
      which: fc.nat(),
    }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(150) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const { breaker, clock, states } = breakerOf({ minimumRequests: 2 })
      const open: number[] = []
      let openedAt = 0
      let trying: { pass: number; since: number } | undefined
      for (const each of steps) {
        if (each.do === 'wait') {
          clock.now += each.ms
        } else if (each.do === 'enter') {
          const before = breaker.state
          const promised = breaker.waitMs()
          const pass = breaker.enter()
          if ((promised === undefined) !== (pass !== undefined)) throw new Error('it does not do what it tells')
          if (pass === undefined) continue
          if (before === 'open' && clock.now < openedAt + 100) throw new Error('it let one through while open')
          if (before === 'half_open' && trying && clock.now < trying.since + 100) throw new Error('two tried')
          if (before !== 'closed') trying = { pass, since: clock.now }
          open.push(pass)
        } else if (open.length > 0) {
          const [pass = 0] = open.splice(each.which % open.length, 1)
          if (each.do === 'alive') open.push(pass)
          const before = states.length
          breaker[each.do](pass)
          if (trying?.pass === pass && each.do !== 'alive') trying = undefined
          if (states.length > before && breaker.state === 'open') openedAt = clock.now
        }
      }
      const allowed = { open: ['half_open'], half_open: ['open', 'closed'], closed: ['open'] }
      for (const [n, state] of states.entries()) {
        if (!allowed[states[n - 1] ?? 'closed'].includes(state)) throw new Error(states.join(' '))
      }
    }),
    { numRuns: 300 },
  )
})
