/** Four processes on one Redis, a hundred callers at the same time at each of them, and estimates that are too low. */
import t from 'tap'
import { type Behaviour, completion, type Json, startUpstream } from '../upstream.ts'
import { prices, startLimited, storm, usage } from './limited-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

/** A provider that counts for each second request the most, and for the others the least; and what it has counted. */
function counting(least: number, most: number): { used(): number; behaviour: Behaviour } {
  let used = 0
  let n = 0
  return {
    used: () => used,
    behaviour: (request, exchange) => {
      const completion_tokens = (n++ % 2 === 0 ? most : least) - usage.prompt_tokens
      const total_tokens = usage.prompt_tokens + completion_tokens
      used += total_tokens
      return completion({ usage: { ...usage, completion_tokens, total_tokens }, firstDelayMs: 20 })(request, exchange)
    },
  }
}

/** What is reserved is about 60, or, of a request that does not bound its answer, as many as the last of these. */
const lowEstimates: Record<string, { least: number; most: number; body?: Json; outputTokens?: number }> = {
  'a provider that counts up to four times what was estimated': { least: 50, most: 200 },
  'answers longer than those that nobody bounds are taken to be': {
    least: 30,
    most: 200,
    body: { max_tokens: undefined },
    outputTokens: 50,
  },
}

for (const [what, { least, most, body, outputTokens }] of Object.entries(lowEstimates)) {
  t.test(`estimates that are too low: ${what}`, async (t) => {
    const worst = most - 50
    await t.test('tokens: the cap is passed by no more than the error of one request', async (t) => {
      const cap = 3000
      const { replicas } = await startLimited(t, upstream, {
        key: { tokensPerMinute: cap },
        ...(outputTokens && { gateway: { outputTokens } }),
      })
      const provider = counting(least, most)
      upstream.behave(provider.behaviour)
      const { ok, codes } = await storm(replicas, 1, body)
      t.comment(`${provider.used()} of ${cap}, in ${ok} requests`)
      t.ok(provider.used() <= cap + worst, `${provider.used()} of ${cap}`)
      t.ok(provider.used() >= 0.95 * cap, `${provider.used()} of ${cap}`)
      t.strictSame([...codes], ['rate_limit_exceeded'])
    })
    await t.test('USD: so is the budget', async (t) => {
      const perToken = prices.input / 1_000_000
      const cap = 3000 * perToken
      const { replicas } = await startLimited(t, upstream, {
        key: { usdPerDay: cap },
        gateway: { usdPerMonth: 1.1 * cap, ...(outputTokens && { outputTokens }) },
      })
      const provider = counting(least, most)
      upstream.behave(provider.behaviour)
      const { codes } = await storm(replicas, 1, body)
      const spent = provider.used() * perToken
      t.comment(`${spent} of ${cap} USD`)
      t.ok(spent <= cap + worst * perToken, `${spent} of ${cap}`)
      t.ok(spent >= 0.95 * cap, `${spent} of ${cap}`)
      t.strictSame([...codes], ['insufficient_quota'])
    })
  })
}
