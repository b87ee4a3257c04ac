import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Config } from './schema.ts'

/**
 * A configuration whose paths are absolute and whose agents hold the text of their files. Paths are seen from the
 * configuration's own file; without one, from the working directory.
 */
export async function withFiles(
  { agents, extensions, store, ...config }: Partial<Config>,
  file: string | undefined,
): Promise<{ config: Partial<Config>; problems: string[] }> {
  const from = dirname(resolve(file ?? 'signalbox.yaml'))
  const problems: string[] = []
  const withText = await Promise.all(
    Object.entries(agents ?? {}).map(async ([name, { systemFile, ...agent }]) => {
      if (systemFile === undefined) return [name, agent] as const
      const system = await readFile(resolve(from, systemFile), 'utf8').catch((error: unknown) => {
        const reason = error instanceof Error && 'code' in error ? error.code : error
        problems.push(`agents.${name}.systemFile: the file ${systemFile} cannot be read: ${String(reason)}`)
        return undefined
      })
      if (system?.trim() === '') problems.push(`agents.${name}.systemFile: the file ${systemFile} is empty`)
      return [name, { ...agent, system: system?.trim() ?? '' }] as const
    }),
  )
  const directory = store?.directory
  if (directory !== undefined && !(await canBeDirectory(resolve(from, directory)))) {
    problems.push(`store.directory: ${directory} is not a directory`)
  }
  return {
    problems,
    config: {
      ...config,
      ...(agents === undefined ? {} : { agents: Object.fromEntries(withText) }),
      ...(store === undefined ? {} : { store: withPath(store, from) }),
      ...(extensions === undefined ? {} : { extensions: resolve(from, extensions) }),
    },
  }
}

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
