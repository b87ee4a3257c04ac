import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { assertSchema } from './openapi.ts'
import { type Exit, type GatewayProcess, holdPort, messagesOf, root, runGateway, runSignalbox } from './process.ts'
import { startUpstream } from './upstream.ts'

const ask = (model: string) => ({ model, messages: [{ role: 'user' as const, content: 'Hello there' }] })

const client = ({ baseURL }: Pick<GatewayProcess, 'baseURL'>): OpenAI =>
  new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0 })

/** The ids of the models that it serves. */
async function modelsOf(gateway: Pick<GatewayProcess, 'baseURL'>): Promise<string[]> {
  const { data } = await client(gateway).models.list()
  return data.map(({ id }) => id)
}

const status = async (url: string): Promise<number> => (await fetch(url)).status

t.test('with no configuration, no key and no Redis', async (t) => {
  const gateway = await runGateway(t, { cwd: t.testdir() })
  const { url } = gateway

  t.test('it answers the probes', async (t) => {
    const health = await fetch(`${url}/health`)
    t.equal(health.status, 200)
    t.same(await health.json(), { status: 'ok' })
    const ready = await fetch(`${url}/ready`)
    t.equal(ready.status, 200)
    t.same(await ready.json(), { status: 'ready' })
  })

  t.test('it lists the one model there is', async (t) => {
    t.same(await modelsOf(gateway), ['demo/echo'])
    t.match(await client(gateway).models.retrieve('demo/echo'), { id: 'demo/echo', object: 'model' })
  })

  t.test('it answers the OpenAI SDK', async (t) => {
    const completion = await client(gateway).chat.completions.create(ask('demo/echo'))
    assertSchema('CreateChatCompletionResponse', completion)
    t.match(completion.choices[0]?.message.content, /demo.*Hello there/, 'labelled as the demo')
    t.equal(completion.choices[0]?.finish_reason, 'stop')
  })

  t.test('it streams to the OpenAI SDK', async (t) => {
    const pieces: string[] = []
    let finish: string | null | undefined
    for await (const chunk of await client(gateway).chat.completions.create({ ...ask('demo/echo'), stream: true })) {
      assertSchema('CreateChatCompletionStreamResponse', chunk)
      const [choice] = chunk.choices
      if (choice?.delta.content) pieces.push(choice.delta.content)
      finish = choice?.finish_reason ?? finish
    }
    t.match(pieces.join(''), /demo.*Hello there/)
    t.ok(pieces.length > 1, 'in more than one piece')
    t.equal(finish, 'stop')
  })

  t.test('its log says in plain words what runs, where, and what to do next', async (t) => {
    await gateway.process.says(/No API keys/)
    const [running, configuration, provider, keys] = messagesOf(gateway.process.stdout)
    t.match(running, `Signalbox is running at ${url}: point an OpenAI SDK at baseURL ${url}/v1`)
    t.match(configuration, /none/, 'there is no configuration file')
    t.match(configuration, /demo\/echo/)
    t.match(provider, /No provider is configured.*demo\/echo.*OPENAI_API_KEY.*signalbox\.yaml.*README\.md/)
    t.match(keys, /anyone who can reach this address may use it/)
    t.equal(gateway.process.stderr, '')
  })
})

t.test('with none of its variables set it listens on 127.0.0.1:4000', async (t) => {
  await holdPort(t, 4000)
  const program = runSignalbox(t, { cwd: t.testdir() })
  await program.says(/Signalbox is running at http:\/\/127\.0\.0\.1:4000:/)
  t.equal(await status('http://127.0.0.1:4000/health'), 200)
})

t.test('with OPENAI_API_KEY it serves openai/* instead of the demo', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const env = { OPENAI_API_KEY: 'sk-the-gateways-own-key', OPENAI_BASE_URL: upstream.baseURL }
  const gateway = await runGateway(t, { cwd: t.testdir(), env })

  t.test('any model of the provider can be asked for', async (t) => {
    t.same(await modelsOf(gateway), ['openai/*'])
    const completion = await client(gateway).chat.completions.create(ask('openai/gpt-4o-mini'))
    t.equal(completion.choices[0]?.message.content, 'You said: Hello there')
    const { body, headers } = upstream.last()
    t.match(body, { model: 'gpt-4o-mini' })
    t.equal(headers.authorization, 'Bearer sk-the-gateways-own-key')
  })

  t.test('the demo is gone', async (t) => {
    const error = await client(gateway)
      .chat.completions.create(ask('demo/echo'))
      .catch((error: unknown) => error)
    t.ok(error instanceof OpenAI.NotFoundError)
    t.match(error, { status: 404, code: 'model_not_found', message: /model "demo\/echo" not found/ })
    t.notMatch(gateway.process.stdout, /No provider is configured/)
  })

  t.test('neither key nor message gets into the log', async (t) => {
    await client(gateway).chat.completions.create(ask('openai/gpt-4o-mini'))
    await gateway.process.says(/"model":"openai\/\*"/)
    t.notMatch(gateway.process.stdout, /sk-the-gateways-own-key|Hello there|You said/)
  })
})

t.test('the other providers are served by their usual variables', async (t) => {
  const given: [variables: Record<string, string>, models: string[]][] = [
    [
      {
        ANTHROPIC_API_KEY: 'k',
        GEMINI_API_KEY: 'k',
        // Its package is not installed, and nobody has named it.
        COHERE_API_KEY: 'k',
        XAI_API_KEY: 'k',
        OPENROUTER_API_KEY: 'k',
        GROQ_API_KEY: 'k',
        MISTRAL_API_KEY: 'k',
        DEEPSEEK_API_KEY: 'k',
        TOGETHER_API_KEY: 'k',
        FIREWORKS_API_KEY: 'k',
        OLLAMA_BASE_URL: 'http://127.0.0.1:11434',
        VLLM_BASE_URL: 'http://127.0.0.1:8000',
        SGLANG_BASE_URL: 'http://127.0.0.1:30000',
        AZURE_OPENAI_API_KEY: 'k',
        AZURE_OPENAI_ENDPOINT: 'https://example.openai.azure.com',
      },
      [
        'anthropic/*',
        'azure/*',
        'deepseek/*',
        'fireworks/*',
        'google/*',
        'groq/*',
        'mistral/*',
        'ollama/*',
        'openrouter/*',
        'sglang/*',
        'together/*',
        'vllm/*',
        'xai/*',
      ],
    ],
    // Azure has no public address: a key alone leads nowhere.
    [{ GROQ_API_KEY: 'k', AZURE_OPENAI_API_KEY: 'k' }, ['groq/*']],
    // A variable that is set to nothing is not set.
    [{ OPENAI_API_KEY: '' }, ['demo/echo']],
  ]
  const cwd = t.testdir()
  for (const [env, models] of given) {
    const gateway = await runGateway(t, { cwd, env })
    t.same((await modelsOf(gateway)).sort(), models, Object.keys(env).join(', '))
  }
})

/** A configuration whose only model has this name. */
const serving = (model: string): string => `
providers: { up: { baseURL: 'http://127.0.0.1:1/v1' } }
models: { ${model}: { targets: [{ model: up/x }] } }
`

t.test('the configuration comes from --config, else SIGNALBOX_CONFIG, else ./signalbox.yaml', async (t) => {
  const cwd = t.testdir({
    'signalbox.yaml': serving('from-here'),
    'variable.yaml': serving('from-variable'),
    'flag.yaml': serving('from-flag'),
  })
  const env = { SIGNALBOX_CONFIG: 'variable.yaml' }
  const here = await runGateway(t, { cwd })
  t.same(await modelsOf(here), ['from-here'])
  await here.process.says(/Configuration: signalbox\.yaml/)
  t.same(await modelsOf(await runGateway(t, { cwd, env })), ['from-variable'])
  t.same(await modelsOf(await runGateway(t, { cwd, env, args: ['--config', 'flag.yaml'] })), ['from-flag'])
})

t.test('PORT and HOST win over the file', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => void taken.close())
  await once(taken, 'listening')
  const port = (taken.address() as { port: number }).port
  // An address of nobody's: listening there would fail.
  const cwd = t.testdir({ 'signalbox.yaml': `server: { host: 192.0.2.1, port: ${port} }` })
  const gateway = await runGateway(t, { cwd, env: { PORT: '0', HOST: '127.0.0.1' } })
  t.not(gateway.port, port)
  t.equal(await status(`http://127.0.0.1:${gateway.port}/health`), 200)

  const { code, stderr } = await runSignalbox(t, { cwd, env: { PORT: 'http' } }).exited
  t.equal(code, 1)
  t.match(stderr, /PORT: must be a port number, not "http"/)
})

/** What `--check-config` says of a file. */
async function check(t: Test, yaml: string, env: Record<string, string> = {}): Promise<Exit> {
  const cwd = t.testdir({ 'signalbox.yaml': yaml })
  return runSignalbox(t, { cwd, env, args: ['--check-config'] }).exited
}

t.test('--check-config', async (t) => {
  t.test('of a good file says so and exits with 0, without listening', async (t) => {
    const { code, stdout, stderr } = await check(
      t,
      `
      server: { port: 4321, logLevel: debug }
      auth: { keys: [{ key: '\${CLIENT_KEY}', user: alice, models: ['fast', 'openai/*'] }] }
      providers: { openai: { apiKey: '\${OPENAI_KEY}' } }
      models:
        fast: { targets: [{ model: openai/gpt-4o-mini, weight: 1 }] }
        openai/*: { targets: [{ model: openai/* }] }
      `,
      { CLIENT_KEY: 'sk-client-1', OPENAI_KEY: 'sk-upstream' },
    )
    t.equal(code, 0)
    t.equal(stdout, 'signalbox.yaml is valid\n')
    t.equal(stderr, '')
  })

  t.test('without a file checks the environment', async (t) => {
    const { code, stdout } = await runSignalbox(t, { cwd: t.testdir(), args: ['--check-config'] }).exited
    t.equal(code, 0)
    t.match(stdout, /default configuration is valid/)
  })

  const problems: [what: string, yaml: string, ...said: RegExp[]][] = [
    [
      'an unknown key, with the nearest known one',
      'server: { prot: 4000 }',
      /server\.prot: unknown key; did you mean "port"\?/,
    ],
    ['an unknown section', 'sever: { port: 4000 }', /sever: unknown key; did you mean "server"\?/],
    [
      'a key that is near to none, with the known ones',
      'zzzzzzzz: 1',
      /zzzzzzzz: unknown key; known keys: .*providers/,
    ],
    ['a wrong type', 'server: { port: high }', /server\.port: must be integer/],
    ['a value out of range', 'server: { port: 99999 }', /server\.port: must be <= 65535/],
    [
      'a duration that is none, with an example',
      'server: { drainTimeout: soon }',
      /server\.drainTimeout: must match.*60s/,
    ],
    [
      'a variable that is not set, and where it is wanted',
      `providers: { openai: { apiKey: "\${MISSING_KEY}" } }`,
      /providers\.openai\.apiKey: .*MISSING_KEY is not set/,
    ],
    [
      'a target at a provider that is not there',
      'providers: { ollama: { kind: ollama } }\nmodels: { fast: { targets: [{ model: nowhere/x }] } }',
      /models\.fast\.targets\.0\.model: provider "nowhere" is not configured.*ollama/,
    ],
    [
      'a provider without its API key, and both ways to give it',
      'providers: { openai: {} }',
      /openai.*needs an API key/,
      /apiKey/,
      /OPENAI_API_KEY/,
    ],
    ['a provider that nobody knows', 'providers: { nobody: { apiKey: k } }', /nobody.*is not known/, /baseURL/],
    ['text that is not YAML, with the line', 'server:\n  port: [1', /line 2/],
  ]
  for (const [what, yaml, ...said] of problems) {
    t.test(`tells ${what}`, async (t) => {
      const { code, stdout, stderr } = await check(t, yaml)
      t.equal(code, 1)
      t.equal(stdout, '')
      for (const pattern of said) t.match(stderr, pattern)
      t.notMatch(stderr, /\n\s+at /, 'a message, not a stack trace')
    })
  }

  t.test('tells a file that is not there', async (t) => {
    const options = { cwd: t.testdir(), args: ['--check-config', '--config', 'elsewhere.yaml'] }
    const { code, stderr } = await runSignalbox(t, options).exited
    t.equal(code, 1)
    t.match(stderr, /elsewhere\.yaml.*\n.*does not exist/)
  })

  t.test('tells all the problems of a file at once', async (t) => {
    const { code, stderr } = await check(
      t,
      `
      server: { prot: 4000, logLevel: loud }
      providers: { openai: { apiKey: "\${MISSING_KEY}" }, groq: {}, xai: {} }
      models: { fast: { targets: [{ model: nowhere/x }] } }
      `,
    )
    t.equal(code, 1)
    t.match(stderr, /server\.prot: unknown key/, 'an unknown key')
    t.match(stderr, /server\.logLevel: must be one of/, 'a wrong value')
    t.match(stderr, /MISSING_KEY is not set/, 'a variable')
    t.match(stderr, /provider "nowhere" is not configured/, 'a target')
    t.match(stderr, /GROQ_API_KEY/, 'a missing API key')
    t.match(stderr, /XAI_API_KEY/, 'and another one')
  })

  t.test('refuses no more than a start does', async (t) => {
    const cwd = t.testdir({ 'signalbox.yaml': 'server: { prot: 4000 }' })
    const { code, stdout, stderr } = await runSignalbox(t, { cwd, env: { PORT: '0' } }).exited
    t.equal(code, 1)
    t.equal(stdout, '', 'nothing was started')
    t.match(stderr, /server\.prot: unknown key; did you mean "port"\?/)
  })
})

t.test('a port in use ends the start with a clear message', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => void taken.close())
  await once(taken, 'listening')
  const port = String((taken.address() as { port: number }).port)
  const { code, stdout, stderr } = await runSignalbox(t, { cwd: t.testdir(), env: { PORT: port } }).exited
  t.equal(code, 1)
  t.match(stderr, new RegExp(`in use.*127\\.0\\.0\\.1:${port}`))
  t.equal(stderr.trim().split('\n').length, 1, 'in one line')
  t.notMatch(stdout, /running/)
})

t.test('--version shows the version of the package and exits with 0', async (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const { code, stdout, stderr } = await runSignalbox(t, { cwd: t.testdir(), args: ['--version'] }).exited
  t.match({ code, stdout, stderr }, { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('--help shows how it is started and exits with 0', async (t) => {
  const { code, stdout, stderr } = await runSignalbox(t, { cwd: t.testdir(), args: ['--help'] }).exited
  t.equal(code, 0)
  t.match(stdout, /^Usage: signalbox/)
  for (const word of ['--config', '--check-config', '--help', '--version', 'SIGNALBOX_CONFIG', 'signalbox.yaml']) {
    t.match(stdout, word)
  }
  t.equal(stderr, '')
})

t.test('an option that it does not know ends it with 1 and names the option', async (t) => {
  const { code, stderr } = await runSignalbox(t, { cwd: t.testdir(), args: ['--prot', '4000'] }).exited
  t.equal(code, 1)
  t.match(stderr, '--prot')
})

t.test('it ends when asked to, also when nobody reads its log any more', async (t) => {
  const gateway = spawn(process.execPath, [join(root, 'src/main.ts')], {
    cwd: t.testdir(),
    env: { PATH: process.env.PATH, PORT: '0' },
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 10_000,
    killSignal: 'SIGKILL',
  })
  await once(gateway.stdout, 'data')
  gateway.stdout.destroy()
  gateway.kill('SIGINT')
  t.strictSame(await once(gateway, 'exit'), [0, null])
})
