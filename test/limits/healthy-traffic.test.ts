/** Two hours of ordinary traffic, by a clock that the test turns: what the doubt about estimates costs who is within its limits. */
import t from 'tap'
import { MemoryLimiter } from '../../src/index.ts'
import { limit } from './limiter-contract.ts'

/** The same every time. */
function chances(seed: number) {
  let state = seed
  const next = (): number => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32
    return state / 2 ** 32
  }
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
  return {
    /** Around a median: most are near it, few are many times that. */
    spread: (median: number, width: number): number => Math.ceil(median * Math.exp(width * normal())),
    pause: (mean: number): number => -mean * Math.log(1 - next()),
    isOneOf: (count: number): boolean => next() * count < 1,
  }
}

const cap = 100_000

/** Twenty callers that set no `max_tokens`, and come again a second after they were refused. */
async function traffic(pauseMs: number, longOneOf: number) {
  const clock = { now: Date.parse('2026-03-01T12:00:00Z') }
  const limiter = new MemoryLimiter({ now: () => clock.now })
  const { spread, pause, isOneOf } = chances(7)
  const due: { at: number; run(): Promise<void> | void }[] = []
  const later = (ms: number, run: () => Promise<void> | void): void => void due.push({ at: clock.now + ms, run })
  const seen = { asked: 0, refused: 0, most: 0, worst: 0 }
  const ask = (): void => {
    seen.asked++
    const prompt = spread(500, 0.8)
    const answer = isOneOf(longOneOf) ? 16_000 : Math.min(16_000, spread(300, 0.8))
    const one = limit('tokens', cap, prompt + 1024)
    const attempt = (isFirst: boolean): void => {
      const reservation = limiter.reserveNow([one])
      if (!reservation.granted) {
        if (isFirst) seen.refused++
        later(1000, () => attempt(false))
        return
      }
      later(300 + answer * 12, async () => {
        await limiter.settle(reservation, { tokens: prompt + answer, usd: 0, keyId: undefined })
        const [use] = limiter.reserveNow([limit('tokens', cap, 0)]).uses
        seen.most = Math.max(seen.most, use?.used ?? 0)
        seen.worst = Math.max(seen.worst, answer - 1024)
        later(pause(pauseMs), ask)
      })
    }
    attempt(true)
  }
  for (let n = 0; n < 20; n++) later(pause(5000), ask)
  const end = clock.now + 7_200_000
  while (clock.now < end) {
    due.sort((one, other) => other.at - one.at)
    const next = due.pop()
    if (!next) break
    clock.now = next.at
    await next.run()
  }
  return seen
}

t.test('who uses six tenths of a cap hardly ever waits', async (t) => {
  const { asked, refused } = await traffic(15_000, Infinity)
  t.comment(`${refused} of ${asked} refused`)
  t.ok(asked > 5000)
  t.ok(refused < 0.03 * asked, `${refused} of ${asked}`)
})

t.test('nor does everybody after an answer that is much longer than all others', async (t) => {
  const { asked, refused } = await traffic(15_000, 1000)
  t.comment(`${refused} of ${asked} refused`)
  t.ok(refused < 0.15 * asked, `${refused} of ${asked}`)
})

t.test('who asks for twice the cap does not pass it by more than one answer', async (t) => {
  const { asked, refused, most, worst } = await traffic(0, 200)
  t.comment(`${most} of ${cap}, where the worst was ${worst}; ${refused} of ${asked} refused`)
  t.ok(refused > 0)
  t.ok(most <= cap + worst, `${most} of ${cap}`)
})
