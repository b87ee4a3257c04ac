import t from 'tap'
import { lifetimeOf, textOf } from '../../src/store/stored-value.ts'

t.test('a value is kept as its JSON', async (t) => {
  t.equal(textOf({ a: [1, null, 'é'] }), '{"a":[1,null,"é"]}')
  t.equal(textOf(null), 'null')
  t.throws(() => textOf(undefined), new TypeError('a value of type undefined is no JSON value and cannot be stored'))
  t.throws(() => textOf(() => 1), new TypeError('a value of type function is no JSON value and cannot be stored'))
})

t.test('a lifetime is in whole milliseconds, at least one', async (t) => {
  t.equal(lifetimeOf(undefined), undefined)
  t.equal(lifetimeOf(3600), 3_600_000)
  t.equal(lifetimeOf(0.0001), 1)
  for (const ages of [Number.MAX_SAFE_INTEGER, 1e300, Number.MAX_VALUE])
    t.equal(lifetimeOf(ages), undefined, 'for good')
  for (const none of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) t.throws(() => lifetimeOf(none), RangeError)
})
