import fc from 'fast-check'
import t from 'tap'
import { frozenCopy } from '../../src/agent/frozen-copy.ts'
import { parseJSON } from '../../src/json.ts'

const isFrozenThroughout = (value: unknown): boolean =>
  typeof value !== 'object' ||
  value === null ||
  (Object.isFrozen(value) && Object.values(value).every(isFrozenThroughout))

t.test('any object comes back as JSON would give it back, frozen, and is left alone itself', async (t) => {
  const anything = fc.anything({ withNullPrototype: true, withDate: true, withSparseArray: true, withMap: true })
  const property = fc.property(
    fc.oneof(fc.dictionary(fc.string(), anything), fc.object(), fc.array(anything)),
    (value) => {
      const before = fc.stringify(value)
      const copy = frozenCopy(value)
      return (
        JSON.stringify(copy) === JSON.stringify(value) &&
        isFrozenThroughout(copy) &&
        !Object.isFrozen(value) &&
        fc.stringify(value) === before
      )
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
})

t.test('what is not JSON is what JSON makes of it', async (t) => {
  class Message {
    role = 'user'
  }
  const cases: [value: object, text: string][] = [
    [{ a: undefined, b: 1 }, '{"b":1}'],
    [{ a: [undefined, () => 1, Symbol('s'), Number.NaN] }, '{"a":[null,null,null,null]}'],
    [{ a: new Array(2) }, '{"a":[null,null]}'],
    [{ at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
    [{ a: { toJSON: () => ({ b: 1 }) } }, '{"a":{"b":1}}'],
    [new Message(), '{"role":"user"}'],
    [{ a: Object.create(null, { b: { value: 1, enumerable: true } }) }, '{"a":{"b":1}}'],
    [
      {
        get a() {
          return 1
        },
      },
      '{"a":1}',
    ],
  ]
  for (const [value, text] of cases) {
    const copy = frozenCopy(value)
    t.strictSame(copy, JSON.parse(text), text)
    t.equal(JSON.stringify(copy), text)
    t.ok(isFrozenThroughout(copy), text)
  }
})

t.test('minus zero is zero', async (t) => t.ok(Object.is((frozenCopy({ n: -0 }) as { n: number }).n, 0)))

t.test('a number that a double cannot hold keeps its digits', async (t) => {
  const text = '{"deep":[{"seed":12345678901234567890,"weight":1e400}]}'
  t.equal(JSON.stringify(frozenCopy(parseJSON(text) as object)), text)
})
