import { isObject } from '../src/json.ts'

/** `${NAME}` or `${NAME:-fallback}` somewhere in a text, which the gateway replaces before it looks at types. */
export const fromEnvironment = {
  description: `A variable of the environment: \`\${NAME}\` or \`\${NAME:-fallback}\`.`,
  type: 'string',
  pattern: '(^|[^$])\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}',
} as const

const reference = { $ref: '#/definitions/fromEnvironment' }

/** What the chart sets itself, by its path in the configuration, and what to set instead. */
export const owned: Readonly<Record<string, string>> = {
  'server.host': 'set by the chart: every address of the pod',
  'server.port': 'set by the chart: use ports.http',
  'metrics.host': 'set by the chart: every address of the pod',
  'metrics.port': 'set by the chart: use ports.metrics',
  'admin.host': 'set by the chart: every address of the pod',
  'admin.port': 'set by the chart: use ports.admin',
}

/** What the chart makes objects of, so that a variable, which only the gateway knows, can't stand there. */
export const readByChart: ReadonlySet<string> = new Set([
  'server.drainDelay',
  'server.drainTimeout',
  'tracing.flushTimeout',
  'tracing.enabled',
  'metrics.enabled',
  'admin.enabled',
])

/**
 * The configuration's schema as one of `config:` values: what has a default need not be there, a variable of the
 * environment may stand for any number, boolean or text but those that the chart reads, and what the chart sets is refused.
 */
export function configValues(schema: unknown, path = ''): unknown {
  const instead = owned[path]
  // Helm says what a `const` should have been, and of a `not` only that it failed.
  if (instead !== undefined) return { description: `Is ${instead}.`, const: instead, not: {} }
  if (!isObject(schema)) return schema
  if (schema.type === 'object') return ofObject(schema, path)
  if (isObject(schema.items)) return { ...schema, items: configValues(schema.items, `${path}[]`) }
  return takesAnyText(schema) || readByChart.has(path) ? schema : orFromEnvironment(schema)
}

function ofObject({ required, ...schema }: Record<string, unknown>, path: string): unknown {
  const { properties = {}, patternProperties = {} } = schema
  if (!isObject(properties) || !isObject(patternProperties)) throw new TypeError(`${path}: no schema of an object`)
  const hasDefault = (name: unknown): boolean =>
    isObject(properties[String(name)]) && 'default' in Object(properties[String(name)])
  const needed = Array.isArray(required) ? required.filter((name) => !hasDefault(name)) : []
  const inner = (name: string): string => (path ? `${path}.${name}` : name)
  return {
    ...schema,
    ...mapped('properties', properties, inner),
    ...mapped('patternProperties', patternProperties, () => inner('<name>')),
    ...(needed.length > 0 ? { required: needed } : {}),
  }
}

function mapped(keyword: string, schemas: Record<string, unknown>, pathOf: (name: string) => string): object {
  const entries = Object.entries(schemas).map(([name, schema]) => [name, configValues(schema, pathOf(name))])
  return entries.length > 0 ? { [keyword]: Object.fromEntries(entries) } : {}
}

/** The length of `${A}`. */
const shortestReference = 4

/** Also the text of a reference as it stands. */
function takesAnyText({ type, pattern, minLength, maxLength, anyOf }: Record<string, unknown>): boolean {
  const bounded = pattern !== undefined || maxLength !== undefined || Number(minLength ?? 0) > shortestReference
  return anyOf === undefined && (type === undefined || (type === 'string' && !bounded))
}

function orFromEnvironment({ description, default: otherwise, anyOf, ...schema }: Record<string, unknown>): unknown {
  const constants = Array.isArray(anyOf) ? anyOf.map((branch) => (isObject(branch) ? branch.const : undefined)) : []
  return {
    ...(description === undefined ? {} : { description }),
    ...(otherwise === undefined ? {} : { default: otherwise }),
    anyOf: [anyOf === undefined ? schema : { ...schema, enum: constants }, reference],
  }
}
