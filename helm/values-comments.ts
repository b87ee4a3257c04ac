import { readFileSync } from 'node:fs'
import { isMap, isNode, isScalar, parseDocument, type YAMLMap } from 'yaml'

/** A key of a values file. */
export interface DocumentedValue {
  path: readonly string[]
  /** What its `# --` comment says: it is a row of the README. */
  description?: string
  /** What a plain comment says: it is about all that is below. */
  remark?: string
  /** What it is by default. */
  value: unknown
}

/** Every key of a values file, maps before what is in them. What is below a map in braces belongs to the map. */
export function documentedValues(file: URL): DocumentedValue[] {
  const { contents } = parseDocument(readFileSync(file, 'utf8'))
  return isMap(contents) ? [...keysOf(contents, [])] : []
}

function* keysOf(map: YAMLMap, above: readonly string[]): Generator<DocumentedValue> {
  for (const [index, { key, value }] of map.items.entries()) {
    if (!isScalar(key)) continue
    // The parser gives a comment before the first key to the map.
    const comment = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined)
    const path = [...above, String(key.value)]
    yield { path, ...told(comment), value: isNode(value) ? value.toJSON() : value }
    if (isMap(value) && !value.flow) yield* keysOf(value, path)
  }
}

function told(comment: string | null | undefined): Pick<DocumentedValue, 'description' | 'remark'> {
  const text = comment
    ?.split('\n')
    .map((line) => line.trim())
    .join(' ')
    .trim()
  if (!text) return {}
  return text.startsWith('-- ') ? { description: text.slice('-- '.length) } : { remark: text }
}
