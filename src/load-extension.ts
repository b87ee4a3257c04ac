import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { distance } from 'fastest-levenshtein'
import { assertGuardrail } from './agent/guardrail.ts'
import { assertTool } from './agent/tool.ts'
import { ConfigError } from './config/config-error.ts'
import type { Extension } from './extension.ts'
import { isObject } from './json.ts'
import { shareOwnPackage } from './own-package.ts'

type Exports = Readonly<Record<string, unknown>>

/** What is wrong with the value of each export. */
const checks: Record<keyof Extension, (value: unknown, name: string) => string[]> = {
  tools: listOf(assertTool),
  guardrails: listOf(assertGuardrail),
  agentLoader: objectWith('load'),
  conversationLoader: objectWith('load', 'save'),
  auth: objectWith('verify'),
}
const known = Object.keys(checks) as (keyof Extension)[]

/**
 * Loads an extension module from an absolute path. It may import the gateway's SDK and packages, wherever it lies.
 *
 * @throws ConfigError with every problem found, not only the first
 */
export async function loadExtension(path: string): Promise<Extension> {
  if (!existsSync(path)) throw new ConfigError(path, ['the file does not exist'])
  shareOwnPackage()
  const { default: standard, ...named }: Exports = await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new ConfigError(path, [`the module does not load: ${messageOf(cause)}${placeOf(cause)}`])
  })
  const defaults = isObject(standard) ? standard : {}
  const found = known.flatMap((name) => {
    const value = named[name] === undefined ? defaults[name] : named[name]
    return value === undefined ? [] : [{ name, value }]
  })
  const missing = known.filter((name) => !found.some((one) => one.name === name))
  const problems = [
    ...misspelt(new Set([...Object.keys(named), ...Object.keys(defaults)]), missing),
    ...found.flatMap(({ name, value }) => checks[name](value, name)),
  ]
  if (problems.length === 0 && found.length === 0) {
    problems.push(`it exports nothing that the gateway knows: ${known.join(', ')}`)
  }
  if (problems.length > 0) throw new ConfigError(path, problems)
  return Object.fromEntries(found.map(({ name, value }) => [name, value]))
}

/** Helpers may be exported too; but a slip of the pen must not leave a gateway without its auth. */
function misspelt(names: ReadonlySet<string>, missing: readonly string[]): string[] {
  return [...names].flatMap((name) => {
    const letters = lettersOf(name)
    const isNear = (other: string): boolean =>
      letters === lettersOf(other) || distance(name.toLowerCase(), other.toLowerCase()) <= (other.length > 5 ? 2 : 1)
    const meant = known.some((other) => other === name) ? undefined : missing.find(isNear)
    return meant ? [`${name}: unknown export; did you mean "${meant}"?`] : []
  })
}

const lettersOf = (name: string): string => Array.from(name.toLowerCase()).sort().join('')

function listOf(assert: (value: unknown) => void): (value: unknown, name: string) => string[] {
  return (value, name) => {
    if (!Array.isArray(value)) return [`${name}: must be an array`]
    const names = value.map((item: unknown) => (isObject(item) ? item.name : undefined))
    const misfits = value.map((item: unknown, index) => {
      try {
        assert(item)
      } catch (cause) {
        return `${name}[${index}]: ${messageOf(cause)}`
      }
      return names.indexOf(names[index]) < index
        ? `${name}[${index}]: another one is named "${names[index]}"`
        : undefined
    })
    return misfits.filter((problem) => problem !== undefined)
  }
}

function objectWith(...methods: string[]): (value: unknown, name: string) => string[] {
  return (value, name) => {
    if (!isObject(value)) return [`${name}: must be an object with ${methods.join(' and ')}`]
    return methods.flatMap((method) =>
      typeof value[method] === 'function' ? [] : [`${name}.${method}: must be a function`],
    )
  }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** Where the module failed, without the frames of whatever it had called and of the gateway's own. */
function placeOf(cause: unknown): string {
  const stack = cause instanceof Error ? (cause.stack ?? '') : ''
  const places = Array.from(stack.matchAll(/file:\/\/[^\s()]+:\d+/g), ([place]) => place)
  const own = places.findIndex((place) => /\/src\/(load-extension|own-package)\.[jt]s:/.test(place))
  const place = (own < 0 ? places : places.slice(0, own)).at(-1)
  return place ? ` (${place})` : ''
}
