import { readFileSync } from 'node:fs'
import { isObject, parseJSON } from './json.ts'

/** From source the manifest is one folder up, of what was built two. */
const manifest = new URL(import.meta.url.endsWith('.ts') ? '../package.json' : '../../package.json', import.meta.url)

/** Of this gateway, as `0.1.0`. */
export function ownVersion(): string {
  const value = parseJSON(readFileSync(manifest, 'utf8'))
  return isObject(value) && typeof value.version === 'string' ? value.version : 'unknown'
}
