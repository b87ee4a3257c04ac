import { stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { keysIn } from './key-files.ts'
import type { ProviderConfig } from './provider-schema.ts'
import { ReadFiles } from './read-files.ts'
import type { Config } from './schema.ts'

/**
 * A configuration whose paths are absolute and that holds what its files have: instructions of agents, keys. Paths are seen from the
 * configuration's own file; without one, from the working directory.
 */
export async function withFiles(
  { agents, auth, extensions, providers, store, ...config }: Partial<Config>,
  file: string | undefined,
  files = new ReadFiles(),
): Promise<{ config: Partial<Config>; problems: string[] }> {
  const from = dirname(resolve(file ?? 'signalbox.yaml'))
  const problems: string[] = []
  const withText = await Promise.all(
    Object.entries(agents ?? {}).map(async ([name, { systemFile, ...agent }]) => {
      if (systemFile === undefined) return [name, agent] as const
      const system = await files.text(resolve(from, systemFile)).catch((error: unknown) => {
        problems.push(`agents.${name}.systemFile: the file ${systemFile} cannot be read: ${reasonOf(error)}`)
        return undefined
      })
      if (system?.trim() === '') problems.push(`agents.${name}.systemFile: the file ${systemFile} is empty`)
      return [name, { ...agent, system: system?.trim() ?? '' }] as const
    }),
  )
  const withKeys = await Promise.all(
    Object.entries(providers ?? {}).map(async ([name, { apiKeyFile, ...provider }]) => {
      if (apiKeyFile === undefined) return [name, provider] as const
      const apiKey = await files.text(resolve(from, apiKeyFile)).catch((error: unknown) => {
        problems.push(`providers.${name}.apiKeyFile: the file ${apiKeyFile} cannot be read: ${reasonOf(error)}`)
        return undefined
      })
      if (apiKey?.trim() === '') problems.push(`providers.${name}.apiKeyFile: the file ${apiKeyFile} is empty`)
      return [name, { ...provider, apiKey: apiKey?.trim() || unread } satisfies ProviderConfig] as const
    }),
  )
  const found = await Promise.all((auth?.keyFiles ?? []).map((path) => keysIn(resolve(from, path), path, files)))
  problems.push(...found.flatMap((one) => one.problems))
  const directory = store?.directory
  if (directory !== undefined && !(await canBeDirectory(resolve(from, directory)))) {
    problems.push(`store.directory: ${directory} is not a directory`)
  }
  return {
    problems,
    config: {
      ...config,
      ...(agents === undefined ? {} : { agents: Object.fromEntries(withText) }),
      ...(providers === undefined ? {} : { providers: Object.fromEntries(withKeys) }),
      ...(auth === undefined ? {} : { auth: { keys: [...(auth.keys ?? []), ...found.flatMap(({ keys }) => keys)] } }),
      ...(store === undefined ? {} : { store: withPath(store, from) }),
      ...(extensions === undefined ? {} : { extensions: resolve(from, extensions) }),
    },
  }
}

/** In place of a key that could not be read, which is told already. */
const unread = 'unread'

const reasonOf = (error: unknown): string => String(error instanceof Error && 'code' in error ? error.code : error)

const withPath = (store: Config['store'], from: string): Config['store'] =>
  store.directory === undefined ? store : { ...store, directory: resolve(from, store.directory) }

/** It is one, or there is nothing yet. */
async function canBeDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT'
  }
}
