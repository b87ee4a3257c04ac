import { readFile } from 'node:fs/promises'
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import { parseDocument } from 'yaml'
import type { Environment } from '../env.ts'
import { providersIn } from '../llm/providers.ts'
import { ConfigError } from './config-error.ts'
import { expandEnvironment } from './expand.ts'
import { at, explain } from './explain.ts'
import { type Config, ConfigSchema } from './schema.ts'

const validator = Compile(ConfigSchema)

export interface LoadOptions {
  /** Path of the file. Default: `SIGNALBOX_CONFIG`, then `./signalbox.yaml` if it is there, then no file at all. */
  file?: string | undefined
  env: Environment
}

export interface LoadedConfig {
  config: Config
  /** The file it came from; undefined when there was none. */
  file: string | undefined
}

/**
 * Reads, expands and validates the configuration.
 *
 * @throws ConfigError with every problem found, not only the first
 */
export async function loadConfig({ file, env }: LoadOptions): Promise<LoadedConfig> {
  const named = file ?? env.SIGNALBOX_CONFIG
  const path = named ?? 'signalbox.yaml'
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (absent && !named) return { config: parseConfig('', 'the default configuration', env), file: undefined }
    throw new ConfigError(path, [absent ? 'the file does not exist' : `the file cannot be read: ${String(cause)}`])
  }
  return { config: parseConfig(text, path, env), file: path }
}

/** The configuration in a text; `source` names it in errors. `PORT` and `HOST` win over the text. */
export function parseConfig(text: string, source: string, env: Environment): Config {
  const document = parseDocument(text)
  if (document.errors.length > 0)
    throw new ConfigError(
      source,
      document.errors.map(({ message }) => message),
    )
  const { value, problems, expanded } = expandEnvironment(document.toJS() ?? {}, env)
  if (problems.length > 0) throw new ConfigError(source, problems)

  for (const pointer of expanded) convertInPlace(value, pointer)
  const config: unknown = Value.Default(ConfigSchema, value)
  if (!validator.Check(config)) {
    const explanations = validator.Errors(config).map((violation) => explain(violation, ConfigSchema))
    throw new ConfigError(source, [...new Set(explanations.filter((line) => line !== undefined))])
  }
  if (Object.keys(config.providers).length === 0) {
    config.providers = Object.fromEntries(providersIn(env).map((name) => [name, {}]))
  }
  const misuses = [...inconsistencies(config)]
  if (misuses.length > 0) throw new ConfigError(source, misuses)
  return { ...config, server: { ...config.server, ...listenAddress(env, source) } }
}

/** Text from the environment becomes the number or boolean that the schema wants in its place. */
function convertInPlace(document: unknown, pointer: string): void {
  const schema = at(pointer.split('/').slice(1), ConfigSchema)
  if (schema === undefined) return
  const converted = Value.Convert(schema as typeof ConfigSchema, Value.Pointer.Get(document, pointer))
  Value.Pointer.Set(document as object, pointer, converted)
}

function listenAddress({ PORT, HOST }: Environment, source: string): Partial<Config['server']> {
  const port = Number(PORT)
  if (PORT && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw new ConfigError(source, [`PORT: must be a port number, not "${PORT}"`])
  }
  return { ...(PORT ? { port } : {}), ...(HOST ? { host: HOST } : {}) }
}

/** What types cannot say. */
function* inconsistencies({ auth, providers, models }: Config): Generator<string> {
  for (const [index, { key, sha256 }] of (auth?.keys ?? []).entries()) {
    if ((key === undefined) === (sha256 === undefined)) yield `auth.keys.${index}: give either key or sha256`
  }
  for (const name of Object.keys(providers)) {
    if (name.includes('/')) yield `providers.${name}: a provider's name must not contain "/"`
  }
  const known = Object.keys(providers)
  for (const [id, { targets }] of Object.entries(models ?? {})) {
    for (const [index, { model }] of targets.entries()) {
      const path = `models.${id}.targets.${index}.model`
      const provider = model.slice(0, model.indexOf('/'))
      if (!known.includes(provider)) {
        yield `${path}: provider "${provider}" is not configured; configured are: ${known.join(', ') || 'none'}`
      }
      if (model.endsWith('/*') !== id.endsWith('*')) {
        yield `${path}: "${model}" and "${id}" must both be wildcards or neither`
      }
    }
    if (targets.every(({ weight }) => weight === 0)) yield `models.${id}.targets: at least one weight must be above 0`
  }
}
