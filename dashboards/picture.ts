import { mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startLoad } from '../test/dashboards/load.ts'
import { type Board, boards, type Panel, panelsOf, sent } from '../test/dashboards/shown.ts'
import { Prometheus } from '../test/prometheus.ts'
import { drawn, type Line } from './svg.ts'

// Draws the dashboards from what a real Prometheus says after it has scraped a real gateway under the load of the tests.

const seconds = Number(process.argv[2] ?? 180)
const step = Math.ceil(seconds / 60)
const chosen = { rateInterval: '15s', range: `${seconds}s` }
const closers: (() => Promise<void>)[] = []
const owner = { teardown: (close: () => Promise<void>) => closers.push(close) }

const load = await startLoad(owner)
const prometheus = await Prometheus.start(owner, { targets: [new URL(load.gateway.url).host], interval: '1s' })
const start = Date.now() / 1000
const passed = (): number => (Date.now() / 1000 - start) / seconds

/** One of several clients, each of which is there for a part of the time; in the last third providers are worse. */
async function client(n: number): Promise<void> {
  while (passed() < 1) {
    const isThere = n === 0 || Math.sin(passed() * Math.PI * 3 - n / 2) > 0
    if (isThere) await load.usual()
    else await sleep(500)
    const isBad = passed() > 0.65 && passed() < 0.85
    if (Math.random() < (isBad ? 0.8 : 0.05)) await load.trouble()
  }
}
await Promise.all([0, 1, 2, 3, 4].map(client))
const end = Date.now() / 1000

type Matrix = { metric: Record<string, string>; values: [number, string][] }[]

/** What a panel shows of the whole time. */
async function linesOf({ targets }: Panel): Promise<Line[]> {
  const parts = await Promise.all(
    targets.map(async ({ expr, legendFormat, instant }) => {
      const from = instant ? end : end - seconds
      const range = { start: String(from), end: String(end), step: String(step) }
      const { result } = await prometheus.get<{ result: Matrix }>('query_range', {
        query: sent(expr, chosen),
        ...range,
      })
      return result.map(({ metric, values }) => {
        const at = new Map(values.map(([time, value]) => [Math.round((time - from) / step), Number(value)]))
        const length = instant ? 1 : Math.floor(seconds / step) + 1
        return {
          name: legendFormat.replaceAll(/{{(\w+)}}/g, (_whole, label: string) => metric[label] ?? ''),
          values: Array.from({ length }, (_, n) => at.get(n) ?? Number.NaN),
        }
      })
    }),
  )
  return parts.flat()
}

const dataOf = async (board: Board): Promise<Map<number, Line[]>> =>
  new Map(await Promise.all(panelsOf(board).map(async (panel) => [panel.id, await linesOf(panel)] as const)))

mkdirSync(new URL('pictures', import.meta.url), { recursive: true })
for (const board of boards.values()) {
  writeFileSync(new URL(`pictures/${board.uid}.svg`, import.meta.url), drawn(board, await dataOf(board)))
}
for (const close of closers.toReversed()) await close()
