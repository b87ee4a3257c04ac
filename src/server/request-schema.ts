import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { isObject } from '../json.ts'
import type { ChatRequest, EmbeddingRequest } from '../types.ts'
import { GatewayError } from './errors.ts'

const Nullable = <Schema extends Parameters<typeof Type.Union>[0][number]>(schema: Schema) =>
  Type.Optional(Type.Union([schema, Type.Null()]))
const Model = Type.String({ minLength: 1, maxLength: 256 })
const AnyObject = Type.Object({})

/**
 * The types of the fields that every provider agrees on. Values, ranges and all other fields are the upstream's to judge:
 * a gateway that knew better would refuse what a newer model accepts.
 */
const ChatBody = Type.Object({
  model: Model,
  messages: Type.Array(
    Type.Object({
      role: Type.String({ minLength: 1 }),
      content: Nullable(Type.Union([Type.String(), Type.Array(AnyObject)])),
      tool_calls: Nullable(Type.Array(AnyObject)),
    }),
    { minItems: 1 },
  ),
  stream: Nullable(Type.Boolean()),
  stream_options: Nullable(AnyObject),
  tools: Nullable(Type.Array(AnyObject)),
  tool_choice: Nullable(Type.Union([Type.String(), AnyObject])),
  parallel_tool_calls: Nullable(Type.Boolean()),
  functions: Nullable(Type.Array(AnyObject)),
  response_format: Nullable(AnyObject),
  stop: Nullable(Type.Union([Type.String(), Type.Array(Type.String())])),
  temperature: Nullable(Type.Number()),
  top_p: Nullable(Type.Number()),
  frequency_penalty: Nullable(Type.Number()),
  presence_penalty: Nullable(Type.Number()),
  n: Nullable(Type.Integer()),
  max_tokens: Nullable(Type.Integer()),
  max_completion_tokens: Nullable(Type.Integer()),
  logprobs: Nullable(Type.Boolean()),
  top_logprobs: Nullable(Type.Integer()),
  logit_bias: Nullable(AnyObject),
  metadata: Nullable(AnyObject),
  user: Nullable(Type.String()),
})

const EmbeddingBody = Type.Object({
  model: Model,
  input: Type.Union([
    Type.String(),
    Type.Array(Type.Union([Type.String(), Type.Integer(), Type.Array(Type.Integer())])),
  ]),
  encoding_format: Nullable(Type.String()),
  dimensions: Nullable(Type.Integer()),
  user: Nullable(Type.String()),
})

const objectFields = ['stream_options', 'response_format', 'logit_bias', 'metadata'] as const
const chatBody = bodyOf(ChatBody)
const embeddingBody = bodyOf(EmbeddingBody)

/** @throws GatewayError `invalid_request` whose `param` names the field */
export function asChatRequest(value: unknown): ChatRequest {
  if (!chatBody.fits(value)) throw invalidField(value, chatBody.violations(value))
  // A number that is kept as text is an object to the schema.
  const fields = value as Record<string, unknown>
  const param = objectFields.find((name) => fields[name] && !isObject(fields[name]))
  if (!param) return value as ChatRequest
  throw new GatewayError('invalid_request', `invalid value for '${param}': must be object or null`, { param })
}

/** @throws GatewayError `invalid_request` whose `param` names the field */
export function asEmbeddingRequest(value: unknown): EmbeddingRequest {
  if (embeddingBody.fits(value)) return value as EmbeddingRequest
  throw invalidField(value, embeddingBody.violations(value))
}

interface SchemaViolation {
  keyword: string
  instancePath: string
  message: string
  params: object
}

interface BodySchema {
  fits(value: unknown): boolean
  violations(value: unknown): readonly SchemaViolation[]
}

/** Values in a body up to which its faults are explained in detail. */
const explainable = 5000

/**
 * To explain a fault, the schema tries every branch on every element, which takes seconds for millions of them; of a body
 * that large only the field is named.
 */
function bodyOf(schema: ReturnType<typeof Type.Object>): BodySchema {
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
    violations: (value) =>
      isObject(value) && remaining(value, explainable) < 0 ? coarse(value) : validator.Errors(value),
  }
}

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

function invalidField(value: unknown, violations: readonly SchemaViolation[]): GatewayError {
  if (!isObject(value)) return new GatewayError('invalid_request', 'the request body must be a JSON object')
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
  const param = paramOf(violation?.instancePath ?? '', missing)
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
function paramOf(pointer: string, property: string | undefined): string {
  const parts = pointer.split('/').slice(1)
  if (property) parts.push(property)
  return parts.reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path ? `${path}.${part}` : part), '')
}
