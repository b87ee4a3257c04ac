import t from 'tap'
import type { KeyLimits } from '../../src/index.ts'
import { appliedLimits } from '../../src/limits/applied-limits.ts'

const amountOf = (limits: KeyLimits, whole: [tokens: number, usd: number], least = whole): number | undefined => {
  const [tokens, usd] = whole
  const limited = [{ scope: 'key' as const, id: 'a', limits }]
  return appliedLimits(limited, { tokens, usd, least: { tokens: least[0], usd: least[1] } })[0]?.amount
}

t.test('what a request bounds itself is what it takes, also when that is more than there can be', async (t) => {
  t.equal(amountOf({ tokensPerMinute: 100 }, [40, 0]), 40)
  t.equal(amountOf({ tokensPerMinute: 100 }, [140, 0]), 140)
  t.equal(amountOf({ usdPerDay: 1 }, [0, 1.5]), 1.5e9)
})

t.test('an answer that nobody bounds is not assumed to be more than there is room for beside its prompt', async (t) => {
  t.equal(amountOf({ tokensPerMinute: 100 }, [90, 0], [10, 0]), 90)
  t.equal(amountOf({ tokensPerMinute: 100 }, [1034, 0], [10, 0]), 100)
  t.equal(amountOf({ usdPerDay: 1 }, [0, 1.5], [0, 0.5]), 1e9)
})

t.test('a prompt that is more than there can be stays so, whatever is assumed of its answer', async (t) => {
  t.equal(amountOf({ tokensPerMinute: 100 }, [1224, 0], [200, 0]), 200)
  t.equal(amountOf({ usdPerMonth: 1 }, [0, 3], [0, 2]), 2e9)
})
