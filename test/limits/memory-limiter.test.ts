import t from 'tap'
import { MemoryLimiter } from '../../src/index.ts'
import { granted, keepsTheContract, limit, nothing, refused } from './limiter-contract.ts'

keepsTheContract(t, (_t, options) => new MemoryLimiter(options))

/** One whose clock the test turns. */
function timed(start: string) {
  const clock = { now: Date.parse(start) }
  return { clock, limiter: new MemoryLimiter({ now: () => clock.now }) }
}

t.test('a minute is sixty seconds, and the step in which it began', async (t) => {
  const { clock, limiter } = timed('2026-03-01T12:00:00.700Z')
  await granted(limiter, limit('requests', 10, 7))
  clock.now += 20_000
  await granted(limiter, limit('requests', 10, 3))
  t.match(await refused(limiter, limit('requests', 10, 4)), { retryAfterMs: 40_300 })
  t.match(await refused(limiter, limit('requests', 10, 8)), { retryAfterMs: 60_300 })
  clock.now += 40_299
  await refused(limiter, limit('requests', 10, 7))
  clock.now += 1
  await granted(limiter, limit('requests', 10, 7))
})

t.test('a stream that takes longer than a minute gives nothing back, and owes what was more', async (t) => {
  const { clock, limiter } = timed('2026-03-01T12:00:00Z')
  const [less, more] = [
    await granted(limiter, limit('tokens', 1000, 40)),
    await granted(limiter, limit('tokens', 1000, 40)),
  ]
  clock.now += 90_000
  await limiter.settle(less, { ...nothing, tokens: 10 })
  t.match(await granted(limiter, limit('tokens', 1000, 1)), { uses: [{ used: 1 }] })
  await limiter.settle(more, { ...nothing, tokens: 70 })
  t.match(await granted(limiter, limit('tokens', 1000, 1)), { uses: [{ used: 32 }] })
})

t.test('a cost belongs to the day in which its request began', async (t) => {
  const { clock, limiter } = timed('2026-02-28T23:59:59Z')
  const limits = [limit('usd_day', 100, 60), limit('usd_month', 100, 60)]
  const late = await granted(limiter, ...limits)
  t.match(await refused(limiter, ...limits), { retryAfterMs: 1000 })
  clock.now += 1000
  await limiter.settle(late, { ...nothing, usd: 90e-9 })
  await granted(limiter, ...limits)
  t.match(await refused(limiter, ...limits), { uses: [{ used: 60e-9 }, { used: 60e-9 }] }, 'not to the next one')
})

t.test('the months of a year follow each other', async (t) => {
  const { clock, limiter } = timed('2026-01-31T00:00:00Z')
  for (let month = 1; month <= 14; month++) {
    await limiter.settle(await granted(limiter, limit('usd_month', 1)), { ...nothing, usd: 1e-9 })
    const { retryAfterMs } = await refused(limiter, limit('usd_month', 1))
    clock.now += retryAfterMs
    t.equal(new Date(clock.now).toISOString(), new Date(Date.UTC(2026, month)).toISOString())
  }
})

t.test('usage of yesterday is not of today, but of the month', async (t) => {
  const { clock, limiter } = timed('2026-03-01T12:00:00Z')
  await limiter.settle(await granted(limiter, limit('requests', 5)), { tokens: 10, usd: 1, keyId: 'k' })
  clock.now += 86_400_000
  t.match(await limiter.usageOf('k'), {
    today: { requests: 0, tokens: 0, usd: 0 },
    month: { requests: 1, tokens: 10, usd: 1 },
  })
  clock.now += 31 * 86_400_000
  t.match(await limiter.usageOf('k'), { today: { requests: 0 }, month: { requests: 0 } })
})

/** Whether there is room for two at the same time, of whose caps a tenth is estimated for each. */
const isRoomForTwo = async (limiter: MemoryLimiter): Promise<boolean> => {
  const one = limit('tokens', 100, 10)
  const first = await granted(limiter, one)
  const answer = await limiter.reserve([one])
  for (const each of [first, answer]) if (each.granted) await limiter.settle(each, { ...nothing, tokens: 10 })
  return answer.granted
}

/** How wrong each one is, one after the other, with a pause after each. */
async function seen(limiter: MemoryLimiter, clock: { now: number }, errors: number[], pauseMs: number): Promise<void> {
  for (const error of errors) {
    await limiter.settle(await granted(limiter, limit('tokens', 100, 10)), { ...nothing, tokens: 10 + error })
    clock.now += pauseMs
  }
}

const exact = (count: number): number[] => Array.from({ length: count }, () => 0)

t.test('of few, how wrong they were is remembered for an hour or more', async (t) => {
  const { clock, limiter } = timed('2026-03-01T12:00:00Z')
  await seen(limiter, clock, [85, 85, ...exact(20)], 61_000)
  t.notOk(await isRoomForTwo(limiter), 'another two may be as wrong')
  clock.now = Date.parse('2026-03-01T13:01:00Z')
  t.notOk(await isRoomForTwo(limiter), 'in the hour that follows as well')
  await seen(limiter, clock, exact(20), 61_000)
  clock.now = Date.parse('2026-03-01T14:10:00Z')
  t.ok(await isRoomForTwo(limiter))
})

t.test('of many, for five minutes or more', async (t) => {
  const { clock, limiter } = timed('2026-03-01T12:00:00Z')
  await seen(limiter, clock, [85, 85], 61_000)
  await seen(limiter, clock, exact(63), 7000)
  t.notOk(await isRoomForTwo(limiter))
  await seen(limiter, clock, exact(64), 7000)
  t.ok(await isRoomForTwo(limiter))
})

t.test('after two hours without any, nothing is known', async (t) => {
  const { clock, limiter } = timed('2026-03-01T12:00:00Z')
  await seen(limiter, clock, exact(20), 61_000)
  await limiter.settle(await granted(limiter, limit('tokens', 100, 20)), { ...nothing, tokens: 20 })
  clock.now += 7_200_000
  await granted(limiter, limit('tokens', 100, 20))
  t.match(await refused(limiter, limit('tokens', 100, 60)), { isInDoubt: true })
})
