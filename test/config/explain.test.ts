import t from 'tap'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { at, explain } from '../../src/config/explain.ts'

const strict = { additionalProperties: false }
const Schema = Type.Object(
  {
    port: Type.Integer({ minimum: 1, maximum: 65_535 }),
    host: Type.Optional(Type.String({ minLength: 1 })),
    wait: Type.Optional(Type.String({ pattern: '^\\d+s$', default: '15s' })),
    level: Type.Optional(Type.Union([Type.Literal('info'), Type.Literal('debug')])),
    limits: Type.Optional(Type.Object({ bodyLimit: Type.Optional(Type.Number()) }, strict)),
    keys: Type.Optional(Type.Array(Type.Object({ key: Type.String(), user: Type.Optional(Type.String()) }, strict))),
    models: Type.Optional(Type.Record(Type.String(), Type.Object({ weight: Type.Number() }, strict))),
  },
  strict,
)
const validator = Compile(Schema)

/** One line for everything that is wrong with a value. */
const explained = (value: unknown): string[] => {
  const lines = validator.Errors(value).map((violation) => explain(violation, Schema))
  return [...new Set(lines.filter((line) => line !== undefined))]
}

t.test('what is right needs no explanation', async (t) => {
  t.strictSame(explained({ port: 1, level: 'info', keys: [{ key: 'k' }], models: { a: { weight: 1 } } }), [])
})

t.test('a wrong type is told with its path', async (t) => {
  t.strictSame(explained({ port: 'x' }), ['port: must be integer'])
  t.strictSame(explained({ port: 1, limits: { bodyLimit: '1' } }), ['limits.bodyLimit: must be number'])
  t.strictSame(explained({ port: 1, keys: [{ key: 'k' }, { key: 5 }] }), ['keys.1.key: must be string'])
  t.match(explained('text'), ['(top level): must be object'])
})

t.test('a value out of range is told with the range', async (t) => {
  t.match(explained({ port: 0 }), ['port: must be >= 1'])
  t.match(explained({ port: 65_536 }), ['port: must be <= 65535'])
  t.match(explained({ port: 1, host: '' }), [/^host: must not have fewer than 1 characters/])
})

t.test('a missing key is named', async (t) => {
  t.match(explained({}), [/^\(top level\): must have required properties port$/])
  t.match(explained({ port: 1, models: { a: {} } }), [/^models\.a: must have required properties weight$/])
})

t.test('an unknown key is told with the nearest known one', async (t) => {
  for (const [value, line] of [
    [{ port: 1, prot: 1 }, 'prot: unknown key; did you mean "port"?'],
    [{ port: 1, Host: 'x' }, 'Host: unknown key; did you mean "host"?'],
    [{ port: 1, limits: { bodylimit: 1 } }, 'limits.bodylimit: unknown key; did you mean "bodyLimit"?'],
    [{ port: 1, keys: [{ key: 'k', usr: 'a' }] }, 'keys.0.usr: unknown key; did you mean "user"?'],
    [{ port: 1, models: { a: { weight: 1, wieght: 1 } } }, 'models.a.wieght: unknown key; did you mean "weight"?'],
  ] as const) {
    t.strictSame(explained(value), [line])
  }
})

t.test('an unknown key that is near to nothing is told with all that are known', async (t) => {
  t.strictSame(explained({ port: 1, keys: [{ key: 'k', permissions: 1 }] }), [
    'keys.0.permissions: unknown key; known keys: key, user',
  ])
})

t.test('a choice is told with what there is to choose', async (t) => {
  t.strictSame(explained({ port: 1, level: 'loud' }), ['level: must be one of info, debug'])
})

t.test('a pattern is told with an example', async (t) => {
  t.match(explained({ port: 1, wait: 'long' }), [/^wait: .*, for example 15s$/])
})

t.test('everything that is wrong is told, each once', async (t) => {
  t.strictSame(explained({ port: 'x', prot: 1, level: 'loud', limits: { bodyLimit: null } }).sort(), [
    'level: must be one of info, debug',
    'limits.bodyLimit: must be number',
    'port: must be integer',
    'prot: unknown key; did you mean "port"?',
  ])
})

t.test('a key with a slash or a tilde in it is told as it was written', async (t) => {
  t.match(explained({ port: 1, models: { 'openai/*': { weight: 'x' }, 'a~b': {} } }).sort(), [
    /^models\.a~b: /,
    'models.openai/*.weight: must be number',
  ])
})

t.test('the schema of a value is found by its path', async (t) => {
  t.equal(at([], Schema), Schema)
  t.match(at(['port'], Schema), { type: 'integer', maximum: 65_535 })
  t.match(at(['keys', '7', 'user'], Schema), { type: 'string' })
  t.match(at(['models', 'any', 'weight'], Schema), { type: 'number' })
  t.equal(at(['nowhere'], Schema), undefined)
  t.equal(at(['port', 'deeper', 'still'], Schema), undefined)
  t.equal(at(['constructor'], Schema), undefined)
})
