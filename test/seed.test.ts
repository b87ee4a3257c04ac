import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { holdPort, type Program, runModule } from './process.ts'
import { startAnthropic } from './upstream/anthropic.ts'
import { startUpstream } from './upstream.ts'

const seed = readFileSync(new URL('./seed/openai-compatible-server.txt', import.meta.url), 'utf8')

/** The sample that follows a sentence of the seed and ends before another one. Only the import's path is changed. */
function sample(after: string, before: string): string {
  const begin = seed.indexOf(after) + after.length
  const end = seed.indexOf(before, begin)
  if (begin < after.length || end === -1) throw new Error(`the seed has no sample between "${after}" and "${before}"`)
  return seed.slice(begin, end).trim().replaceAll('@combycode/llm-sdk', 'signalbox')
}

const agents = sample('registers each agent spec as a named model.\n', 'Any OAI SDK now works:')
const sdk = sample('Any OAI SDK now works:\n', 'createServer() calls new OaiServer() internally.')
const oaiServer = sample('registering models dynamically at runtime.\n', 'OaiServer.start() requires the Bun runtime')
const bearerKeys = sample(
  'is the right choice for test suites, middleware chains, and non-Bun runtimes.\n',
  'When a key is',
)

const upstream = await startUpstream()
const anthropic = await startAnthropic()
t.teardown(() => Promise.all([upstream.close(), anthropic.close()]))
const env = {
  ANTHROPIC_API_KEY: 'sk-ant-of-the-gateway',
  ANTHROPIC_BASE_URL: anthropic.baseURL,
  OPENAI_API_KEY: 'sk-of-the-gateway',
  OPENAI_BASE_URL: upstream.baseURL,
}

const hello = [{ role: 'user' as const, content: 'Hello!' }]

/** Runs a module beside the samples. */
function run(t: Test, modules: Record<string, string>, name: string): Program {
  return runModule(t, join(t.testdir(modules), name), { env })
}

t.test('createEngine and createServer with an agent, and the OpenAI client', async (t) => {
  await holdPort(t, 3000)
  const modules = {
    'server.ts': agents,
    'client.ts': sdk,
    // What `bun server.ts` does by itself with the default export.
    'serve.ts': `
      import { serve } from '@hono/node-server'
      import server from './server.ts'
      serve(server, ({ port }) => process.stdout.write('port ' + port))
    `,
  }
  const server = run(t, modules, 'serve.ts')
  await server.says(/port 3000/)

  const { code, stdout, stderr } = await run(t, modules, 'client.ts').exited
  t.equal(code, 0)
  t.equal(stderr, '')
  t.equal(stdout, 'You said: Hello!\n')

  const { headers, body } = anthropic.last()
  t.equal(headers['x-api-key'], 'sk-ant-of-the-gateway')
  t.match(body, {
    model: 'claude-haiku-4-5',
    system: [{ type: 'text', text: 'You are a helpful assistant.' }],
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello!' }] }],
  })
})

t.test('OaiServer: register, start and handle', async (t) => {
  await holdPort(t, 4000)
  const modules = {
    'server.ts': oaiServer,
    'health.ts': oaiServer
      .concat('\nprocess.stdout.write(JSON.stringify([resp.status, await resp.json()]))')
      .concat('\nawait server.stop()'),
  }

  t.test('it serves its model on port 4000 until it is stopped', async (t) => {
    const server = run(t, modules, 'server.ts')
    const client = new OpenAI({ baseURL: 'http://127.0.0.1:4000/v1', apiKey: 'any', maxRetries: 5 })
    const { data } = await client.models.list()
    t.match(data, [{ id: 'gpt-4o-mini', object: 'model' }])
    const completion = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: hello })
    t.equal(completion.choices[0]?.message.content, 'You said: Hello!')
    t.equal(upstream.last().headers.authorization, 'Bearer sk-of-the-gateway')

    const pieces: string[] = []
    const ask = { model: 'gpt-4o-mini', messages: hello, stream: true as const }
    for await (const chunk of await client.chat.completions.create(ask)) {
      pieces.push(chunk.choices[0]?.delta.content ?? '')
    }
    t.equal(pieces.join(''), 'You said: Hello!')
    server.kill('SIGTERM')
    await server.exited
    t.equal(server.stderr, '')
  })

  t.test('handle answers the health request, and stop lets the process end', async (t) => {
    const { code, stdout, stderr } = await run(t, modules, 'health.ts').exited
    t.equal(code, 0)
    t.equal(stderr, '')
    t.same(JSON.parse(stdout), [200, { status: 'ok' }])
  })
})

t.test('BearerKeyAuth: the keys of the sample may pass, and no other', async (t) => {
  const modules = {
    'server.ts': bearerKeys.concat('\nexport { server }'),
    'ask.ts': `
      import { server } from './server.ts'
      const answers: unknown[] = []
      server.hooks.on('onResponse', ({ status, userId }) => answers.push([status, userId]))
      server.hooks.on('onAuthFail', () => answers.push('onAuthFail'))
      for (const key of ['sk-prod-abc123', 'sk-dev-xyz789', 'sk-of-nobody']) {
        const response = await server.handle(new Request('http://localhost/v1/chat/completions', {
          method: 'POST',
          headers: { authorization: 'Bearer ' + key },
          body: JSON.stringify({ model: 'chat', messages: [{ role: 'user', content: 'Hello!' }] }),
        }))
        const body = await response.json()
        answers.push(body.error?.code ?? body.choices[0].message.content)
      }
      process.stdout.write(JSON.stringify(answers))
    `,
  }
  const { code, stdout, stderr } = await run(t, modules, 'ask.ts').exited
  t.equal(code, 0)
  t.equal(stderr, '')
  t.same(JSON.parse(stdout), [
    [200, 'user-alice'],
    'You said: Hello!',
    [200, 'user-bob'],
    'You said: Hello!',
    'onAuthFail',
    [401, null],
    'invalid_api_key',
  ])
  t.equal(anthropic.last().headers['x-api-key'], 'sk-ant-of-the-gateway')
})
