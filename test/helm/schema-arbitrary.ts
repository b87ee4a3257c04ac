import fc from 'fast-check'
import { isObject } from '../../src/json.ts'

/** Values that fit a schema of TypeBox. */
export function valuesOf(schema: unknown): fc.Arbitrary<unknown> {
  if (!isObject(schema)) throw new TypeError('no schema')
  const { type, anyOf, properties, patternProperties, items, pattern, required } = schema
  if (Array.isArray(anyOf)) return fc.oneof(...anyOf.map(valuesOf))
  if ('const' in schema) return fc.constant(schema.const)
  if (isObject(patternProperties)) {
    return fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), valuesOf(Object.values(patternProperties)[0]), {
      maxKeys: 2,
    })
  }
  if (isObject(properties)) {
    // What is required and has a default may lack, too: the gateway fills it in.
    const needed = Array.isArray(required) ? required.filter((name) => !('default' in Object(properties[name]))) : []
    const inner = Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, valuesOf(property)]))
    return fc.record(inner, { requiredKeys: needed })
  }
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength = 0, maxLength = 20, minItems = 0 } = schema
  const { uniqueItems } = schema
  switch (type) {
    case 'array': {
      const lengths = { minLength: Number(minItems), maxLength: Number(minItems) + 2 }
      return uniqueItems ? fc.uniqueArray(valuesOf(items), lengths) : fc.array(valuesOf(items), lengths)
    }
    case 'string':
      if (typeof pattern === 'string') return fc.stringMatching(new RegExp(pattern))
      return fc.stringMatching(/^[-a-z0-9 /*:._]*$/).map((text) => fitted(text, Number(minLength), Number(maxLength)))
    case 'integer':
      return fc.integer({ min: Number(minimum ?? 0), max: Number(maximum ?? 1_000_000) })
    case 'number':
      return fc
        .integer({ min: 0, max: 1000 })
        .map(
          (n) =>
            Number(minimum ?? 0) + (n / 1000) * (Number(maximum ?? exclusiveMaximum ?? 100) - Number(minimum ?? 0)),
        )
        .filter((n) => n !== exclusiveMinimum && n !== exclusiveMaximum)
    case 'boolean':
      return fc.boolean()
    default:
      return fc.constantFrom('text', 1, true)
  }
}

const fitted = (text: string, minLength: number, maxLength: number): string =>
  text.padEnd(minLength, 'x').slice(0, maxLength)

export interface Mutation {
  /** Which of the places in a value is changed, counted through it. */
  at: number
  /** Into which of some values. */
  to: number
}

const others = [null, 'text', '', -1, 0.5, 70_000, true, [], {}, ['text'], { unknown: 1 }] as const

/** The value with one place changed into something else, which may fit there, or not. */
export function mutated(value: unknown, { at, to }: Mutation): unknown {
  const copy: unknown = structuredClone(value)
  const places = [...placesIn(copy)]
  const place = places[at % Math.max(places.length, 1)]
  const other: unknown = structuredClone(others[to % others.length])
  if (!place) return other
  const [parent, key] = place
  // A null is left out, and its key with it.
  if (to % 3 === 0) parent[`${key}x`] = other ?? 'text'
  else parent[key] = other
  return copy
}

function* placesIn(value: unknown): Generator<[Record<string, unknown>, string]> {
  if (typeof value !== 'object' || value === null) return
  const parent = value as Record<string, unknown>
  for (const key of Object.keys(parent)) {
    yield [parent, key]
    yield* placesIn(parent[key])
  }
}
