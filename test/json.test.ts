import fc from 'fast-check'
import t from 'tap'
import { isObject, isWithinDepth, parseJSON } from '../src/json.ts'

const roundTrip = (text: string): string => JSON.stringify(parseJSON(text))

t.test('numbers that a double cannot hold come out as they came in', async (t) => {
  for (const number of [
    '9007199254740993',
    '-9007199254740993',
    '9223372036854775807',
    '18446744073709551615',
    '123456789012345678901234567890',
    '1e400',
    '-1e400',
    '1.5E+999',
  ]) {
    t.equal(roundTrip(`{"seed":${number}}`), `{"seed":${number}}`, number)
    t.equal(roundTrip(`[1,${number},{"a":[${number}]}]`), `[1,${number},{"a":[${number}]}]`, `${number}, nested`)
    t.equal(roundTrip(`{"seed": ${number}}`), `{"seed":${number}}`, `${number}, after white space`)
  }
})

t.test('numbers that a double holds are plain numbers, also beside one that it does not', async (t) => {
  const { logprob, bytes, big } = parseJSON('{"logprob":-0.31725305,"bytes":[72,105],"big":9007199254740993}') as {
    logprob: number
    bytes: number[]
    big: unknown
  }
  t.equal(logprob, -0.31725305)
  t.strictSame(bytes, [72, 105])
  t.not(typeof big, 'number')
  t.equal(parseJSON('9007199254740991'), Number.MAX_SAFE_INTEGER)
  t.strictSame(parseJSON('[-1.1920929e-7,1e21,0.1,0]'), [-1.1920929e-7, 1e21, 0.1, 0])
})

t.test('digits inside a string are text', async (t) => {
  t.strictSame(parseJSON('{"id":" 12345678901234567890","a":":1e400"}'), { id: ' 12345678901234567890', a: ':1e400' })
})

t.test('a key named __proto__ is a key like any other', async (t) => {
  for (const text of ['{"__proto__":{"admin":true},"a":1}', '{"__proto__":{"admin":true},"a":9007199254740993}']) {
    const value = parseJSON(text) as { admin?: boolean }
    t.equal(value.admin, undefined)
    t.equal(Object.getPrototypeOf(value), Object.prototype)
    t.equal(JSON.stringify(value), text)
    t.equal(JSON.stringify({ ...value }), text, 'also after a spread')
  }
})

t.test('what is not JSON throws a SyntaxError', async (t) => {
  for (const text of ['', '{', '{"a":01}', "{'a':1}", '[1,]', '{"a":12345678901234567890', 'NaN', '[1e]']) {
    t.throws(() => parseJSON(text), SyntaxError, text)
  }
})

t.test('for ordinary JSON it is JSON.parse', async (t) => {
  const property = fc.property(fc.json({ maxDepth: 8 }), fc.constantFrom(undefined, 1, '\t'), (json, space) => {
    const text = JSON.stringify(JSON.parse(json), null, space)
    return JSON.stringify(parseJSON(text)) === JSON.stringify(JSON.parse(text))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('every integer, however long, survives the round trip', async (t) => {
  const property = fc.property(fc.bigInt(), fc.string(), (integer, key) => {
    const text = `{${JSON.stringify(key)}:[${integer},{"n":${integer}}]}`
    return roundTrip(text) === text
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('the depth of a value', async (t) => {
  const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth))

  t.test('counts arrays and objects', async (t) => {
    t.ok(isWithinDepth('text', 0))
    t.notOk(isWithinDepth([], 0))
    t.ok(isWithinDepth({}, 1))
    t.ok(isWithinDepth({ a: [{ b: 1 }] }, 3))
    t.notOk(isWithinDepth({ a: [{ b: 1 }] }, 2))
    t.notOk(isWithinDepth([1, 'two', { a: { b: {} } }], 3))
    t.ok(isWithinDepth([[], [], [[]]], 3), 'siblings do not add up')
  })

  t.test('is found without walking to the bottom', async (t) => {
    t.ok(isWithinDepth(nested(128), 128))
    t.notOk(isWithinDepth(nested(129), 128))
    t.notOk(isWithinDepth(nested(200_000), 128))
  })

  t.test('does not grow with a number that is kept as text', async (t) => {
    t.ok(isWithinDepth(parseJSON('{"a":[9007199254740993]}'), 2))
  })
})

t.test('an object is neither null nor an array, nor a number that is kept as text', async (t) => {
  t.ok(isObject({}))
  for (const value of [null, [], 'text', 1, undefined, parseJSON('[9007199254740993]')]) t.notOk(isObject(value))
  t.notOk((parseJSON('[9007199254740993]') as unknown[]).some(isObject))
})
