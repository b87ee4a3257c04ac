import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { ConfigError } from '../src/config/config-error.ts'
import type { Extension } from '../src/extension.ts'
import { loadExtension } from '../src/load-extension.ts'
import { bun } from './bun.ts'
import { Program, root } from './process.ts'

const known = 'tools, guardrails, agentLoader, conversationLoader, auth'
const tool = (name: string): string => `{ name: '${name}', execute: () => 'done' }`
const guardrail = (name: string): string => `{ name: '${name}', input: () => null }`

let loads = 0

/** From a directory of its own each time: a module is loaded once. */
function load(t: Test, code: string, file = 'extension.ts'): Promise<Extension> {
  const own = String(loads++)
  return loadExtension(join(t.testdir({ [own]: { [file]: code } }), own, file))
}

/** What is wrong with an extension. */
async function problemsOf(t: Test, code: string, file?: string): Promise<readonly string[]> {
  const error = await load(t, code, file).catch((error: unknown) => error)
  if (error instanceof ConfigError) return error.problems
  throw new Error('it loads, or fails in another way', { cause: error })
}

t.test('an extension exports by name', async (t) => {
  const extension = await load(
    t,
    `export const tools = [${tool('search')}, ${tool('fetch')}]
     export const guardrails = [${guardrail('no-secrets')}]
     export const agentLoader = { load: () => null }
     export const conversationLoader = { load: () => null, save: () => undefined }
     export const auth = { verify: () => ({ userId: 'ann' }) }`,
  )
  t.match(extension, { tools: [{ name: 'search' }, { name: 'fetch' }], guardrails: [{ name: 'no-secrets' }] })
  t.match(extension.auth?.verify(new Headers()), { userId: 'ann' })
  t.strictSame(Object.keys(extension).join(', '), known)
})

t.test('or all as the default export', async (t) => {
  const extension = await load(t, `export default { tools: [${tool('search')}] }`)
  t.strictSame(Object.keys(extension), ['tools'])
  t.match(extension.tools, [{ name: 'search' }])
})

t.test('a named export wins over the same one in the default export', async (t) => {
  const extension = await load(
    t,
    `export default { tools: [${tool('old')}], guardrails: [${guardrail('kept')}] }
     export const tools = [${tool('new')}]`,
  )
  t.match(extension, { tools: [{ name: 'new' }], guardrails: [{ name: 'kept' }] })
})

t.test('a loader may be an instance of a class: it is handed over as it is', async (t) => {
  const { conversationLoader } = await load(
    t,
    `class Loader {
       #kept = null
       load() { return this.#kept }
       save() {}
     }
     export const conversationLoader = new Loader()`,
  )
  t.equal(conversationLoader?.load({ userId: null, conversationId: 'c' }), null)
})

t.test('every kind of ES module loads', async (t) => {
  for (const file of ['a.ts', 'a.mts', 'a.js', 'a.mjs', 'with space, # and ?.mjs']) {
    t.match(await load(t, `export const tools = [${tool('search')}]`, file), { tools: [{ name: 'search' }] }, file)
  }
})

t.test('other exports are left alone', async (t) => {
  const helpers = "export const model = 'x', helper = () => 1, at = 2"
  t.strictSame(Object.keys(await load(t, `${helpers}; export const tools = []`)), ['tools'])
})

t.test('also those that are like a known one, when that is exported too', async (t) => {
  const code = `export class Auth { verify() { return { userId: 'ann' } } }
    export const auth = new Auth()
    export const tool = ${tool('search')}
    export const tools = [tool]`
  t.strictSame(Object.keys(await load(t, code)), ['tools', 'auth'])
})

t.test('and those that are no more than short', async (t) => {
  for (const name of ['path', 'math', 'hash', 'pool', 'models', 'roles', 'at']) {
    t.strictSame(
      Object.keys(await load(t, `export const ${name} = 1, agentLoader = { load() {} }`)),
      ['agentLoader'],
      name,
    )
  }
})

t.test('an export that is probably misspelt is refused', async (t) => {
  const misspelt = {
    tool: 'tools',
    Tools: 'tools',
    tolos: 'tools',
    tols: 'tools',
    toolz: 'tools',
    aut: 'auth',
    Auth: 'auth',
    guardRails: 'guardrails',
    agentloader: 'agentLoader',
    agentLoaders: 'agentLoader',
    conversationsLoader: 'conversationLoader',
    oauth: 'auth',
  }
  for (const [name, meant] of Object.entries(misspelt)) {
    const expected = [`${name}: unknown export; did you mean "${meant}"?`]
    t.strictSame(await problemsOf(t, `export const ${name} = []`), expected)
    t.strictSame(await problemsOf(t, `export default { ${name}: [] }`), expected, 'in a default export too')
  }
})

t.test('an extension without any known export is refused', async (t) => {
  const expected = [`it exports nothing that the gateway knows: ${known}`]
  for (const code of ['', 'export {}', 'export const helper = 1', 'export default () => 1', 'export default []']) {
    t.strictSame(await problemsOf(t, code), expected, code || 'an empty file')
  }
})

t.test('an export of the wrong shape is refused', async (t) => {
  const shapes = {
    'tools = {}': 'tools: must be an array',
    "tools = [{ name: 'a b' }]": `tools[0]: a tool's name must be 1 to 64 letters, digits, "_" and "-", not "a b"`,
    [`tools = [${tool('x')}, { name: 'y' }]`]: 'tools[1]: tool "y": execute must be a function',
    'guardrails = [1]': 'guardrails[0]: a guardrail must be an object',
    "guardrails = [{ name: 'g' }]": 'guardrails[0]: guardrail "g" needs input, output or toolInput',
    'agentLoader = () => null': 'agentLoader: must be an object with load',
    'agentLoader = {}': 'agentLoader.load: must be a function',
    'conversationLoader = null': 'conversationLoader: must be an object with load and save',
    'conversationLoader = { load() {} }': 'conversationLoader.save: must be a function',
    "auth = { verify: 'ann' }": 'auth.verify: must be a function',
    'auth = null': 'auth: must be an object with verify',
  }
  for (const [code, problem] of Object.entries(shapes)) {
    t.strictSame(await problemsOf(t, `export const ${code}`), [problem])
  }
})

t.test('two tools or two guardrails of one name are refused', async (t) => {
  t.strictSame(await problemsOf(t, `export const tools = [${tool('a')}, ${tool('b')}, ${tool('a')}]`), [
    'tools[2]: another one is named "a"',
  ])
  t.strictSame(await problemsOf(t, `export const guardrails = [${guardrail('g')}, ${guardrail('g')}]`), [
    'guardrails[1]: another one is named "g"',
  ])
})

t.test('all problems are told at once, under the name of the file', async (t) => {
  const dir = t.testdir({ 'bad.ts': 'export const tools = [1, 2], agentLoader = {}, auht = {}' })
  const file = join(dir, 'bad.ts')
  await t.rejects(loadExtension(file), {
    name: 'ConfigError',
    message: [
      `${file} is not valid:`,
      '  - auht: unknown export; did you mean "auth"?',
      '  - tools[0]: a tool must be an object',
      '  - tools[1]: a tool must be an object',
      '  - agentLoader.load: must be a function',
    ].join('\n'),
  })
})

t.test('a file that is not there', async (t) => {
  const file = join(t.testdir({}), 'none.ts')
  await t.rejects(loadExtension(file), new ConfigError(file, ['the file does not exist']))
})

t.test('a module that does not load: why, and where', async (t) => {
  const modules: [code: string, problem: RegExp][] = [
    ['export const tools = [', /^the module does not load: Expression expected \(file:.+extension\.ts:1\)$/],
    [
      '\n\nexport const tools = [nope]',
      /^the module does not load: nope is not defined \(file:.+extension\.ts:3:23\)$/,
    ],
    ["import './none.ts'", /Cannot find module '.+none\.ts' imported from .+extension\.ts$/],
    ["import 'no-such-package'", /Cannot find package 'no-such-package' imported from .+extension\.ts$/],
    ["import '#none'", /"#none" is not defined/],
    ["import { nope } from 'signalbox'", /does not provide an export named 'nope' \(file:.+extension\.ts:1\)$/],
    ["throw 'a text'", /^the module does not load: a text$/],
  ]
  for (const [code, problem] of modules) {
    const problems = await problemsOf(t, code)
    t.match(problems, [problem], code)
    t.equal(problems.length, 1)
  }
  t.match(await problemsOf(t, 'export const tools = [', 'a.js'), [
    /^the module does not load: Unexpected end of input$/,
  ])
  t.match(await problemsOf(t, '\nimport { createLLM } from "signalbox"\nexport const x = createLLM("nope/x")'), [
    /extension\.ts:3:18\)$/,
  ])
})

/** A directory from which no package of the repository is found, as one that is mounted. */
async function elsewhere(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'signalbox-extension-')))
  t.teardown(() => rmSync(dir, { recursive: true }))
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, file)), { recursive: true })
    await writeFile(join(dir, file), text)
  }
  return dir
}

/** Runs code that loads the extensions of a directory with `load` and tells with `say`, in a process of its own. */
async function inProcess(
  t: Test,
  dir: string,
  code: string,
  { home = join(root, 'src'), ending = 'ts', program = process.execPath } = {},
): Promise<unknown> {
  const src = (file: string): string => JSON.stringify(pathToFileURL(join(home, `${file}.${ending}`)).href)
  await writeFile(
    join(dir, 'main.mjs'),
    `import { ConversationHistory } from ${src('agent/conversation-history')}
     import { loadExtension } from ${src('load-extension')}
     import { GatewayError } from ${src('server/errors')}
     const load = (file) => loadExtension(import.meta.dirname + '/' + file)
     const say = (value) => process.stdout.write(JSON.stringify(value))
     ${code}`,
  )
  const exit = await new Program(t, program, { args: ['main.mjs'], cwd: dir }).exited
  t.equal(exit.stderr, '', 'without an error or a warning')
  return JSON.parse(exit.stdout || 'null')
}

const usesTheSDK = `
  import { ConversationHistory, GatewayError } from 'signalbox'
  export const auth = { verify() { throw new GatewayError('model_not_allowed', 'no') } }
  export const conversationLoader = { load: () => new ConversationHistory(), save() {} }
`
const isTheSame = `
  const { auth, conversationLoader } = await load('extension.ts')
  const isError = (() => { try { auth.verify() } catch (error) { return error instanceof GatewayError } })()
  say([isError, conversationLoader.load() instanceof ConversationHistory])
`

const sayTool = "say((await load('extension.ts')).tools[0].name)"

t.test("import 'signalbox' is the gateway that runs", async (t) => {
  t.test('from its source', async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': usesTheSDK })
    t.strictSame(await inProcess(t, dir, isTheSame), [true, true])
  })

  t.test('or as it was built', async (t) => {
    const dist = join(t.testdir({}), 'dist')
    await new Program(t, 'tsc', {
      args: ['-p', 'tsconfig.build.json', '--outDir', dist],
      env: { PATH: [join(root, 'node_modules/.bin'), process.env.PATH].join(':') },
    }).exited
    const dir = await elsewhere(t, { 'extension.ts': usesTheSDK })
    t.strictSame(await inProcess(t, dir, isTheSame, { home: join(dist, 'src'), ending: 'js' }), [true, true])
  })

  t.test('also when another one is installed beside the extension', async (t) => {
    const dir = await elsewhere(t, {
      'extension.ts': usesTheSDK,
      'node_modules/signalbox/package.json': '{ "name": "signalbox", "main": "index.js" }',
      'node_modules/signalbox/index.js': 'throw new Error("another gateway")',
    })
    t.strictSame(await inProcess(t, dir, isTheSame), [true, true])
  })

  t.test('also in the modules that the extension imports', async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': "export * from './lib/sdk.ts'", 'lib/sdk.ts': usesTheSDK })
    t.strictSame(await inProcess(t, dir, isTheSame), [true, true])
  })

  t.test('also through the links of a mounted ConfigMap', async (t) => {
    const dir = await elsewhere(t, { '..1/extension.ts': "export * from './sdk.ts'", '..1/sdk.ts': usesTheSDK })
    await symlink('..1', join(dir, '..data'))
    for (const file of ['extension.ts', 'sdk.ts']) await symlink(`..data/${file}`, join(dir, file))
    t.strictSame(await inProcess(t, dir, isTheSame), [true, true])
  })

  t.test('also for CommonJS', async (t) => {
    const code = `const { defineTool } = require('signalbox')
      module.exports = { tools: [defineTool({ name: 'search', execute: () => 1 })] }`
    const dir = await elsewhere(t, { 'extension.cjs': code })
    t.equal(await inProcess(t, dir, sayTool.replace('.ts', '.cjs')), 'search')
  })

  t.test('and signalbox/plugins are its plugins', async (t) => {
    const dir = await elsewhere(t, {
      'extension.ts': `import { auth as plugin } from 'signalbox/plugins'
        export const tools = [{ name: typeof plugin, execute() {} }]`,
    })
    t.strictSame(await inProcess(t, dir, sayTool), 'function')
  })
})

t.test('a package', async (t) => {
  const tellsTypebox = `import Type from 'typebox'
    import OpenAI from 'openai'
    export const tools = [{ name: 'typebox', description: import.meta.resolve('typebox'), execute: () => OpenAI.name }]`
  const tells = `const { tools } = await load('extension.ts')
    say([tools[0].description, tools[0].execute()])`

  t.test("is the gateway's own when there is none near the extension", async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': tellsTypebox })
    t.strictSame(await inProcess(t, dir, tells), [import.meta.resolve('typebox'), 'OpenAI'])
  })

  t.test("is the extension's when there is one", async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': tellsTypebox })
    await cp(join(root, 'node_modules/typebox'), join(dir, 'node_modules/typebox'), { recursive: true })
    const [typebox] = (await inProcess(t, dir, tells)) as string[]
    t.match(typebox, pathToFileURL(join(dir, 'node_modules/typebox/')).href)
  })

  t.test('that neither has is told with the file that wants it', async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': "import 'no-such-package'" })
    t.strictSame(await inProcess(t, dir, "await load('extension.ts').catch(({ problems }) => say(problems))"), [
      `the module does not load: Cannot find package 'no-such-package' imported from ${join(dir, 'extension.ts')}`,
    ])
  })
})

t.test('resolution is hooked into', async (t) => {
  const code = `export const tools = [${tool('search')}]`

  t.test('once, however many extensions there are', async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': code, 'other.ts': code })
    const counts = `
      const { default: module } = await import('node:module')
      let count = 0
      module.registerHooks = () => { count++ }
      for (const file of ['extension.ts', 'other.ts']) await load(file)
      say(count)`
    t.equal(await inProcess(t, dir, counts), 1)
  })

  t.test('not at all on Bun, where extensions load all the same', async (t) => {
    const dir = await elsewhere(t, { 'extension.ts': code })
    t.equal(await inProcess(t, dir, sayTool, { program: bun.program }), 'search')
  })
})
