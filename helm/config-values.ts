import { isObject } from '../src/json.ts'

/** `${NAME}` or `${NAME:-fallback}` somewhere in a text, which the gateway replaces before it looks at types. */
const fromEnvironment = {
  description: `A variable of the environment: \`\${NAME}\` or \`\${NAME:-fallback}\`.`,
  type: 'string',
  pattern: '(^|[^$])\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}',
} as const

/** What the schemas refer to. A key that is null is left out, whatever another file of values has set. */
export const definitions = {
  fromEnvironment,
  fromEnvironmentOrNull: { ...fromEnvironment, type: ['string', 'null'] },
}

const reference = { $ref: '#/definitions/fromEnvironment' }
const referenceOrNull = { $ref: '#/definitions/fromEnvironmentOrNull' }

/** What the chart sets itself, by its path in the configuration, and what to set instead. */
export const owned: Readonly<Record<string, string>> = {
  'server.port': 'set by the chart: use ports.http',
  'metrics.port': 'set by the chart: use ports.metrics',
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
    ...mapped('properties', properties, inner, new Set(needed)),
    ...mapped('patternProperties', patternProperties, () => inner('<name>')),
    ...(needed.length > 0 ? { required: needed } : {}),
  }
}

function mapped(
  keyword: string,
  schemas: Record<string, unknown>,
  pathOf: (name: string) => string,
  needed: ReadonlySet<string> = new Set(),
): object {
  const entries = Object.entries(schemas).map(([name, schema]) => {
    const path = pathOf(name)
    const values = configValues(schema, path)
    // The chart leaves nulls out of maps, not of lists.
    return [name, needed.has(name) || path.includes('[]') ? values : orNull(values)]
  })
  return entries.length > 0 ? { [keyword]: Object.fromEntries(entries) } : {}
}

function orNull(schema: unknown): unknown {
  if (!isObject(schema)) return schema
  const { type, anyOf } = schema
  if (typeof type === 'string') return { ...schema, type: [type, 'null'] }
  return Array.isArray(anyOf) ? { ...schema, anyOf: anyOf.with(-1, referenceOrNull) } : schema
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
