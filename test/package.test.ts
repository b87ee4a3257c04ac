import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { type Exit, Program, root } from './process.ts'

interface Manifest {
  bin: Record<string, string>
  files: string[]
  dependencies: Record<string, string>
  peerDependencies?: Record<string, string>
}

interface Lock {
  packages: Record<
    string,
    {
      dev?: boolean
      peerDependencies?: Record<string, string>
      peerDependenciesMeta?: Record<string, { optional?: boolean }>
    }
  >
}

interface Packed {
  filename: string
  /** Bytes. */
  size: number
  unpackedSize: number
  files: { path: string }[]
}

const manifest: Manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
/** A project of somebody else's, `project`, and what the package is made from, `source`. */
const dir = t.testdir({
  source: {},
  project: { 'package.json': '{}', node_modules: { '.bin': {}, signalbox: {} } },
})
const source = join(dir, 'source')
const project = join(dir, 'project')
const installed = join(project, 'node_modules/signalbox')

async function succeed(t: Test, command: string, args: string[], cwd: string): Promise<Exit> {
  const env = { npm_config_update_notifier: 'false' }
  // The compiler takes its time on a busy machine.
  const exit = await new Program(t, command, { args, cwd, env, lifeMs: 100_000 }).exited
  t.equal(exit.code, 0, exit.code === 0 ? `${basename(command)} ends well` : exit.stdout + exit.stderr)
  return exit
}

/** Runs a module of the project's, where nothing but the package's own exports say where its code is. */
async function runInProject(t: Test, code: string): Promise<unknown> {
  const { stdout } = await succeed(t, process.execPath, ['--input-type=module', '-e', code], project)
  return JSON.parse(stdout)
}

let packed: Packed | undefined

t.test('the build is packed and unpacked as npm does it', async (t) => {
  await succeed(t, 'npm', ['run', 'build', '--', '--outDir', join(source, 'dist')], root)
  for (const file of ['package.json', ...manifest.files]) {
    if (file !== 'dist' && existsSync(join(root, file)))
      cpSync(join(root, file), join(source, file), { recursive: true })
  }
  const { stdout } = await succeed(t, 'npm', ['pack', '--json'], source)
  packed = JSON.parse(stdout)[0] as Packed
  await succeed(t, 'tar', ['-xzf', join(source, packed.filename), '--strip-components=1'], installed)
})

t.test('the package holds what it needs and no more', async (t) => {
  const paths = packed?.files.map(({ path }) => path) ?? []
  for (const path of [
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'package.json',
    'dist/src/main.js',
    'dashboards/json/signalbox-overview.json',
  ]) {
    t.ok(paths.includes(path), path)
  }
  const others = paths.filter(
    (path) =>
      !/^(dist\/(src|plugins)\/|dashboards\/((json|rules)\/|runbooks\.md$)|(README|CHANGELOG)\.md$|LICENSE$|package\.json$)/.test(
        path,
      ),
  )
  t.same(others, [], 'no tests, no benchmark, no settings of the repository')
  t.same(
    paths.filter((path) => /test|bench|(?<!\.d)\.ts$/.test(path)),
    [],
  )
  t.ok(packed && packed.size < 1_000_000, `it is small: ${packed?.size} bytes`)
})

/** The packages that the packed files with this ending import. */
function importsOf(ending: string): string[] {
  const files = packed?.files.filter(({ path }) => path.endsWith(ending)) ?? []
  const specifiers = files.flatMap(({ path }) =>
    [
      ...readFileSync(join(installed, path), 'utf8').matchAll(
        /(?<![.\w])(?:from|import|module)\s*\(?\s*['"]([@\w][\w@./:-]*)['"]/g,
      ),
    ].map(([, specifier = '']) => specifier),
  )
  const names = specifiers
    .filter((specifier) => !isBuiltin(specifier))
    .map((specifier) => /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier)
  return [...new Set(names)].sort()
}

t.test('whoever installs it gets all that it imports', async (t) => {
  const { dependencies, peerDependencies = {} } = manifest
  // Its own name stands in a comment, for extensions.
  const brought = ['signalbox', ...Object.keys({ ...dependencies, ...peerDependencies })]
  const notBrought = (name: string): boolean => !brought.includes(name)

  t.test('at run time', async (t) => {
    const names = importsOf('.js')
    t.ok(names.includes('fastify'))
    t.same(names.filter(notBrought), [])
  })

  t.test('but not the client of OpenAI, whose types alone it speaks of', async (t) => {
    t.notOk(importsOf('.js').includes('openai'))
    t.ok(importsOf('.d.ts').includes('openai'))
  })

  t.test('and nothing that it does not use', async (t) => {
    const files = packed?.files.filter(({ path }) => path.endsWith('.js')) ?? []
    const code = files.map(({ path }) => readFileSync(join(installed, path), 'utf8')).join('\n')
    const isNamed = (name: string): boolean => new RegExp(`['"]${name}(/[^'"]*)?['"]`).test(code)
    t.same(
      Object.keys(dependencies).filter((name) => !isNamed(name)),
      [],
    )
  })

  t.test('with what its dependencies want beside them', async (t) => {
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
    const wanted = Object.keys(dependencies).flatMap((name) => {
      const { peerDependencies = {}, peerDependenciesMeta = {} } = packages[`node_modules/${name}`] ?? {}
      return Object.keys(peerDependencies).filter((peer) => !peerDependenciesMeta[peer]?.optional)
    })
    t.ok(wanted.includes('zod'))
    const { dev: isForDevelopment } = packages['node_modules/tap'] ?? {}
    t.equal(isForDevelopment, true)
    t.same(
      wanted.filter((name) => packages[`node_modules/${name}`]?.dev !== undefined),
      [],
      'also where those for development are left out',
    )
  })

  t.test('in its types, which are `any` without', async (t) => {
    const names = importsOf('.d.ts')
    t.ok(names.includes('fastify'))
    t.same(names.filter(notBrought), [])
  })
})

t.test("import 'signalbox' is the SDK, and starts a server", async (t) => {
  const answers = await runInProject(
    t,
    `
    import { createDemo, createServer } from 'signalbox'
    const server = createServer({ port: 0, entries: [{ model: 'demo/echo', client: createDemo() }] })
    const { url } = await server.start()
    const health = await (await fetch(url + '/health')).json()
    const body = JSON.stringify({ model: 'demo/echo', messages: [{ role: 'user', content: 'Hello there' }] })
    const completion = await (await fetch(url + '/v1/chat/completions', { method: 'POST', body })).json()
    await server.stop()
    process.stdout.write(JSON.stringify([health, completion.choices[0].message.content, import.meta.resolve('signalbox')]))
    `,
  )
  t.match(answers, [{ status: 'ok' }, /Hello there/, /project\/node_modules\/signalbox\/dist\/src\/index\.js$/])
})

t.test("import 'signalbox/plugins' are the Fastify plugins, for an app of one's own", async (t) => {
  const answers = await runInProject(
    t,
    `
    import Fastify from 'fastify'
    import { createDemo, ModelRouter } from 'signalbox'
    import { auth, cors, errors, health, hooks, modelRouter, oaiServer, requestLog } from 'signalbox/plugins'
    const app = Fastify()
    const router = new ModelRouter()
    router.register({ model: 'mine', client: createDemo() })
    for (const plugin of [hooks, errors, requestLog, cors, health, auth]) await app.register(plugin)
    await app.register(modelRouter, { router })
    await app.register(oaiServer)
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const models = await (await fetch(url + '/v1/models')).json()
    await app.close()
    process.stdout.write(JSON.stringify([models.data[0].id, import.meta.resolve('signalbox/plugins')]))
    `,
  )
  t.match(answers, ['mine', /project\/node_modules\/signalbox\/dist\/plugins\/index\.js$/])
})

t.test('the signalbox command', async (t) => {
  const { signalbox = '' } = manifest.bin
  const command = join(project, 'node_modules/.bin/signalbox')
  // As npm links it.
  chmodSync(join(installed, signalbox), 0o755)
  symlinkSync(join('../signalbox', signalbox), command)

  t.test('shows its help', async (t) => {
    const { stdout } = await succeed(t, command, ['--help'], project)
    t.match(stdout, /^Usage: signalbox/)
  })

  t.test('runs an agent on an extension that lies far away', async (t) => {
    const cwd = mkdtempSync(join(tmpdir(), 'signalbox-'))
    t.teardown(() => rmSync(cwd, { recursive: true, force: true }))
    writeFileSync(
      join(cwd, 'signalbox.yaml'),
      `extensions: ./extension.ts
agents: { helper: { model: demo/echo, tools: [clock], guardrails: [polite] } }`,
    )
    writeFileSync(
      join(cwd, 'extension.ts'),
      `import { defineGuardrail, defineTool, type Extension } from 'signalbox'
import Type from 'typebox'
export const tools: Extension['tools'] = [
  defineTool({ name: 'clock', parameters: Type.Object({ zone: Type.String() }), execute: ({ zone }) => 'noon in ' + zone }),
]
export const guardrails = [
  defineGuardrail({ name: 'polite', input: (said) => (JSON.stringify(said).includes('rude') ? { reason: 'No.' } : null) }),
]`,
    )
    const gateway = new Program(t, command, { cwd, env: { PORT: '0' } })
    const [, url] = await gateway.says(/running at (http:\S+):/)
    const answerTo = async (content: string): Promise<unknown> => {
      const body = JSON.stringify({ model: 'helper', messages: [{ role: 'user', content }] })
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body })
      const { choices } = (await response.json()) as { choices: { message: unknown }[] }
      return choices[0]?.message
    }
    t.match(await answerTo('clock'), { content: /The tool answered: noon in/ })
    t.match(await answerTo('something rude'), { refusal: 'No.' })
    gateway.kill('SIGINT')
    t.match(await gateway.exited, { code: 0, stderr: '' })
  })

  t.test('runs the gateway', async (t) => {
    const cwd = join(project, 'elsewhere')
    mkdirSync(cwd)
    const gateway = new Program(t, command, { cwd, env: { PORT: '0' } })
    const [, url] = await gateway.says(/running at (http:\S+):/)
    t.same(await (await fetch(`${url}/ready`)).json(), { status: 'ready' })
    gateway.kill('SIGINT')
    t.equal((await gateway.exited).code, 0)
  })
})
