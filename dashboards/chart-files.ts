import { readFileSync } from 'node:fs'
import { jsonFiles } from './index.ts'

const rules = 'signalbox.rules.yaml'

/**
 * What the chart has copies of, by their path in `helm/files`. A chart can read only what is in it; Helm follows links out of it, but says so in
 * every line of every command.
 */
export const chartFiles: ReadonlyMap<string, string> = new Map([
  ...Array.from(jsonFiles, ([file, json]) => [file.replace('json/', 'dashboards/'), json] as const),
  [rules, readFileSync(new URL(`rules/${rules}`, import.meta.url), 'utf8')],
])
