import { isObject } from '../json.ts'

/** What the values under these names are is nobody's business. */
const secretNames = /^(?:key|sha256|apiKey|password|sentinelPassword|cert|ca)$/

const redacted = '[redacted]'

/** A configuration without its secrets: keys, passwords, headers, certificates, and what URLs carry beside an address. */
export function redactedConfig(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redactedConfig)
  if (typeof value === 'string') return withoutCredentials(value)
  if (!isObject(value)) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(
    entries.map(([name, item]) => {
      if (name === 'headers' && isObject(item)) return [name, mapped(item)]
      return [name, typeof item === 'string' && secretNames.test(name) ? redacted : redactedConfig(item)]
    }),
  )
}

const mapped = (headers: object): object => Object.fromEntries(Object.keys(headers).map((name) => [name, redacted]))

/** Before the host of a URL there may be a password, behind its path a key. */
const withoutCredentials = (text: string): string =>
  /^[a-z][a-z\d+.-]*:\/\//i.test(text)
    ? text.replace(/^([^/]*\/\/)[^/?#]*@/, `$1${redacted}@`).replace(/\?.*$/s, `?${redacted}`)
    : text
