import { globSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import t from 'tap'

const root = new URL('../', import.meta.url)
const files = globSync(['src/**/*.ts', 'plugins/**/*.ts'], { cwd: root }).sort()
const textOf = new Map(files.map((file) => [file, readFileSync(new URL(file, root), 'utf8')]))

/** The areas of src/: each may import those after it, never one before it. */
const areas = [
  'metrics',
  'server',
  'admin',
  'engine',
  'completions',
  'responses',
  'router',
  'tracing',
  'agent',
  'limits',
  'config',
  'auth',
  'llm',
  'store',
]

/** What everything may import: it imports nothing but its like. */
const isLeaf = (file: string): boolean =>
  file.startsWith('src/hooks/') ||
  [
    'src/server/errors.ts',
    'src/provider-name.ts',
    'src/types.ts',
    'src/json.ts',
    'src/body-schema.ts',
    'src/source.ts',
    'src/env.ts',
    'src/target.ts',
  ].includes(file)

const areaOf = (file: string): string | undefined => /^src\/([^/]+)\//.exec(file)?.[1]
const isPlugin = (file: string): boolean => file.startsWith('plugins/')

/** The modules that a text imports or re-exports, types and dynamic imports included. */
function specifiersIn(text: string): string[] {
  const statement =
    /^\s*(?:import|export)\s[^'"]*?\sfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm
  return Array.from(text.matchAll(statement), ([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? '')
}

/** Files of this repository as paths, packages by their names. */
const importsOf = (file: string): string[] =>
  specifiersIn(textOf.get(file) ?? '').map((name) =>
    name.startsWith('.') ? posix.join(posix.dirname(file), name) : name,
  )

const arrows = files.flatMap((from) => importsOf(from).map((to) => ({ from, to })))

/** The arrows for which it is not so, as a person reads them. */
const broken = (allowed: (arrow: { from: string; to: string }) => boolean): string[] =>
  arrows.filter((arrow) => !allowed(arrow)).map(({ from, to }) => `${from} -> ${to}`)

/** The lines that match, with their place. */
const linesWith = (pattern: RegExp, except: string[] = []): string[] =>
  files
    .filter((file) => !except.includes(file))
    .flatMap((file) => {
      const lines = (textOf.get(file) ?? '').split('\n')
      return lines.flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1} ${line.trim()}`] : []))
    })

t.test('import lines are read in every form', async (t) => {
  const text = `import a from 'a'
import { b, type B } from './b.ts'
import type { C } from "../c.ts"
import {
  d,
  e,
} from 'd'
import 'f'
export { g } from './g.ts'
export * from './h.ts'
  const { i } = await import('./i.ts')
const from = 'not an import'`
  t.strictSame(specifiersIn(text), ['a', './b.ts', '../c.ts', 'd', 'f', './g.ts', './h.ts', './i.ts'])
})

t.test('the files of this repository are read', async (t) => {
  t.ok(importsOf('src/main.ts').includes('src/app.ts'))
  t.ok(importsOf('src/app.ts').includes('plugins/auth.ts'))
  t.ok(importsOf('src/llm/call.ts').includes('undici'))
  const missing = arrows.filter(({ to }) => /^(src|plugins)\//.test(to) && !textOf.has(to))
  t.strictSame(missing, [], 'every file that is imported is there')
  t.strictSame(
    broken(({ to }) => !to.startsWith('..')),
    [],
    'and within src/ or plugins/',
  )
})

t.test('main -> app -> plugins -> src', async (t) => {
  t.strictSame(
    broken(({ to }) => to !== 'src/main.ts'),
    [],
    'nothing imports main',
  )
  t.strictSame(
    broken(({ from, to }) => to !== 'src/app.ts' || from === 'src/main.ts'),
    [],
    'only main imports app',
  )
  t.strictSame(
    broken(({ from, to }) => !isPlugin(to) || isPlugin(from) || from === 'src/app.ts'),
    [],
    'only app and plugins import plugins',
  )
  t.strictSame(
    broken(({ to }) => to !== 'src/index.ts'),
    [],
    'the public SDK is for others',
  )
})

t.test('only main, app and the plugins know Fastify', async (t) => {
  const ofFastify = /^(fastify$|fastify-|@fastify\/)/
  t.ok(arrows.some(({ from, to }) => isPlugin(from) && ofFastify.test(to)))
  t.strictSame(
    broken(({ from, to }) => !ofFastify.test(to) || isPlugin(from) || ['src/main.ts', 'src/app.ts'].includes(from)),
    [],
  )
})

t.test('an area imports only areas after it', async (t) => {
  const unknown = files.filter((file) => !isLeaf(file) && areaOf(file) && !areas.includes(areaOf(file) ?? ''))
  t.strictSame(unknown, [], 'every area has its place')
  t.strictSame(
    broken(({ from, to }) => {
      const [area, other] = [areaOf(from), areaOf(to)]
      if (!area || !other || area === other || isLeaf(to)) return true
      return areas.indexOf(area) < areas.indexOf(other)
    }),
    [],
  )
})

t.test('the leaves import only leaves', async (t) => {
  t.ok(files.filter(isLeaf).length >= 6)
  t.strictSame(
    broken(({ from, to }) => !isLeaf(from) || !/^(src|plugins)\//.test(to) || isLeaf(to)),
    [],
  )
})

t.test('the server knows clients by their interface only; create-server puts them together', async (t) => {
  t.strictSame(
    broken(
      ({ from, to }) =>
        areaOf(from) !== 'server' || from === 'src/server/create-server.ts' || !/^src\/(llm|engine|config)\//.test(to),
    ),
    [],
  )
  t.strictSame(
    broken(({ from, to }) => areaOf(from) !== 'server' || !/^(undici|ioredis|redis|prom-client)$/.test(to)),
    [],
  )
})

t.test('only the store and the plugins know Redis', async (t) => {
  t.ok(arrows.some(({ to }) => to === 'ioredis'))
  t.strictSame(
    broken(({ from, to }) => to !== 'ioredis' || areaOf(from) === 'store' || isPlugin(from)),
    [],
  )
})

t.test('metrics know the hooks only, and nobody else knows their library', async (t) => {
  t.ok(arrows.some(({ to }) => to === 'prom-client'))
  t.strictSame(
    broken(({ from, to }) => to !== 'prom-client' || areaOf(from) === 'metrics'),
    [],
  )
  t.strictSame(
    broken(({ from, to }) => areaOf(from) !== 'metrics' || !areaOf(to) || areaOf(to) === 'metrics' || isLeaf(to)),
    [],
  )
})

t.test(
  'only the tracing knows OpenTelemetry, of the gateway only hooks and messages, and is loaded when it is wanted',
  async (t) => {
    t.ok(arrows.some(({ to }) => to === '@opentelemetry/api'))
    t.strictSame(
      broken(({ from, to }) => !to.startsWith('@opentelemetry/') || areaOf(from) === 'tracing'),
      [],
    )
    t.strictSame(
      broken(
        ({ from, to }) =>
          areaOf(from) !== 'tracing' ||
          !areaOf(to) ||
          isLeaf(to) ||
          /^src\/(tracing|agent\/message-collector)/.test(to),
      ),
      [],
    )
    // A type is gone when it runs.
    t.strictSame(
      linesWith(
        /^(?!import type)(import|export) .* from '[^']*\/tracing\/|^import .* from '@opentelemetry\/sdk-node'/,
      ).filter((line) => !line.startsWith('src/tracing/')),
      [],
    )
  },
)

t.test('the admin API and its page are loaded when they are wanted', async (t) => {
  const loaded =
    /^(?!import type)(import|export) .* from '([^']*\/(plugins|\.)\/(admin|docs|stored-keys)\.ts|@fastify\/swagger(-ui)?)'/
  t.strictSame(
    linesWith(loaded, ['plugins/index.ts', 'plugins/docs.ts']).filter((line) => !/ import type /.test(line)),
    [],
  )
  t.ok(linesWith(/await import\('[^']*\/(admin|docs|stored-keys)\.ts'\)/).length >= 3)
})

t.test('no import leads back to where it came from', async (t) => {
  const cycles: string[] = []
  const finished = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
    if (finished.has(file) || path.includes(file)) return
    for (const next of importsOf(file)) if (textOf.has(next)) visit(next, [...path, file])
    finished.add(file)
  }
  for (const file of files) visit(file, [])
  t.strictSame(cycles, [])
})

t.test('only src/env.ts reads the environment', async (t) => {
  const environment = /\bprocess\s*\.\s*env\b|\benv\b.*from 'node:process'/
  t.match(textOf.get('src/env.ts'), environment)
  t.strictSame(linesWith(environment, ['src/env.ts']), [])
})

t.test('nothing logs to the console, is of type any, or is left to do', async (t) => {
  t.strictSame(linesWith(/\bconsole\s*\./), [])
  t.strictSame(linesWith(/(?::|\bas|[<|&])\s*any\b(?=\s*(?:[;,)>|&=[\]}]|$))/), [])
  t.strictSame(linesWith(/\b(?:TODO|FIXME|XXX|HACK)\b/), [])
})
