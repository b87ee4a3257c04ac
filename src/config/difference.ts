import { isDeepStrictEqual } from 'node:util'
import { isObject } from '../json.ts'
import type { Config } from './schema.ts'

/** What a new configuration changes. Paths, such as `providers.openai.apiKey`; of lists the list's. Never values. */
export interface Difference {
  /** The new one, except for what needs a restart: that is as it was. */
  config: Config
  /** What is different in it. */
  changed: string[]
  /** What is different in the new one, but cannot be changed while the gateway runs. */
  needsRestart: string[]
}

/** @param isLive Whether what is at this path can be changed while the gateway runs. */
export function difference(running: Config, next: Config, isLive: (path: string) => boolean): Difference {
  const changed: string[] = []
  const needsRestart: string[] = []

  /** As they are to be from now on. */
  const merged = (before: unknown, after: unknown, path: string): unknown => {
    if (isDeepStrictEqual(before, after)) return before
    if (isObject(before) && isObject(after)) {
      const names = [...new Set([...Object.keys(after), ...Object.keys(before)])]
      const values = names.map((name) => [name, merged(before[name], after[name], path ? `${path}.${name}` : name)])
      return Object.fromEntries(values.filter(([, value]) => value !== undefined))
    }
    const goesLive = isLive(path)
    ;(goesLive ? changed : needsRestart).push(path)
    return goesLive ? after : before
  }

  const config = merged(running, next, '') as Config
  return { config, changed: changed.sort(), needsRestart: needsRestart.sort() }
}
