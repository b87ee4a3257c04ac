import { isDeepStrictEqual } from 'node:util'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import t from 'tap'
import { Value } from 'typebox/value'
import { stringify } from 'yaml'
import { configValues, definitions, owned, readByChart } from '../../helm/config-values.ts'
import { ConfigError } from '../../src/config/config-error.ts'
import { at } from '../../src/config/explain.ts'
import { parseConfig } from '../../src/config/load.ts'
import { ConfigSchema } from '../../src/config/schema.ts'
import { isObject } from '../../src/json.ts'
import { type Mutation, mutated, valuesOf } from './schema-arbitrary.ts'

const schema = { ...Object(configValues(ConfigSchema)), definitions }
const inValues = new Ajv({ strict: false }).compile(schema)

/** Whether the gateway takes the shape: what lacks is filled in, as when it reads its file. */
const inGateway = (config: unknown): boolean =>
  Value.Check(ConfigSchema, Value.Default(ConfigSchema, structuredClone(withoutNulls(config))))

/** As the chart writes it: what is null in maps is left out. */
function withoutNulls(value: unknown): unknown {
  if (!isObject(value)) return value
  const given = Object.entries(value).filter(([, inner]) => inner !== null)
  return Object.fromEntries(given.map(([name, inner]) => [name, withoutNulls(inner)]))
}

/** Without what the chart sets itself. */
function ofUser(config: unknown, path = ''): unknown {
  if (!isObject(config)) return config
  const entries = Object.entries(config).map(([name, value]) => [name, path ? `${path}.${name}` : name, value] as const)
  return Object.fromEntries(
    entries
      .filter(([, inner]) => owned[inner] === undefined)
      .map(([name, inner, value]) => [name, ofUser(value, inner)]),
  )
}

const config = valuesOf(ConfigSchema).map((value) => ofUser(value))

t.test('a configuration fits the values exactly when its shape fits the gateway', async (t) => {
  const seen = { fits: 0, not: 0 }
  fc.assert(
    fc.property(config, fc.option(fc.record<Mutation>({ at: fc.nat(), to: fc.nat() })), (valid, mutation) => {
      const value = mutation ? mutated(valid, mutation) : valid
      const fits = inGateway(value)
      seen[fits ? 'fits' : 'not']++
      return inValues(value) === fits
    }),
    { numRuns: 500 },
  )
  t.ok(seen.fits > 100, `${seen.fits} fit`)
  t.ok(seen.not > 100, `${seen.not} do not`)
})

t.test('a number, a boolean or a text that comes from the environment fits both', async (t) => {
  let replaced = 0
  fc.assert(
    fc.property(config, fc.boolean(), (valid, half) => {
      const env: Record<string, string> = {}
      const value = withVariables(valid, half, env)
      replaced += Object.keys(env).length
      // To the gateway it is the same, whatever else is wrong with it.
      fc.pre(inGateway(valid))
      return inValues(value) && isDeepStrictEqual(problems(value, env), problems(valid, {}))
    }),
    { numRuns: 60 },
  )
  t.ok(replaced > 200, `${replaced} variables`)
})

t.test('what the gateway refuses for its shape is named by both', async (t) => {
  for (const [path, wrong] of [
    ['server.bodyLimit', 'large'],
    ['server.bodyLimit', '1048576'],
    ['server.bodyLimit', 1],
    ['server.keepAlive', 15],
    ['server.logLevel', 'loud'],
    ['server.logLevel', '$${LEVEL}'],
    ['metrics.enabled', 'yes'],
    ['server.cors.origins', 'all'],
    ['store.kind', 'disk'],
    ['server.prot', 4000],
    ['modles', {}],
  ] as const) {
    const value = path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), wrong)
    t.notOk(inValues(value), `${path}: ${wrong}`)
    t.match(problems(value, {})[0], `${path}: `, `${path}: ${wrong}`)
  }
})

t.test('nothing is needed that has a default, and what has none is', async (t) => {
  t.ok(inValues({}))
  const empty = { server: {}, store: {}, models: { a: { targets: [{ model: 'b/c' }], fallback: {} } } }
  t.ok(inValues(empty) && inGateway(empty))
  t.notOk(inValues({ models: { a: {} } }))
  t.match(inValues.errors, [{ instancePath: '/models/a', params: { missingProperty: 'targets' } }])
})

t.test('what the chart sets is refused, and said where it is set', async (t) => {
  for (const [path, instead] of Object.entries(owned)) {
    const parts = path.split('.')
    t.ok(at(parts, ConfigSchema), `${path} is a key of the gateway`)
    for (const value of [4000, 'localhost', instead]) {
      t.notOk(inValues(parts.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value)), path)
    }
    t.match(inValues.errors, [{ instancePath: `/${parts.join('/')}` }])
  }
})

/** What the gateway says of a configuration. */
function problems(value: unknown, env: Record<string, string>): readonly string[] {
  try {
    parseConfig(stringify(value), 'signalbox.yaml', env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/** With a variable for every value, or for half of them, which then are in `env`. */
function withVariables(value: unknown, half: boolean, env: Record<string, string>, path = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => withVariables(item, half, env, `${path}[]`))
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [
        name,
        withVariables(inner, half, env, path ? `${path}.${name}` : name),
      ]),
    )
  }
  const count = Object.keys(env).length
  if (
    value === '' ||
    value === null ||
    String(value).includes('$') ||
    readByChart.has(path) ||
    (half && count % 2 === 0)
  )
    return value
  const name = `V${count}`
  env[name] = String(value)
  return `\${${name}}`
}
