import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { parseDocument } from 'yaml'
import { ApiKey, type ApiKeyConfig } from './auth-schema.ts'
import { ambiguousKeys } from './consistency.ts'
import { explain } from './explain.ts'
import type { ReadFiles } from './read-files.ts'

const ApiKeys = Type.Array(ApiKey)
const validator = Compile(ApiKeys)

export interface FoundKeys {
  keys: ApiKeyConfig[]
  /** Each begins with the file. None quotes a key. */
  problems: string[]
}

/**
 * The keys in a file: one a line, empty lines and those with `#` left out; in `.yaml` or `.yml` a list as `auth.keys`. Of a
 * directory those in each file: one that is named `alice` has the keys of the user alice.
 *
 * @param name The path as the configuration has it
 */
export async function keysIn(path: string, name: string, files: ReadFiles): Promise<FoundKeys> {
  const place = `auth.keyFiles: ${name}`
  try {
    const found = (await files.texts(path)).map((file) => {
      const isList = /\.ya?ml$/.test(file.name ?? path)
      const label = file.name === undefined ? place : `${place}/${file.name}`
      return isList ? keysInYAML(file.text, label) : checked(keysInLines(file.text, file.name), label)
    })
    const problems = found.flatMap((one) => one.problems)
    const keys = found.flatMap((one) => one.keys)
    // A file that is being written is empty for a moment, and must not lock out everybody.
    if (keys.length === 0 && problems.length === 0) problems.push(`${place}: there is no key in it`)
    return { keys, problems }
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? error.code : error
    return { keys: [], problems: [`${place}: it cannot be read: ${String(reason)}`] }
  }
}

const keysInLines = (text: string, user: string | undefined): ApiKeyConfig[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((key) => (user === undefined ? { key } : { key, user }))

function keysInYAML(text: string, place: string): FoundKeys {
  const document = parseDocument(text, { prettyErrors: false })
  const [error] = document.errors
  if (error) return { keys: [], problems: [`${place}: ${error.message}`] }
  try {
    return checked(document.toJS() ?? [], place)
  } catch (cause) {
    return { keys: [], problems: [`${place}: ${cause instanceof Error ? cause.message : String(cause)}`] }
  }
}

function checked(value: unknown, place: string): FoundKeys {
  if (validator.Check(value)) {
    const problems = [...ambiguousKeys(value, place)]
    return { keys: problems.length > 0 ? [] : value, problems }
  }
  const problems = validator.Errors(value).map((violation) => explain(violation, ApiKeys))
  return { keys: [], problems: problems.filter((line) => line !== undefined).map((line) => `${place}: ${line}`) }
}
