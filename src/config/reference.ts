import { isObject } from '../json.ts'
import { ConfigSchema } from './schema.ts'

/** The configuration as a Markdown table, one row a key, from the schema that validates it. */
export function configReference(): string {
  const rows = [...rowsOf(ConfigSchema, '')].map((cells) => `| ${cells.join(' | ')} |`)
  return ['| Key | Type | Default | |', '|---|---|---|---|', ...rows].join('\n')
}

function* rowsOf(schema: unknown, path: string): Generator<string[]> {
  if (!isObject(schema)) return
  const { type, description, properties, patternProperties, items } = schema
  if (path && (typeof description === 'string' || type !== 'object')) {
    yield [`\`${path}\``, typeOf(schema), defaultOf(schema), String(description ?? '')]
  }
  if (isObject(properties)) {
    for (const [name, property] of Object.entries(properties)) yield* rowsOf(property, path ? `${path}.${name}` : name)
  }
  if (isObject(patternProperties)) yield* nested(Object.values(patternProperties)[0], `${path}.<name>`)
  yield* nested(items, `${path}[]`)
}

/** Lists and maps of plain values need no row of their own. */
function* nested(schema: unknown, path: string): Generator<string[]> {
  if (isObject(schema) && isObject(schema.properties)) yield* rowsOf(schema, path)
}

function typeOf({ type, pattern, anyOf, items, patternProperties }: Record<string, unknown>): string {
  if (typeof pattern === 'string' && pattern.includes('ms|s|m|h')) return 'duration'
  if (Array.isArray(anyOf)) return 'one of'
  if (type === 'array') return isObject(items) && items.type ? `list of ${String(items.type)}s` : 'list'
  if (isObject(patternProperties)) return 'map'
  return String(type)
}

const defaultOf = (schema: Record<string, unknown>): string =>
  schema.default === undefined || isObject(schema.default)
    ? ''
    : `\`${JSON.stringify(schema.default).replaceAll('"', '')}\``
