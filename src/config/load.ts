import { resolve } from 'node:path'
import { Compile } from 'typebox/compile'
import { Settings } from 'typebox/system'
import { Value } from 'typebox/value'
import { LineCounter, parseDocument } from 'yaml'
import type { Environment } from '../env.ts'
import { isObject } from '../json.ts'
import { providersIn } from '../llm/providers.ts'
import { ConfigError } from './config-error.ts'
import { inconsistencies, unusableKeys, unusableProviders } from './consistency.ts'
import { expandEnvironment, type Path } from './expand.ts'
import { at, explain, parsePointer, type Violation } from './explain.ts'
import { withFiles } from './files.ts'
import { impossibleAdmin } from './impossible-admin.ts'
import { ReadFiles } from './read-files.ts'
import { type Config, ConfigSchema } from './schema.ts'
import { isTraced } from './traced.ts'

const validator = Compile(ConfigSchema)

export interface LoadOptions {
  /** Path of the file. Default: `SIGNALBOX_CONFIG`, then `./signalbox.yaml` if it is there, then no file at all. */
  file?: string | undefined
  env: Environment
  /** Remembers what was read, also when that was no configuration. Default: nobody asks. */
  files?: ReadFiles
}

export interface LoadedConfig {
  config: Config
  /** The file it came from; undefined when there was none. */
  file: string | undefined
}

/**
 * Reads, expands and validates the configuration, and checks that every provider has what it needs to be called.
 *
 * @throws ConfigError with every problem found, not only the first
 */
export async function loadConfig({ file, env, files = new ReadFiles() }: LoadOptions): Promise<LoadedConfig> {
  const named = file ?? env.SIGNALBOX_CONFIG
  const path = named ?? 'signalbox.yaml'
  const text = await files.text(resolve(path)).catch((cause: unknown) => {
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (absent && !named) return undefined
    throw new ConfigError(path, [absent ? 'the file does not exist' : `the file cannot be read: ${String(cause)}`])
  })
  const source = text === undefined ? 'the default configuration' : path
  const read = readConfig(text ?? '', source, env)
  const used = text === undefined ? undefined : path
  const { config, problems: unreadable } = await withFiles(read.config, used, files)
  // What is wrong with those of the configuration itself is told already.
  const keys = read.config.auth?.keyFiles && unreadable.length === 0 && config.auth ? unusableKeys(config.auth) : []
  const admin = read.config.auth?.keyFiles && unreadable.length === 0 ? impossibleAdmin(config) : []
  const problems = [...read.problems, ...unusableProviders(config.providers, env), ...unreadable, ...keys, ...admin]
  refuse(source, [...new Set(problems)])
  return { config: config as Config, file: used }
}

/**
 * The configuration in a text; `source` names it in errors. `PORT` and `HOST` win over the text.
 *
 * @throws ConfigError with every problem found, not only the first
 */
export function parseConfig(text: string, source: string, env: Environment): Config {
  const { config, problems } = readConfig(text, source, env)
  refuse(source, problems)
  return config as Config
}

/** The sections that are well formed, and everything that is wrong. Without problems it is the whole configuration. */
function readConfig(text: string, source: string, env: Environment): { config: Partial<Config>; problems: string[] } {
  // Not the parser's own pretty errors: they quote the line, and with it the key that stands there.
  const lines = new LineCounter()
  const document = parseDocument(text, { prettyErrors: false, lineCounter: lines })
  const syntax = document.errors.map(({ message, pos }) => `${message} at line ${lines.linePos(pos[0]).line}`)
  refuse(source, syntax)
  const { value, missing } = expandEnvironment(toJS(document, source), env, toWantedType)
  const unset = missing.map(({ path, name }) => `${path.join('.')}: the environment variable ${name} is not set`)

  const completed: unknown = Value.Default(ConfigSchema, value)
  const incomplete = new Set(missing.map(({ path }) => path.join('.')))
  const violations = validator.Check(completed) ? [] : allErrors(completed)
  const misfits = violations
    .filter(({ instancePath }) => !incomplete.has(parsePointer(instancePath).join('.')))
    .map((violation) => explain(violation, ConfigSchema))

  const config = wellFormed(completed)
  const illFormed = new Set(Object.keys(isObject(completed) ? completed : {}).filter((name) => !(name in config)))
  if (config.providers && Object.keys(config.providers).length === 0) {
    config.providers = Object.fromEntries(providersIn(env).map((name) => [name, {}]))
  }
  const { PORT, HOST } = env
  const port = Number(PORT)
  const badPort = PORT && !Value.Check(ConfigSchema.properties.server.properties.port, port)
  if (config.server && PORT) config.server.port = port
  if (config.server && HOST) config.server.host = HOST
  if (config.tracing) config.tracing.enabled = isTraced(config.tracing.enabled, env)
  const problems = [
    ...(badPort ? [`PORT: must be a port number, not "${PORT}"`] : []),
    ...unset,
    ...misfits.filter((line) => line !== undefined),
    ...inconsistencies(config, illFormed),
  ]
  return { config, problems: [...new Set(problems)] }
}

/** An alias without its anchor is found only when the document is turned into values. */
function toJS(document: ReturnType<typeof parseDocument>, source: string): unknown {
  try {
    return document.toJS() ?? {}
  } catch (cause) {
    throw new ConfigError(source, [cause instanceof Error ? cause.message : String(cause)])
  }
}

/** TypeBox stops at eight errors, against floods from strangers; this file is the operator's own. */
function allErrors(value: unknown): Violation[] {
  const { maxErrors } = Settings.Get()
  Settings.Set({ maxErrors: 1000 })
  try {
    return validator.Errors(value)
  } finally {
    Settings.Set({ maxErrors })
  }
}

/** Text from the environment becomes the number or boolean that the schema wants in its place. */
function toWantedType(text: string, path: Path): unknown {
  const schema = at(path, ConfigSchema)
  const type = isObject(schema) ? schema.type : undefined
  if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  if (type === 'boolean' && /^(true|false)$/.test(text)) return text === 'true'
  return text
}

/** The top-level sections that fit the schema. */
function wellFormed(value: unknown): Partial<Config> {
  if (!isObject(value)) return {}
  const fits = ([name, section]: [string, unknown]): boolean => {
    const schema = Object.hasOwn(ConfigSchema.properties, name) && ConfigSchema.properties[name as keyof Config]
    return schema !== false && Value.Check(schema, section)
  }
  return Object.fromEntries(Object.entries(value).filter(fits))
}

function refuse(source: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new ConfigError(source, problems)
}
