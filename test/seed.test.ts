import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { ConversationHistory, type Engine, type LLMClient, type OaiServer } from '../src/index.ts'
import { holdPort, Program, root, runModule } from './process.ts'
import { anthropic as messagesAPI, startAnthropic } from './upstream/anthropic.ts'
import { play } from './upstream/dialect.ts'
import { completion, type Json, startUpstream } from './upstream.ts'

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
const conversationLoader = sample(
  'For custom storage, pass conversationLoader directly:\n',
  'When a single ServerEntry per model is too static',
)
const agentLoader = sample(
  'or policy objects that come from a database — implement AgentLoaderPlugin:\n',
  'When agentLoader.load()',
)
const nodeHttp = sample(
  'wire server.handle into node:http or any Node framework yourself:\n',
  'No streaming over the wire.',
)

const upstream = await startUpstream()
const anthropic = await startAnthropic()
t.teardown(() => Promise.all([upstream.close(), anthropic.close()]))
t.beforeEach(() => {
  upstream.reset()
  anthropic.reset()
})
const env = {
  ANTHROPIC_API_KEY: 'sk-ant-of-the-gateway',
  ANTHROPIC_BASE_URL: anthropic.baseURL,
  OPENAI_API_KEY: 'sk-of-the-gateway',
  OPENAI_BASE_URL: upstream.baseURL,
}
Object.assign(process.env, env)

const hello = [{ role: 'user' as const, content: 'Hello!' }]

/** Runs a module beside the samples. */
function run(t: Test, modules: Record<string, string>, name: string): Program {
  return runModule(t, join(t.testdir(modules), name), { env })
}

/** Loads a sample into this process. `exports` are names of its own that it does not export. */
async function load<Exports>(t: Test, code: string, exports: (keyof Exports & string)[]): Promise<Exports> {
  const directory = t.testdir({ 'sample.ts': `${code}\nexport { ${exports.join(', ')} }\n` })
  return import(pathToFileURL(join(directory, 'sample.ts')).href)
}

/** A client in this process. `userId` is who a host in front of the server would have made sure that it is. */
function clientOf(server: OaiServer, { apiKey = 'any', userId }: { apiKey?: string; userId?: string } = {}) {
  const context = userId === undefined ? {} : { principal: { userId } }
  return new OpenAI({
    baseURL: 'http://localhost/v1',
    apiKey,
    maxRetries: 0,
    fetch: (url, init) => server.handle(new Request(url, init), context),
  })
}

/** One turn of a conversation. */
async function say(client: OpenAI, model: string, content: string, conversationId?: string): Promise<string | null> {
  const headers = conversationId === undefined ? {} : { 'x-conversation-id': conversationId }
  const answer = await client.chat.completions.create({ model, messages: [{ role: 'user', content }] }, { headers })
  return answer.choices[0]?.message.content ?? null
}

/** The text of a streamed turn. */
async function streamed(client: OpenAI, model: string, content: string, conversationId = ''): Promise<string> {
  const stream = client.chat.completions.stream(
    { model, messages: [{ role: 'user', content }] },
    { headers: conversationId ? { 'x-conversation-id': conversationId } : {} },
  )
  return (await stream.finalContent()) ?? ''
}

/** What the upstream was sent last, as `role: text`. */
const sent = (): string[] =>
  (upstream.last().body as { messages: Json[] }).messages.map(({ role, content }) => `${role}: ${content}`)

/** The same at Anthropic's, whose content comes in blocks. */
const sentToAnthropic = (): string[] =>
  (anthropic.last().body as { messages: { role: string; content: Json[] }[] }).messages.map(
    ({ role, content }) => `${role}: ${content.map(({ text }) => text).join('')}`,
  )

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

t.test('createServer keeps conversations in the persistence of the engine', async (t) => {
  const { engine, server } = await load<{ engine: Engine; server: OaiServer }>(t, agents, ['engine', 'server'])
  const client = clientOf(server)
  await say(client, 'my-assistant', 'My name is Ada.', 'c1')
  t.equal(await say(client, 'my-assistant', 'What is my name?', 'c1'), 'You said: My name is Ada.')
  t.same(sentToAnthropic(), ['user: My name is Ada.', 'assistant: You said: My name is Ada.', 'user: What is my name?'])

  const history = ConversationHistory.import(await engine.persistence.get('conversation:{anon:c1}'))
  t.same(
    history.messages.map(({ role, content }) => `${role}: ${content}`),
    [...sentToAnthropic(), 'assistant: You said: My name is Ada.'],
    'all of it, and the system prompt is not a part of it',
  )
  await say(client, 'my-assistant', 'Hello!', 'c2')
  t.same(sentToAnthropic(), ['user: Hello!'], 'another conversation begins with nothing')
})

t.test('BearerKeyAuth: each user has conversations of their own', async (t) => {
  const { server } = await load<{ server: OaiServer }>(t, bearerKeys, ['server'])
  const alice = clientOf(server, { apiKey: 'sk-prod-abc123' })
  const bob = clientOf(server, { apiKey: 'sk-dev-xyz789' })
  await say(alice, 'chat', 'I am Alice.', 'c1')
  await say(bob, 'chat', 'I am Bob.', 'c1')
  t.same(sentToAnthropic(), ['user: I am Bob.'])
  await say(alice, 'chat', 'Who am I?', 'c1')
  t.same(sentToAnthropic(), ['user: I am Alice.', 'assistant: You said: I am Alice.', 'user: Who am I?'])
})

const conversationPrelude = `
import { createLLM } from 'signalbox'
const myClient = createLLM({ model: 'openai/gpt-4o-mini' })
const rows = new Map<string, string>()
const keyOf = (userId: string | null, conversationId: string) => (userId ?? 'nobody') + ' ' + conversationId
const db = {
  async getConversation(userId: string | null, conversationId: string): Promise<unknown> {
    const row = rows.get(keyOf(userId, conversationId))
    return row === undefined ? null : JSON.parse(row)
  },
  async saveConversation(userId: string | null, conversationId: string, snapshot: object) {
    rows.set(keyOf(userId, conversationId), JSON.stringify(snapshot))
  },
}
`

t.test('ConversationLoaderPlugin', async (t) => {
  type Sample = { server: OaiServer; rows: Map<string, string> }
  const { server, rows } = await load<Sample>(t, conversationPrelude + conversationLoader, ['server', 'rows'])
  t.beforeEach(() => rows.clear())
  const client = clientOf(server)
  const saved = (key: string): ConversationHistory => ConversationHistory.import(JSON.parse(rows.get(key) ?? 'null'))

  t.test('the earlier turns are sent with the next, streamed or not', async (t) => {
    t.equal(await say(client, 'chat', 'My name is Ada.', 'c1'), 'You said: My name is Ada.')
    t.same(sent(), ['user: My name is Ada.'])
    t.equal(await streamed(client, 'chat', 'What is my name?', 'c1'), 'You said: What is my name?')
    t.same(sent(), ['user: My name is Ada.', 'assistant: You said: My name is Ada.', 'user: What is my name?'])
    await say(client, 'chat', 'Bye.', 'c1')
    t.same(sent().slice(3), ['assistant: You said: What is my name?', 'user: Bye.'])
  })

  t.test('what is saved is the whole conversation, and reads back as it was', async (t) => {
    await say(client, 'chat', 'My name is Ada.', 'c1')
    await streamed(client, 'chat', 'What is my name?', 'c1')
    const row = JSON.parse(rows.get('nobody c1') ?? 'null')
    t.strictSame(row, {
      version: 1,
      messages: [
        { role: 'user', content: 'My name is Ada.' },
        { role: 'assistant', content: 'You said: My name is Ada.' },
        { role: 'user', content: 'What is my name?' },
        { role: 'assistant', content: 'You said: What is my name?' },
      ],
    })
    t.strictSame(ConversationHistory.import(row).export(), row)
  })

  t.test('calls of tools and their results are saved as they were', async (t) => {
    const name = 'weather'
    const tools = [{ type: 'function' as const, function: { name, parameters: { type: 'object', properties: {} } } }]
    const options = { headers: { 'x-conversation-id': 'c1' } }
    const call = { id: 'call_1', type: 'function' as const, function: { name, arguments: '{"city":"Lisbon"}' } }
    upstream.next(completion({ toolCalls: [{ id: 'call_1', name, arguments: '{"city":"Lisbon"}' }] }))
    await client.chat.completions.create({ model: 'chat', messages: hello, tools }, options)
    const result = { role: 'tool' as const, tool_call_id: 'call_1', content: '21 °C' }
    await client.chat.completions.create({ model: 'chat', messages: [result], tools }, options)
    const turns = [...hello, { role: 'assistant', content: null, tool_calls: [call] }, result]
    t.strictSame((upstream.last().body as Json).messages, turns)
    t.strictSame(saved('nobody c1').messages.slice(0, 3), turns)
  })

  t.test('each user has conversations of their own', async (t) => {
    await say(clientOf(server, { userId: 'alice' }), 'chat', 'I am Alice.', 'c1')
    await say(clientOf(server, { userId: 'bob' }), 'chat', 'I am Bob.', 'c1')
    t.same(sent(), ['user: I am Bob.'])
    t.same([...rows.keys()].sort(), ['alice c1', 'bob c1'])
    await say(clientOf(server, { userId: 'alice' }), 'chat', 'Who am I?', 'c1')
    t.same(sent(), ['user: I am Alice.', 'assistant: You said: I am Alice.', 'user: Who am I?'])
  })

  t.test('turns at the same time all stay, in the order in which they were taken', async (t) => {
    const contents = Array.from({ length: 20 }, (_, index) => `turn ${index}`)
    await Promise.all(contents.map((content) => say(client, 'chat', content, 'c1')))
    const { messages } = saved('nobody c1')
    t.equal(messages.length, 40)
    const users = messages.filter(({ role }) => role === 'user').map(({ content }) => content)
    t.same([...users].sort(), [...contents].sort())
    for (let at = 0; at < 40; at += 2) t.equal(messages[at + 1]?.content, `You said: ${messages[at]?.content}`)
  })

  t.test('a model that is asked for no conversation keeps none', async (t) => {
    await say(client, 'chat', 'Hello!')
    t.equal(rows.size, 0)
  })
})

const agentPrelude = `
import { createLLM, defineTool } from 'signalbox'
const fallbackClient = createLLM({ model: 'openai/gpt-4o-mini' })
const configs: Record<string, { apiKey: string; systemPrompt: string }> = {
  alice: { apiKey: 'sk-ant-alice', systemPrompt: 'You serve Alice.' },
  bob: { apiKey: 'sk-ant-bob', systemPrompt: 'You serve Bob.' },
}
const db = {
  async getAgentConfig(userId: string | null) {
    const config = configs[userId ?? '']
    if (!config) throw new Error('no row for ' + userId)
    return config
  },
}
const buildToolsForUser = (userId: string | null) => [
  defineTool({ name: 'balance', description: 'of ' + userId, execute: () => userId + ' has 12 coins.' }),
]
`

t.test('AgentLoaderPlugin', async (t) => {
  type Sample = { server: OaiServer; fallbackClient: LLMClient }
  const sample = await load<Sample>(t, agentPrelude + agentLoader, ['server', 'fallbackClient'])
  const { server, fallbackClient } = sample
  server.register({ model: 'plain', client: fallbackClient })
  const call = { id: 'toolu_1', name: 'balance', arguments: {} }

  for (const [userId, systemPrompt] of [
    ['alice', 'You serve Alice.'],
    ['bob', 'You serve Bob.'],
  ] as const) {
    t.test(`${userId} has an agent with a prompt, a key and tools of their own`, async (t) => {
      anthropic.next(play(messagesAPI, { calls: [call] }), play(messagesAPI, { text: ['12', ' coins'] }))
      const client = clientOf(server, { userId })
      const answer = await client.chat.completions.create({ model: 'custom-agent', messages: hello })
      t.match(answer.choices, [{ message: { content: '12 coins' }, finish_reason: 'stop' }])
      t.notOk(answer.choices[0]?.message.tool_calls, 'the tool is not the caller’s to see')
      t.same(answer.usage?.total_tokens, 34, 'both steps are counted')

      t.equal(anthropic.requests.length, 2)
      for (const { headers } of anthropic.requests) t.equal(headers['x-api-key'], `sk-ant-${userId}`)
      t.match(anthropic.last().body, {
        model: 'claude-haiku-4-5',
        system: [{ type: 'text', text: systemPrompt }],
        tools: [{ name: 'balance', description: `of ${userId}` }],
      })
      const { calls, results } = messagesAPI.understood(anthropic.last())
      t.same(calls, [call])
      t.same(results, [{ id: 'toolu_1', text: `${userId} has 12 coins.` }], 'the tool has run')
      t.equal(upstream.requests.length, 0, 'the static entry was not asked')
    })
  }

  t.test('it streams as well', async (t) => {
    anthropic.next(play(messagesAPI, { calls: [call] }), play(messagesAPI, { text: ['12', ' coins'] }))
    t.equal(await streamed(clientOf(server, { userId: 'alice' }), 'custom-agent', 'How much?'), '12 coins')
    t.same(messagesAPI.understood(anthropic.last()).results, [{ id: 'toolu_1', text: 'alice has 12 coins.' }])
  })

  t.test('null falls back to the static entry', async (t) => {
    t.equal(await say(clientOf(server, { userId: 'alice' }), 'plain', 'Hello!'), 'You said: Hello!')
    t.match(upstream.last(), {
      headers: { authorization: 'Bearer sk-of-the-gateway' },
      body: { model: 'gpt-4o-mini', messages: hello, tools: undefined },
    })
    t.equal(anthropic.requests.length, 0)
  })

  t.test('null for a model that nobody registered is a 404', async (t) => {
    await t.rejects(say(clientOf(server, { userId: 'alice' }), 'nothing', 'Hello!'), {
      status: 404,
      code: 'model_not_found',
      message: '404 model "nothing" not found',
    })
  })

  t.test('a loader that fails is not the fault of the request', async (t) => {
    await t.rejects(say(clientOf(server, { userId: 'carol' }), 'custom-agent', 'Hello!'), {
      status: 502,
      code: 'agent_loader_failed',
      message: '502 the agent could not be loaded',
    })
  })
})

const httpPrelude = `
import { createLLM, createServer } from 'signalbox'
const server = createServer({
  entries: [{ model: 'chat', client: createLLM({ model: 'openai/gpt-4o-mini' }) }],
})
`

t.test('node:http', async (t) => {
  await holdPort(t, 3000)
  const { httpServer } = await load<{ httpServer: Server }>(t, httpPrelude + nodeHttp, ['httpServer'])
  t.teardown(async () => {
    httpServer.close()
    httpServer.closeAllConnections()
    await once(httpServer, 'close')
  })
  const url = 'http://localhost:3000'
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'not-checked-yet', maxRetries: 0 })

  t.test('a completion, whole and as a stream', async (t) => {
    t.equal(await say(client, 'chat', 'Hello!'), 'You said: Hello!')
    t.equal(await streamed(client, 'chat', 'Hello again!'), 'You said: Hello again!')
    t.match(upstream.last().body, { stream: true })
  })

  t.test('a large body arrives whole', async (t) => {
    const content = 'é漢😀 '.repeat(500_000)
    t.equal(await say(client, 'chat', content), `You said: ${content}`)
    t.same(sent(), [`user: ${content}`])
  })

  t.test('the endpoints of the guide, with curl', async (t) => {
    const curl = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await new Program(t, 'curl', { args: ['-sS', ...args] }).exited
      t.equal(code, 0, stderr)
      return stdout
    }
    t.same(JSON.parse(await curl(`${url}/health`)), { status: 'ok' })
    t.match(JSON.parse(await curl(`${url}/v1/models`)), { object: 'list', data: [{ id: 'chat', object: 'model' }] })
    const status = ['-o', '/dev/null', '-w', '%{http_code}']
    for (const path of ['/', '/health', '/v1/chat/completions', '/anywhere']) {
      t.equal(await curl('-X', 'OPTIONS', ...status, url + path), '204', path)
    }
    t.equal(await curl('-I', ...status, `${url}/health`), '200')
    const post = (model: string): Promise<string> => {
      const json = JSON.stringify({ model, messages: hello })
      return curl('-H', 'content-type: application/json', '-d', json, `${url}/v1/chat/completions`)
    }
    t.match(JSON.parse(await post('chat')), { choices: [{ message: { content: 'You said: Hello!' } }] })
    t.same(JSON.parse(await post('nothing')), {
      error: { message: 'model "nothing" not found', type: 'not_found_error', param: 'model', code: 'model_not_found' },
    })
  })

  t.test('an answer without a body', async (t) => {
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'OPTIONS' })
    t.equal(answer.status, 204)
    t.equal(await answer.text(), '')
    t.equal(answer.headers.get('access-control-allow-origin'), '*')
  })
})

// The one with node:http has no types of ours in it, and takes the DOM's for granted.
t.test('the samples are well typed', async (t) => {
  const directory = t.testdir({
    'agents.ts': agents,
    'sdk.ts': sdk,
    'oai-server.ts': oaiServer,
    'bearer-keys.ts': bearerKeys,
    'conversation-loader.ts': conversationPrelude + conversationLoader,
    'agent-loader.ts': agentPrelude + agentLoader,
    'tsconfig.json': JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noUncheckedIndexedAccess: false,
        noUnusedLocals: false,
        noUnusedParameters: false,
        rootDir: root,
      },
      include: ['*.ts'],
    }),
  })
  const args = [join(root, 'node_modules/typescript/bin/tsc'), '-p', directory]
  const { code, stdout, stderr } = await new Program(t, process.execPath, { args }).exited
  t.equal(stdout + stderr, '')
  t.equal(code, 0)
})
