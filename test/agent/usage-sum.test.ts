import t from 'tap'
import { sumUsage } from '../../src/agent/usage-sum.ts'
import { parseJSON } from '../../src/json.ts'
import type { Usage } from '../../src/types.ts'

const usage = (total_tokens: number, more: object = {}): Usage => ({
  prompt_tokens: 1,
  completion_tokens: total_tokens - 1,
  total_tokens,
  ...more,
})

t.test('what several calls have used is added up, details included', async (t) => {
  const details = { prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 2 } }
  t.strictSame(sumUsage([usage(3, details), usage(5, details), usage(7)]), {
    prompt_tokens: 3,
    completion_tokens: 12,
    total_tokens: 15,
    prompt_tokens_details: { cached_tokens: 8 },
    completion_tokens_details: { reasoning_tokens: 4 },
  })
})

t.test('who does not tell adds nothing', async (t) => {
  t.equal(sumUsage([]), undefined)
  t.equal(sumUsage([undefined, undefined]), undefined)
  t.strictSame(sumUsage([undefined, usage(3), undefined]), usage(3))
})

t.test('a detail that one of them leaves out, or has as null', async (t) => {
  const sum = sumUsage([
    usage(2, { cost: null, prompt_tokens_details: null }),
    usage(2, { cost: 0.5, prompt_tokens_details: { cached_tokens: 1 } }),
  ])
  t.match(sum, { total_tokens: 4, cost: 0.5, prompt_tokens_details: { cached_tokens: 1 } })
})

t.test('what was summed is left alone', async (t) => {
  const first = usage(2, { prompt_tokens_details: { cached_tokens: 1 } })
  sumUsage([first, first, first])
  t.strictSame(first, usage(2, { prompt_tokens_details: { cached_tokens: 1 } }))
})

t.test('what is no number is not added', async (t) => {
  const odd = parseJSON('{"total_tokens":1,"seed":12345678901234567890,"tier":"a","__proto__":{"x":1}}') as Usage
  const sum = sumUsage([odd, odd])
  t.equal(JSON.stringify(sum), '{"total_tokens":2,"seed":12345678901234567890,"tier":"a","__proto__":{"x":2}}')
  t.equal(({} as { x?: number }).x, undefined)
})
