import { globSync, readFileSync } from 'node:fs'
import { root } from '../process.ts'

/** The part of Grafana's JSON that is looked at here. */
export interface Board {
  uid: string
  title: string
  tags: string[]
  templating: { list: Variable[] }
  panels: Panel[]
}

export interface Variable {
  name: string
  query: string
  includeAll: boolean
  allValue?: string
}

export interface Panel {
  id: number
  type: string
  title: string
  description?: string
  gridPos: { x: number; y: number; w: number; h: number }
  links?: { title: string; url: string }[]
  fieldConfig: {
    defaults: {
      unit?: string
      thresholds?: { steps: { value: number | null; color: string }[] }
      custom?: { stacking?: { mode: string } }
    }
  }
  options: { yAxis?: { unit?: string }; textMode?: string }
  targets: { refId: string; expr: string; legendFormat: string; instant?: boolean }[]
}

/** The files that Grafana is given, by their paths. */
export const boards = new Map<string, Board>(
  globSync('dashboards/json/*.json', { cwd: root })
    .sort()
    .map((path) => [path, JSON.parse(readFileSync(`${root}/${path}`, 'utf8'))]),
)

/** Without the titles of rows. */
export const panelsOf = (board: Board): Panel[] => board.panels.filter(({ type }) => type !== 'row')

/** What the variables of an expression are: durations of the times, and expressions of the rest, `.*` where it is absent. */
export interface Chosen {
  rateInterval: string
  range: string
  namespace?: string
  environment?: string
  model?: string
}

/** The expression that Grafana sends. */
export const sent = (expression: string, chosen: Chosen): string =>
  expression
    .replaceAll('$__rate_interval', chosen.rateInterval)
    .replaceAll('$__range', chosen.range)
    .replaceAll('$namespace', chosen.namespace ?? '.*')
    .replaceAll('$environment', chosen.environment ?? '.*')
    .replaceAll('$model', chosen.model ?? '.*')
