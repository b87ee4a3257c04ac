// biome-ignore-all lint/suspicious/noTemplateCurlyInString: this is how a configuration refers to a variable.
import fc from 'fast-check'
import t from 'tap'
import { expandEnvironment } from '../../src/config/expand.ts'

const env = { NAME: 'signalbox', PORT: '4000', EMPTY: '', DOLLAR: '$', NESTED: '${NAME}', _x1: 'underscored' }
const expand = (text: string): unknown => expandEnvironment(text, env).value

t.test('a reference becomes the value of its variable', async (t) => {
  t.equal(expand('${NAME}'), 'signalbox')
  t.equal(expand('http://${NAME}:${PORT}/v1'), 'http://signalbox:4000/v1')
  t.equal(expand('${_x1}'), 'underscored')
})

t.test('text that is no reference stays', async (t) => {
  for (const text of ['', 'plain', '$NAME', '$', '$$', '{NAME}', '${', '${}', '${1X}', '${NA ME}', 'a$b{c}']) {
    t.equal(expand(text), text)
  }
})

t.test('what a variable holds is not expanded again', async (t) => {
  t.equal(expand('${NESTED}'), '${NAME}')
  t.equal(expand('${DOLLAR}{NAME}'), '${NAME}')
  t.equal(expandEnvironment('${A}', { A: '$& $1 $`' }).value, '$& $1 $`', 'nor is it a pattern')
})

t.test('a default stands in for a variable that is not set or empty', async (t) => {
  t.equal(expand('${MISSING:-y}'), 'y')
  t.equal(expand('${EMPTY:-y}'), 'y')
  t.equal(expand('${NAME:-y}'), 'signalbox')
  t.equal(expand('${MISSING:-}'), '')
  t.equal(expand('${MISSING:-http://x:1/a-b}'), 'http://x:1/a-b')
  t.strictSame(expandEnvironment('${MISSING:-y}', env).missing, [])
})

t.test('$${ is a literal ${', async (t) => {
  t.equal(expand('$${NAME}'), '${NAME}')
  t.equal(expand('$${MISSING}'), '${MISSING}')
  t.equal(expand('$${NAME} is ${NAME}'), '${NAME} is signalbox')
  t.strictSame(expandEnvironment('$${MISSING}', env).missing, [])
})

t.test('a variable that is not set is told, with the place where it is used', async (t) => {
  const { value, missing } = expandEnvironment(
    { providers: { a: { apiKey: '${MISSING}' }, b: { headers: ['x', '${MISSING} ${OTHER}'] } }, c: '${EMPTY}' },
    env,
  )
  t.strictSame(missing, [
    { path: ['providers', 'a', 'apiKey'], name: 'MISSING' },
    { path: ['providers', 'b', 'headers', '1'], name: 'MISSING' },
    { path: ['providers', 'b', 'headers', '1'], name: 'OTHER' },
    { path: ['c'], name: 'EMPTY' },
  ])
  t.match(value, { c: '${EMPTY}' }, 'and its reference stays')
})

t.test('values are expanded wherever they are, keys and everything that is no text are not', async (t) => {
  const document = { '${NAME}': '${NAME}', list: ['${PORT}', 4000, true, null, { deep: '${NAME}' }] }
  t.strictSame(expandEnvironment(document, env).value, {
    '${NAME}': 'signalbox',
    list: ['4000', 4000, true, null, { deep: 'signalbox' }],
  })
  t.equal(document.list[0], '${PORT}', 'the document itself is left alone')
})

t.test('what came from the environment, and only that, is converted to what is wanted in its place', async (t) => {
  const document = { a: ['x', '${PORT}'], 'b/c': { d: '${NAME}' }, e: '$${NAME}', f: '${Z:-1}', g: '${MISSING}' }
  const converted: string[] = []
  const { value } = expandEnvironment(document, env, (text, path) => {
    converted.push(`${path.join('.')}=${text}`)
    return path.at(-1) === '1' ? Number(text) : text
  })
  t.strictSame(converted, ['a.1=4000', 'b/c.d=signalbox', 'f=1'])
  t.match(value, { a: ['x', 4000] })
})

t.test('a document without references stays what it is', async (t) => {
  const property = fc.property(fc.jsonValue(), (document) => {
    fc.pre(!JSON.stringify(document).includes('${'))
    const { value, missing } = expandEnvironment(document, {})
    return JSON.stringify(value) === JSON.stringify(document) && missing.length === 0
  })
  t.doesNotThrow(() => fc.assert(property))
})
