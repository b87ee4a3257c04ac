import { readdirSync, readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import t from 'tap'
import { parse } from 'yaml'
import { groups } from '../../helm/readme.ts'
import { documentedValues } from '../../helm/values-comments.ts'
import { redisSchema, valuesSchema } from '../../helm/values-schema.ts'
import { written } from '../../helm/write.ts'
import { isObject } from '../../src/json.ts'
import { chart } from './helm.ts'

const chartUrl = new URL('../../helm/', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, chartUrl), 'utf8')
const ajv = new Ajv({ allErrors: true, strict: false })

/** The charts whose values are documented: the file, its schema. */
const charts = [
  ['values.yaml', valuesSchema],
  ['charts/redis/values.yaml', redisSchema],
] as const

/** What the schema says of a key itself; undefined where it only lets it pass. */
const property = (schema: unknown, path: readonly string[]): Record<string, unknown> | undefined =>
  path.reduce<Record<string, unknown> | undefined>(
    (node, name) => {
      const found = isObject(node?.properties) ? node.properties[name] : undefined
      return isObject(found) ? found : undefined
    },
    isObject(schema) ? schema : undefined,
  )

t.test('schemas and README are what their sources make (npm run chart writes them)', async (t) => {
  for (const [path, content] of Object.entries(written)) t.equal(read(path), content(), path)
})

for (const [file, schema] of charts) {
  const values = documentedValues(new URL(file, chartUrl))

  t.test(`${file}: each value has a comment, of its own or above it`, async (t) => {
    const described = values.filter(({ description }) => description !== undefined).map(({ path }) => path)
    const under = (path: readonly string[]) =>
      described.some((above) => above.every((part, index) => part === path[index]))
    const parents = new Set(values.map(({ path }) => path.slice(0, -1).join('.')))
    for (const { path } of values) if (!parents.has(path.join('.'))) t.ok(under(path), path.join('.'))
    for (const { description } of values) if (description) t.match(description, /^[A-Z`].*[.]$/)
  })

  t.test(`${file}: each value is in the schema, of its type and with its default`, async (t) => {
    for (const { path, value, description } of values) {
      const found = property(schema, path)
      // Maps of any keys, such as quantities, are in the schema as wholes.
      if (!found && description === undefined && property(schema, path.slice(0, -1))?.patternProperties) continue
      if (!found) {
        const passed = path.length > 1 && property(schema, path.slice(0, -1))
        t.ok(passed && !isObject(passed.properties), path.join('.'))
        continue
      }
      t.ok(ajv.validate({ ...found, definitions: valuesSchema.definitions }, value), path.join('.'))
      if (description === undefined) continue
      t.equal(found.description, description, path.join('.'))
      t.strictSame(found.default, value, path.join('.'))
      // Something is refused there: a schema of nothing would take it.
      t.notOk(ajv.validate({ ...found, definitions: valuesSchema.definitions }, Number.NaN), path.join('.'))
    }
  })

  t.test(`${file} fits the schema`, async (t) => {
    t.ok(ajv.validate(schema, parse(read(file))), ajv.errorsText())
  })
}

t.test('each key of the schema is in values.yaml', async (t) => {
  const known = new Set(documentedValues(new URL('values.yaml', chartUrl)).map(({ path }) => path[0]))
  const ofOtherCharts = new Set(['global', 'enabled'])
  for (const name of Object.keys(valuesSchema.properties ?? {})) {
    if (!ofOtherCharts.has(name)) t.ok(known.has(name), name)
  }
})

t.test('each key has one place in the README', async (t) => {
  const inGroups = Object.values(groups).flat()
  const keys = Object.keys(parse(read('values.yaml')))
  t.strictSame(inGroups.toSorted(), keys.toSorted())
  for (const key of keys) t.match(read('README.md'), `\`${key}`)
})

t.test('the files that the README links to are there', async (t) => {
  for (const [, path = ''] of read('README.md').matchAll(/\]\((?!https?:)([^)#]+)/g))
    t.doesNotThrow(() => read(path), path)
})

t.test('each environment fits the schema', async (t) => {
  const files = readdirSync(`${chart}/environments`)
  t.strictSame(files.toSorted(), ['dev.yaml', 'prod.yaml', 'staging.yaml'])
  for (const file of files) {
    t.ok(ajv.validate(valuesSchema, parse(read(`environments/${file}`)) ?? {}), `${file}: ${ajv.errorsText()}`)
  }
})
