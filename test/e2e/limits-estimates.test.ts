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

/** What is reserved is about 60, or, of a request that does not bound its answer, as many as these. */
const outputTokens = 50
const lowEstimates: Record<string, { least: number; most: number; body?: Json }> = {
  'a provider that counts up to four times what was estimated': { least: 50, most: 200 },
  'answers longer than those that nobody bounds are taken to be': {
    least: 30,
    most: 200,
    body: { max_tokens: undefined },
  },
}

const cap = 3000
const perToken = prices.input / 1_000_000
const tokens = { tokensPerMinute: cap }
const usd = { usdPerDay: cap * perToken, usdPerMonth: 1.1 * cap * perToken }
// Each storm has a model, and with it limits, of its own.
const models = Object.fromEntries(
  Object.keys(lowEstimates).flatMap((_, n) => [
    [`tokens${n}`, tokens],
    [`usd${n}`, usd],
  ]),
)
const { replicas } = await startLimited(t, upstream, { models, gateway: { outputTokens } })

for (const [n, [what, { least, most, body }]] of Object.entries(lowEstimates).entries()) {
  const worst = most - 50
  for (const [kind, code] of [
    ['tokens', 'rate_limit_exceeded'],
    ['usd', 'insufficient_quota'],
  ]) {
    t.test(`${kind}: the cap is passed by no more than the error of one request: ${what}`, async (t) => {
      const provider = counting(least, most)
      upstream.behave(provider.behaviour)
      const { ok, codes } = await storm(replicas, 1, { ...body, model: `${kind}${n}` })
      t.comment(`${provider.used()} of ${cap}, in ${ok} requests`)
      t.ok(provider.used() <= cap + worst, `${provider.used()} of ${cap}`)
      t.ok(provider.used() >= 0.95 * cap, `${provider.used()} of ${cap}`)
      t.strictSame([...codes], [code])
    })
  }
}
