import type { Board, Panel } from '../test/dashboards/shown.ts'

/** One series of a panel: its legend, and a value at each of the same times; NaN where there is none. */
export interface Line {
  name: string
  values: number[]
}

const [column, row, gap] = [50, 25, 4]
const colours = [
  '#7eb26d',
  '#eab839',
  '#6ed0e0',
  '#ef843c',
  '#e24d42',
  '#5195ce',
  '#ba43a9',
  '#a16fd0',
  '#b7dbab',
  '#f4d598',
]
const named: Record<string, string> = { green: '#73bf69', yellow: '#f2cc0c', red: '#f2495c', blue: '#5794f2' }

/** A dashboard as a picture: each panel in its place of the grid, with the data given for its id. */
export function drawn(board: Board, data: ReadonlyMap<number, Line[]>): string {
  const height = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h)) * row + 40
  const panels = board.panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos
    const [width, tall] = [w * column - gap, h * row - gap]
    const heading = text(4, 16, panel.title, '#ffffff', 'font-size="13" font-weight="600"')
    const inside = panel.type === 'row' ? heading : panelOf(panel, data.get(panel.id) ?? [], width, tall)
    return `<g transform="translate(${x * column + gap / 2} ${y * row + 38})">${inside}</g>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${24 * column} ${height}" font-family="Inter, Helvetica, Arial, sans-serif" font-size="11">`,
    `<title>${escaped(board.title)}</title><rect width="100%" height="100%" fill="#111217"/>`,
    text(8, 24, board.title, '#ffffff', 'font-size="16" font-weight="600"'),
    ...panels,
    '</svg>\n',
  ].join('\n')
}

function panelOf(panel: Panel, lines: Line[], width: number, height: number): string {
  const draw = { stat, bargauge: bars, heatmap: cells }[panel.type] ?? graph
  return [
    `<rect width="${width}" height="${height}" rx="2" fill="#181b1f" stroke="#2c3235"/>`,
    text(8, 16, panel.title, '#d8d9da', 'font-weight="600"'),
    draw(panel, lines, width, height),
  ].join('')
}

function stat(panel: Panel, lines: Line[], width: number, height: number): string {
  const value = lastOf(lines[0])
  const shown = panel.options.textMode === 'name' ? (lines[0]?.name ?? '') : formatted(value, unitOf(panel))
  const size = Math.min(30, (1.7 * width) / Math.max(shown.length, 1))
  return text(width / 2, height / 2 + 20, shown, limitColour(panel, value), `font-size="${size}" text-anchor="middle"`)
}

function bars(panel: Panel, lines: Line[], width: number, height: number): string {
  const most = Math.max(...lines.map(lastOf))
  const step = Math.min(28, (height - 30) / lines.length)
  return lines
    .map((line, n) => {
      const y = 28 + n * step
      const long = Math.max(1, (lastOf(line) / most) * (width - 190) || 0)
      const bar = `<rect x="110" y="${y}" width="${fixed(long)}" height="${fixed(step - 8)}" fill="${named.blue}"/>`
      const label = text(8, y + step / 2, shortened(line.name, 16), '#c7d0d9')
      return bar + label + text(116 + long, y + step / 2, formatted(lastOf(line), unitOf(panel)), '#ffffff')
    })
    .join('')
}

/** Where the data of a panel is drawn, below its title and above its legend. */
const frame = (width: number, height: number) => ({ left: 56, top: 26, width: width - 66, height: height - 50 })

function graph(panel: Panel, lines: Line[], width: number, height: number): string {
  const { left, top, width: wide, height: tall } = frame(width, height)
  const isStacked = panel.fieldConfig.defaults.custom?.stacking?.mode === 'normal'
  const below = lines[0]?.values.map(() => 0) ?? []
  const tops = lines.map(({ values }) =>
    values.map((value, at) => {
      if (!isStacked) return value
      below[at] = (below[at] ?? 0) + (Number.isFinite(value) ? value : 0)
      return below[at]
    }),
  )
  const scale = unitOf(panel) === 'bytes' ? 1024 ** 2 : 1
  const most = scale * ceiling(Math.max(...tops.flat().filter(Number.isFinite), 0) / scale)
  const toX = (at: number): number => left + (at / Math.max(1, below.length - 1)) * wide
  const toY = (value: number): number => top + tall - (value / most) * tall
  const grid = [0, 0.5, 1].map((part) => {
    const y = toY(part * most)
    const rule = `<path d="M${left} ${fixed(y)}h${wide}" stroke="#2c3235"/>`
    return (
      rule + text(left - 6, y + 4, formatted(part * most, unitOf(panel)), '#8e8e8e', 'text-anchor="end" font-size="10"')
    )
  })
  const limits = (panel.fieldConfig.defaults.thresholds?.steps ?? []).map(({ value, color }) =>
    value === null || value > most
      ? ''
      : `<path d="M${left} ${fixed(toY(value))}h${wide}" stroke="${named[color]}" stroke-dasharray="6 5" opacity=".7"/>`,
  )
  const drawnLines = tops.map((values, n) => {
    const path = pathOf(values, toX, toY)
    const colour = colours[n % colours.length]
    const floor = (tops[n - 1] ?? values.map(() => 0)).map((value, at) => `L${fixed(toX(at))} ${fixed(toY(value))}`)
    const area = isStacked ? `<path d="${path}${floor.toReversed().join('')}Z" fill="${colour}" opacity=".35"/>` : ''
    return `${area}<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.3"/>`
  })
  return [...grid, ...drawnLines, ...limits, legend(lines, width, height)].join('')
}

/** The series of a heatmap are cumulative buckets: each cell is what is in one and not in the one before. */
function cells(panel: Panel, lines: Line[], width: number, height: number): string {
  const { left, top, width: wide, height: tall } = frame(width, height + 20)
  const buckets = lines.toSorted((a, b) => edge(a) - edge(b))
  const counts = buckets.map(({ values }, n) => values.map((value, at) => value - (buckets[n - 1]?.values[at] ?? 0)))
  const isUsed = (n: number): boolean => counts[n]?.some((count) => count > 1e-9) ?? false
  const [first, last] = [counts.findIndex((_, n) => isUsed(n)), counts.findLastIndex((_, n) => isUsed(n))]
  const most = Math.max(...counts.flat().filter(Number.isFinite))
  const tallEach = tall / (last - first + 1)
  return counts
    .slice(first, last + 1)
    .map((row, n) => {
      const y = top + tall - (n + 1) * tallEach
      const bound = buckets[first + n]?.name ?? ''
      const label = bound === '+Inf' ? bound : formatted(Number(bound), panel.options.yAxis?.unit ?? '')
      const wideEach = wide / row.length
      const filled = row.map((count, at) => {
        if (!(count > 1e-9)) return ''
        const hue = Math.round(240 - 230 * Math.sqrt(count / most))
        return `<rect x="${fixed(left + at * wideEach)}" y="${fixed(y)}" width="${fixed(wideEach)}" height="${fixed(tallEach - 1)}" fill="hsl(${hue} 75% 50%)"/>`
      })
      return text(left - 6, y + 4, label, '#8e8e8e', 'text-anchor="end" font-size="9"') + filled.join('')
    })
    .join('')
}

function legend(lines: Line[], width: number, height: number): string {
  const shown: string[] = []
  let x = 10
  for (const [n, { name }] of lines.entries()) {
    const label = shortened(name, 34)
    const wide = label.length * 5.6 + 20
    if (x + wide > width - 30) return `${shown.join('')}${text(x, height - 8, `+${lines.length - n}`, '#8e8e8e')}`
    shown.push(`<rect x="${fixed(x)}" y="${height - 14}" width="8" height="3" fill="${colours[n % colours.length]}"/>`)
    shown.push(text(x + 11, height - 9, label, '#c7d0d9', 'font-size="10"'))
    x += wide
  }
  return shown.join('')
}

function pathOf(values: number[], toX: (at: number) => number, toY: (value: number) => number): string {
  let isDown = false
  return values
    .map((value, at) => {
      const command = Number.isFinite(value) ? `${isDown ? 'L' : 'M'}${fixed(toX(at))} ${fixed(toY(value))}` : ''
      isDown = command !== ''
      return command
    })
    .join('')
}

const edge = ({ name }: Line): number => (name === '+Inf' ? Number.POSITIVE_INFINITY : Number(name))
const lastOf = (line: Line | undefined): number => line?.values.findLast(Number.isFinite) ?? Number.NaN
const unitOf = ({ fieldConfig }: Panel): string => fieldConfig.defaults.unit ?? ''

function limitColour({ fieldConfig }: Panel, value: number): string | undefined {
  const steps = fieldConfig.defaults.thresholds?.steps ?? []
  return named[steps.findLast((step) => step.value === null || value >= step.value)?.color ?? 'blue']
}

/** The least round number that is not less. */
function ceiling(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 1.5, 2, 3, 4, 5, 8, 10].find((round) => round * power >= value * 0.999) ?? 10)
}

const suffixes: Record<string, string> = { reqps: ' req/s', cps: ' c/s', ops: ' ops/s' }

function formatted(value: number, unit: string): string {
  if (!Number.isFinite(value)) return 'no data'
  const round = (number: number): string => String(Number(number.toPrecision(3)))
  if (unit === 'percentunit') return `${round(value * 100)} %`
  if (unit === 'bytes') return `${round(value / 1024 ** 2)} MiB`
  if (unit === 's' && value !== 0 && value < 1)
    return value < 0.001 ? `${round(value * 1e6)} µs` : `${round(value * 1000)} ms`
  if (unit === 's') return value >= 60 ? `${round(value / 60)} min` : `${round(value)} s`
  const large = value >= 10_000 ? `${round(value / 1000)} K` : round(value)
  return unit === 'currencyUSD' ? `$${large}` : `${large}${suffixes[unit] ?? ''}`
}

const fixed = (number: number): string => String(Math.round(number * 10) / 10)
const shortened = (name: string, most: number): string => (name.length > most ? `${name.slice(0, most - 1)}…` : name)
const escaped = (words: string): string => words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const text = (x: number, y: number, words: string, fill = '#ffffff', more = ''): string =>
  `<text x="${fixed(x)}" y="${fixed(y)}" fill="${fill}"${more && ` ${more}`}>${escaped(words)}</text>`
