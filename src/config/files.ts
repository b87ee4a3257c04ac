import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Config } from './schema.ts'

/**
 * A configuration whose paths are absolute and whose agents hold the text of their files. Paths are seen from the
 * configuration's own file; without one, from the working directory.
 */
export async function withFiles(
  { agents, extensions, store, ...config }: Config,
  file: string | undefined,
): Promise<{ config: Config; problems: string[] }> {
  const from = dirname(resolve(file ?? 'signalbox.yaml'))
  const problems: string[] = []
  const withText = await Promise.all(
    Object.entries(agents).map(async ([name, { systemFile, ...agent }]) => {
      if (systemFile === undefined) return [name, agent] as const
      const system = await readFile(resolve(from, systemFile), 'utf8').catch((error: unknown) => {
        const reason = error instanceof Error && 'code' in error ? error.code : error
        problems.push(`agents.${name}.systemFile: the file ${systemFile} cannot be read: ${String(reason)}`)
        return ''
      })
      return [name, { ...agent, system: system.trim() }] as const
    }),
  )
  return {
    problems,
    config: {
      ...config,
      agents: Object.fromEntries(withText),
      store: store.directory === undefined ? store : { ...store, directory: resolve(from, store.directory) },
      ...(extensions === undefined ? {} : { extensions: resolve(from, extensions) }),
    },
  }
}
