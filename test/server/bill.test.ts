import t from 'tap'
import { Bill, type Prices } from '../../src/server/bill.ts'
import type { Usage } from '../../src/types.ts'

const tokens = (prompt_tokens: number): Usage => ({ prompt_tokens, completion_tokens: 0, total_tokens: prompt_tokens })
const at = (model: string) => ({ provider: 'lab', model })

/** A dollar a token at `dear`, half of it at `cheap`, nothing at `free`; elsewhere it is not known. */
const known: Record<string, number> = { 'lab/dear': 1, 'lab/cheap': 0.5, 'lab/free': 0 }
const prices: Prices = {
  cost(provider, model, { prompt_tokens }) {
    const price = known[`${provider}/${model}`]
    return price === undefined ? undefined : price * prompt_tokens
  },
}

t.test('an answer costs what its usage costs, whoever gave it', async (t) => {
  const bill = new Bill(prices)
  t.equal(bill.total(tokens(3), at('dear')), 3)
  t.equal(bill.total(tokens(3), at('cheap')), 1.5)
  t.equal(bill.total(tokens(3), at('free')), 0, 'a price of 0 is one')
})

t.test('what is not known is unknown, and never 0', async (t) => {
  const bill = new Bill(prices)
  t.equal(bill.total(tokens(3), at('other')), 'unknown', 'the price')
  t.equal(bill.total(undefined, at('dear')), 'unknown', 'the usage')
  t.equal(bill.total(tokens(3), undefined), 'unknown', 'who served')
  t.equal(new Bill(undefined).total(tokens(3), at('dear')), 'unknown', 'any price')
})

t.test('a run costs the sum of its calls, each at the price of whom it was sent to', async (t) => {
  const bill = new Bill(prices)
  bill.add(tokens(3), at('dear'))
  bill.add(tokens(4), at('cheap'))
  bill.add(tokens(5), at('free'))
  t.equal(bill.total(tokens(12), at('free')), 5, 'and not that of their sum')
  t.strictSame(bill.usages, [tokens(3), tokens(4), tokens(5)])
})

t.test('one call that is not known makes the run unknown', async (t) => {
  for (const [usage, model] of [
    [tokens(1), 'other'],
    [undefined, 'dear'],
  ] as const) {
    const bill = new Bill(prices)
    bill.add(tokens(3), at('dear'))
    bill.add(usage, at(model))
    bill.add(tokens(3), at('dear'))
    t.equal(bill.total(tokens(6), at('dear')), 'unknown')
  }
})
