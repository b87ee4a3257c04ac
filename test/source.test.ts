import t from 'tap'
import { parseJSON } from '../src/json.ts'
import { toJSONText, withSource } from '../src/source.ts'

const parsed = (text: string): object => withSource(parseJSON(text) as object, text)

t.test('a value goes out as the text that it came from, to the byte', async (t) => {
  for (const text of ['{"a":1.0}', ' { "b" : [ 1e2 ] }\n', '{"a":1,"a":2}', '{"__proto__":1,"é":"\\u00e9\\/"}']) {
    t.equal(toJSONText(parsed(text)), text)
  }
})

t.test('a changed copy is written anew', async (t) => {
  const value = parsed('{"a":1.0,"b":9007199254740993}')
  t.equal(toJSONText({ ...value, c: 3 }), '{"a":1,"b":9007199254740993,"c":3}')
  t.equal(toJSONText(structuredClone({ a: 1 })), '{"a":1}')
})

t.test('a value of our own is written as usual', async (t) => {
  t.equal(toJSONText({ b: [1, 'x'], a: undefined }), '{"b":[1,"x"]}')
  t.equal(toJSONText([1]), '[1]')
})
