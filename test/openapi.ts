import { readFileSync } from 'node:fs'
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

type Schema = Record<string, unknown>

const SCHEMAS = '#/components/schemas/'

const document: { components: { schemas: Record<string, Schema> } } = JSON.parse(
  readFileSync(new URL('./openai/openapi-subset.json', import.meta.url), 'utf8'),
)

const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null

/** The values that a property may have in a branch of a union; undefined when the branch does not pin it. */
function tagsOf(branch: unknown, property: string): unknown[] | undefined {
  if (!isSchema(branch)) return undefined
  const { $ref, allOf, properties } = branch
  if (typeof $ref === 'string') return tagsOf(document.components.schemas[$ref.slice(SCHEMAS.length)], property)
  if (Array.isArray(allOf)) return allOf.map((each) => tagsOf(each, property)).find((tags) => tags !== undefined)
  const branches = branch.oneOf ?? branch.anyOf
  if (Array.isArray(branches)) {
    const tags = branches.map((each) => tagsOf(each, property))
    return tags.includes(undefined) ? undefined : tags.flat()
  }
  const tag = isSchema(properties) ? properties[property] : undefined
  if (!isSchema(tag)) return undefined
  return 'const' in tag ? [tag.const] : Array.isArray(tag.enum) ? tag.enum : undefined
}

/** A discriminated union as if/then per tag: a violation is then reported for the branch meant, not for all of them. */
function discriminate(branches: unknown[], property: string): Schema {
  const tagged = new Map<unknown, unknown[]>()
  for (const branch of branches) {
    const tags = tagsOf(branch, property)
    if (!tags) return { anyOf: branches.map(translate) }
    for (const tag of tags) tagged.set(tag, [...(tagged.get(tag) ?? []), translate(branch)])
  }
  return {
    type: 'object',
    required: [property],
    properties: { [property]: { enum: [...tagged.keys()] } },
    allOf: Array.from(tagged, ([tag, candidates]) => ({
      if: { properties: { [property]: { const: tag } } },
      // biome-ignore lint/suspicious/noThenProperty: a JSON Schema keyword.
      then: candidates.length === 1 ? candidates[0] : { anyOf: candidates },
    })),
  }
}

/** OpenAPI's own keywords (`nullable`, `discriminator`) and the outdated `$recursiveRef`, in JSON Schema 2020-12. */
function translate(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(translate)
  if (!isSchema(schema)) return schema
  const { nullable, discriminator, ...rest } = schema
  const union = rest.oneOf ?? rest.anyOf
  if (nullable === true) return { anyOf: [translate({ ...rest, discriminator }), { type: 'null' }] }
  if (isSchema(discriminator) && typeof discriminator.propertyName === 'string' && Array.isArray(union)) {
    return discriminate(union, discriminator.propertyName)
  }
  // The one recursive schema of the document.
  if ('$recursiveRef' in schema) return { $ref: `${SCHEMAS}CompoundFilter` }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, translate(value)]))
}

const ajv = new Ajv2020({ strict: false, allErrors: true, logger: false, formats: { unixtime: true } })
formats.default(ajv)
ajv.addSchema({ $id: 'openai', components: translate(document.components) })

function describe({ instancePath, message, params }: ErrorObject): string {
  const { allowedValues, allowedValue } = params
  const allowed = allowedValues ?? allowedValue
  return `  ${instancePath || '/'} ${message}${allowed === undefined ? '' : `: ${JSON.stringify(allowed)}`}`
}

/**
 * Throws an error that lists every violation when the value does not match the schema of that name in the OpenAPI
 * document (`CreateChatCompletionResponse`, `ResponseStreamEvent`, …).
 */
export function assertSchema(name: string, value: unknown): void {
  const validate = ajv.getSchema(`openai${SCHEMAS}${name}`)
  if (!validate) throw new Error(`the OpenAPI document has no schema ${name}`)
  if (validate(value)) return
  // A failing `if` only repeats what its `then` has reported.
  const violations = new Set(validate.errors?.filter(({ keyword }) => keyword !== 'if').map(describe))
  throw new Error(`not a ${name}:\n${[...violations].join('\n')}\nin ${JSON.stringify(value)?.slice(0, 2000)}`)
}

/** The `type`s of a union's members, sorted. */
export const memberTypes = (name: string): unknown[] =>
  (tagsOf(document.components.schemas[name], 'type') ?? []).map(String).sort()
