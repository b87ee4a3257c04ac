import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { isObject } from './json.ts'
import { GatewayError } from './server/errors.ts'

/** A field that may be left out, or null. */
export const Nullable = <Schema extends Parameters<typeof Type.Union>[0][number]>(schema: Schema) =>
  Type.Optional(Type.Union([schema, Type.Null()]))
/** A model's id. */
export const Model = Type.String({ minLength: 1, maxLength: 256 })
export const AnyObject = Type.Object({})

interface SchemaViolation {
  keyword: string
  instancePath: string
  message: string
  params: object
}

/** What the JSON of a request must look like. */
export interface BodySchema {
  fits(value: unknown): boolean
  /** What is wrong with a value that does not fit: `invalid_request`, whose `param` names the field, from `path` on. */
  refusal(value: unknown, path?: string): GatewayError
}

/** Values in a body up to which its faults are explained in detail. */
const explainable = 5000

/**
 * To explain a fault, the schema tries every branch on every element, which takes seconds for millions of them; of a body
 * that large only the field is named.
 */
export function bodyOf(schema: ReturnType<typeof Type.Object>): BodySchema {
  const validator = Compile(schema)
  const coarse = (value: Record<string, unknown>): SchemaViolation[] => {
    for (const [name, field] of Object.entries(schema.properties)) {
      const absent = value[name] === undefined
      if (absent && schema.required?.includes(name)) {
        return [{ keyword: 'required', instancePath: '', message: '', params: { requiredProperties: [name] } }]
      }
      // Compiled here, not at start: hardly any body is so large and wrong.
      if (absent || Compile(field).Check(value[name])) continue
      return [{ keyword: 'field', instancePath: `/${name}`, message: 'must be of the right type', params: {} }]
    }
    return []
  }
  return {
    fits: (value) => validator.Check(value),
    refusal(value, path = '') {
      if (!isObject(value)) return notAnObject(path)
      return invalidField(remaining(value, explainable) < 0 ? coarse(value) : validator.Errors(value), path)
    },
  }
}

const notAnObject = (param: string): GatewayError =>
  param
    ? new GatewayError('invalid_request', `invalid value for '${param}': must be object`, { param })
    : new GatewayError('invalid_request', 'the request body must be a JSON object')

/** What is left of a budget of values; below 0 when there are more, counted no further. */
function remaining(value: unknown, budget: number): number {
  let left = budget - 1
  if (typeof value !== 'object' || value === null) return left
  for (const child of Array.isArray(value) ? value : Object.values(value)) {
    if (left < 0) return left
    left = remaining(child, left)
  }
  return left
}

function invalidField(violations: readonly SchemaViolation[], path: string): GatewayError {
  // A union reports each of its branches first and itself last; the branch that got furthest knows best.
  const [first] = violations.filter(({ keyword }) => keyword !== 'anyOf')
  const violation = violations.reduce(
    (deepest, other) => (isInside(other, deepest) ? other : deepest),
    first ?? violations[0],
  )
  const union = violations.find(
    ({ keyword, instancePath }) => keyword === 'anyOf' && instancePath === violation?.instancePath,
  )
  const missing = violation?.keyword === 'required' ? requiredOf(violation.params) : undefined
  const param = paramOf(violation?.instancePath ?? '', missing, path)
  if (missing) return new GatewayError('invalid_request', `missing required parameter: '${param}'`, { param })
  const reason = union ? expected(violations, union.instancePath) : violation?.message
  return new GatewayError('invalid_request', `invalid value for '${param}': ${reason}`, { param })
}

const isInside = (inner: SchemaViolation, outer: SchemaViolation | undefined): boolean =>
  outer !== undefined && inner.keyword !== 'anyOf' && inner.instancePath.startsWith(`${outer.instancePath}/`)

function expected(violations: readonly SchemaViolation[], path: string): string {
  const branches = violations.filter(({ keyword, instancePath }) => keyword === 'type' && instancePath === path)
  const types = branches.map(({ message }) => message.replace(/^must be (?:an? )?/, ''))
  return `must be ${[...new Set(types)].join(' or ')}`
}

function requiredOf(params: object): string | undefined {
  const names = 'requiredProperties' in params ? params.requiredProperties : undefined
  return Array.isArray(names) ? String(names[0]) : undefined
}

/** `/messages/0/role` as OpenAI writes it: `messages[0].role`. */
function paramOf(pointer: string, property: string | undefined, start: string): string {
  const parts = pointer.split('/').slice(1)
  if (property) parts.push(property)
  return parts.reduce(
    (path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path ? `${path}.${part}` : part),
    start,
  )
}
