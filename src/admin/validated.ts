import type { TSchema } from 'typebox'
import { bodyOf } from '../body-schema.ts'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'

/**
 * Checks one part of a call. What was left out altogether is an object without fields.
 *
 * @throws GatewayError `invalid_request`, whose `param` names the field
 */
export function validated(schema: TSchema): (value: unknown) => unknown {
  const { fits, refusal } = bodyOf(schema as Parameters<typeof bodyOf>[0])
  return (given) => {
    const value = given ?? {}
    if (fits(value)) return value
    const param = unknownField(schema, value, '')
    throw param ? new GatewayError('invalid_request', `unknown parameter: '${param}'`, { param }) : refusal(value)
  }
}

/** A field that the schema does not know, where it takes no others. */
function unknownField(schema: unknown, value: unknown, path: string): string | undefined {
  if (!isObject(schema) || !isObject(value)) return undefined
  for (const branch of Array.isArray(schema.anyOf) ? schema.anyOf : []) {
    const param = unknownField(branch, value, path)
    if (param) return param
  }
  const properties = isObject(schema.properties) ? schema.properties : {}
  for (const [name, item] of Object.entries(value)) {
    const field = path ? `${path}.${name}` : name
    if (!Object.hasOwn(properties, name)) {
      if (schema.additionalProperties === false) return field
      continue
    }
    const param = unknownField(properties[name], item, field)
    if (param) return param
  }
  return undefined
}
