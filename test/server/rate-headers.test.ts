import t from 'tap'
import { durationText, rateHeaders } from '../../src/server/rate-headers.ts'

t.test('durations are written as OpenAI writes them', async (t) => {
  const written = {
    '0s': 0,
    '1ms': 0.2,
    '20ms': 20,
    '1s': 1000,
    '59.998s': 59_998,
    '1m0s': 60_000,
    '1m0.5s': 60_500,
    '6m0s': 360_000,
    '1h0m0s': 3_600_000,
    '25h1m1s': 90_061_000,
  }
  for (const [text, ms] of Object.entries(written)) t.equal(durationText(ms), text)
  t.equal(durationText(-5), '0s')
})

t.test('of several limits that is told of which least is left; others have no headers', async (t) => {
  const of = { limit: 'tokens', resetMs: 60_000, held: 0 } as const
  t.strictSame(
    rateHeaders([
      { ...of, scope: 'key', id: 'x', used: 10, cap: 100 },
      { ...of, scope: 'model', id: 'x', used: 950, cap: 1000 },
      { ...of, scope: 'gateway', id: 'x', used: 10, cap: 1000 },
      { limit: 'usd_day', scope: 'key', id: 'x', used: 1, held: 0, cap: 1, resetMs: 1 },
      { limit: 'concurrency', scope: 'key', id: 'x', used: 1, held: 0, cap: 1, resetMs: 1 },
    ]),
    {
      'x-ratelimit-limit-tokens': '1000',
      'x-ratelimit-remaining-tokens': '50',
      'x-ratelimit-reset-tokens': '1m0s',
    },
  )
  t.strictSame(rateHeaders([]), {})
})

t.test('what is owed is not less than nothing', async (t) => {
  const uses = [{ limit: 'tokens', scope: 'key', id: 'x', used: 120, held: 0, cap: 100, resetMs: 0 } as const]
  t.match(rateHeaders(uses), { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '0s' })
})

t.test('what is held back for others that are under way is not left', async (t) => {
  const of = { limit: 'tokens', scope: 'key', id: 'x', resetMs: 1000 } as const
  const uses = [
    { ...of, used: 60, held: 0, cap: 100 },
    { ...of, used: 20, held: 70, cap: 100 },
  ]
  t.match(rateHeaders(uses), { 'x-ratelimit-remaining-tokens': '10' })
})
