import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { runGateway, runSignalbox } from '../process.ts'

/** Files in a directory of their own, far from the repository. */
function directoryWith(t: Test, files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

const extension = `
import { ConversationHistory, createAgent, createDemo, defineGuardrail, defineTool, type Extension } from 'signalbox'
import { Type } from 'typebox'

const kept = new Map<string, object>()

export const tools: Extension['tools'] = [
  defineTool({
    name: 'order_status',
    parameters: Type.Object({ order: Type.String() }),
    execute: ({ order }, { userId }) => order.length + ' letters for ' + userId,
  }),
  defineTool({ name: 'leaves_a_promise', execute: () => (strays(), 'done') }),
]
export const strays = () => void Promise.reject(new Error('stray'))
export const guardrails = [
  defineGuardrail({ name: 'polite', input: (messages) => JSON.stringify(messages).includes('rude') ? { reason: 'Be polite.' } : null }),
]
export const auth: Extension['auth'] = {
  verify(headers) {
    const user = headers.get('x-user')
    if (!user) throw new Error('no user')
    return { userId: user, metadata: user === 'ann' ? {} : { models: ['helper'] } }
  },
}
export const agentLoader: Extension['agentLoader'] = {
  load: ({ model, userId }) => model === 'mine' ? createAgent({ client: createDemo(), tools: [defineTool({ name: 'who', execute: () => userId })] }) : null,
}
export const conversationLoader: Extension['conversationLoader'] = {
  load: ({ userId, conversationId }) => {
    const snapshot = kept.get(userId + '/' + conversationId)
    return snapshot ? ConversationHistory.import(snapshot) : null
  },
  save({ userId, conversationId }, history) {
    kept.set(userId + '/' + conversationId, history.export())
    process.stdout.write('saved ' + userId + '/' + conversationId + ' ' + history.messages.length + '\\n')
  },
}
`
const configuration = `
extensions: ./extension.ts
agents:
  helper: { model: demo/echo, systemFile: prompt.md, tools: [order_status, leaves_a_promise], guardrails: [polite] }
`
const question = (content: string) => [{ role: 'user' as const, content }]

t.test('everything that an extension can bring, in the real process', async (t) => {
  const cwd = directoryWith(t, { 'signalbox.yaml': configuration, 'extension.ts': extension, 'prompt.md': 'Be brief.' })
  const { baseURL, process: gateway } = await runGateway(t, { cwd })
  const as = (user: string) =>
    new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0, defaultHeaders: { 'x-user': user, 'x-conversation-id': 'c1' } })
  const ask = (user: string, model: string, content: string) =>
    as(user).chat.completions.create({ model, messages: question(content) })
  const said = async (...asked: Parameters<typeof ask>) => (await ask(...asked)).choices[0]?.message.content

  t.test('its auth decides who may ask, and for which model', async (t) => {
    const anonymous = new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0 })
    await t.rejects(anonymous.models.list(), { status: 401, code: 'invalid_api_key' })
    await t.rejects(ask('bob', 'demo/echo', 'hi'), { status: 403, code: 'model_not_allowed' })
    t.match(await said('bob', 'helper', 'hi'), /hi/, 'an agent without the model behind it')
    const { data } = await as('bob').models.list()
    t.match(data, [{ id: 'helper', capabilities: { agent: true, external_tools: true } }])
    t.equal(data.length, 1)
    t.match(await as('ann').models.retrieve('helper'), { id: 'helper', capabilities: { agent: true } })
  })

  t.test('its tools run, and know who asks', async (t) => {
    t.equal(await said('ann', 'helper', 'order_status'), '[demo/echo] The tool answered: 12 letters for ann')
    const stream = await as('ann').chat.completions.create({
      model: 'helper',
      messages: question('order_status'),
      stream: true,
    })
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    t.equal(text, '[demo/echo] The tool answered: 12 letters for ann')
  })

  t.test('a promise that it leaves to fail ends nobody’s requests', async (t) => {
    t.equal(await said('ann', 'helper', 'leaves_a_promise'), '[demo/echo] The tool answered: done')
    await gateway.says(/"message":"stray".*a promise failed unheard/)
    t.match(await said('ann', 'helper', 'hi'), /hi/)
  })

  t.test('its guardrails watch', async (t) => {
    const { choices } = await ask('cat', 'helper', 'something rude')
    t.match(choices, [{ message: { content: null, refusal: 'Be polite.' }, finish_reason: 'content_filter' }])
  })

  t.test('its agent loader makes agents', async (t) => {
    t.equal(await said('ann', 'mine', 'who'), '[demo/echo] The tool answered: ann')
    await t.rejects(ask('ann', 'nobodys', 'hi'), { status: 404, code: 'model_not_found' })
  })

  t.test('its conversation loader keeps conversations', async (t) => {
    await ask('dora', 'helper', 'one')
    await ask('dora', 'helper', 'two')
    await gateway.says(/saved dora\/c1 2\n(?:.|\n)*saved dora\/c1 4\n/)
    t.notMatch(gateway.stdout, /saved cat/, 'but not a turn that was stopped')
  })
  await t.test('and it ends quietly', async (t) => {
    t.notMatch(gateway.stdout, /No API keys/, 'with its auth it is not open to everybody')
    gateway.kill('SIGINT')
    t.match(await gateway.exited, { code: 0, stderr: '' })
  })
})

t.test('conversations in files survive a restart', async (t) => {
  const cwd = directoryWith(t, {
    'signalbox.yaml': `
store: { kind: file, directory: ./data }
agents: { helper: { model: demo/echo } }`,
  })
  const turn = async (content: string) => {
    const { baseURL, process: gateway } = await runGateway(t, { cwd })
    const client = new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0 })
    const { data, response } = await client.chat.completions
      .create({ model: 'helper', user: 'u1', messages: question(content) })
      .withResponse()
    t.equal(response.headers.get('x-conversation-id'), 'u1')
    gateway.kill('SIGINT')
    await gateway.exited
    return data.usage?.prompt_tokens ?? 0
  }
  t.equal(await turn('one two'), 2)
  // The demo counts words: both turns, and what it said to the first.
  t.equal(await turn('three'), 2 + 5 + 1)
})

t.test('conversations in files belong to their users, also after a restart', async (t) => {
  const cwd = directoryWith(t, {
    'signalbox.yaml': `
store: { kind: file, directory: ./data }
conversations: { ttl: 1h }
auth: { keys: [{ key: sk-of-ann-01, user: ann }, { key: sk-of-bob-01, user: bob }] }
agents: { helper: { model: demo/echo, conversation: { maxMessages: 3 } } }`,
  })
  const promptOf = async (apiKey: string, content: string) => {
    const { baseURL, process: gateway } = await runGateway(t, { cwd })
    const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, defaultHeaders: { 'x-conversation-id': 'é shared' } })
    const stream = client.chat.completions.stream({
      model: 'helper',
      messages: question(content),
      stream_options: { include_usage: true },
    })
    const { usage } = await stream.finalChatCompletion()
    // Nothing is waited for: what was answered has been saved.
    gateway.kill('SIGKILL')
    await gateway.exited
    return usage?.prompt_tokens
  }
  t.equal(await promptOf('sk-of-ann-01', 'one two'), 2)
  t.equal(await promptOf('sk-of-ann-01', 'three'), 2 + 5 + 1)
  t.equal(await promptOf('sk-of-bob-01', 'four'), 1, 'nobody else’s')
  t.equal(await promptOf('sk-of-ann-01', 'five'), 1 + 4 + 1, 'of which no more is sent than the agent is to see')
})

t.test('an extension that keeps the process busy does not keep it from ending', async (t) => {
  const busy = 'setInterval(() => {}, 1000)\nexport const tools = [{ name: "order_status", execute: () => 1 }]'
  const files = { 'signalbox.yaml': 'extensions: ./extension.ts', 'extension.ts': busy }

  t.test('when its configuration is only checked', async (t) => {
    const cwd = directoryWith(t, files)
    const { code, stdout } = await runSignalbox(t, { cwd, args: ['--check-config'] }).exited
    t.equal(code, 0)
    t.equal(stdout, 'signalbox.yaml is valid\n')
  })

  t.test('when the start fails', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1')
    t.teardown(() => void taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const wrong = {
      ...files,
      'signalbox.yaml': 'extensions: ./extension.ts\nagents: { a: { model: demo/echo, tools: [x] } }',
    }
    const throwing = { ...files, 'extension.ts': `${busy}\nthrow new Error("no database")` }
    for (const [given, message] of [
      [files, /in use/],
      [wrong, /agents\.a\.tools: the extension has no "x"; it has: order_status/],
      [throwing, /the module does not load: no database/],
    ] as const) {
      const program = runSignalbox(t, { cwd: directoryWith(t, given), env: { PORT: String(port) } })
      const { code, stderr } = await program.exited
      t.equal(code, 1)
      t.match(stderr, message)
    }
  })

  t.test('when it is told to stop', async (t) => {
    const { process: gateway } = await runGateway(t, { cwd: directoryWith(t, files) })
    gateway.kill('SIGINT')
    t.equal((await gateway.exited).code, 0)
  })
})

t.test('everything that agents name in vain is told at once', async (t) => {
  const cwd = directoryWith(t, {
    'extension.ts': extension,
    'prompt.md': 'Be brief.',
    'signalbox.yaml': `
extensions: ./extension.ts
auth: { keys: [{ key: sk-12345678 }] }
agents:
  helper: { model: demo/echo, tools: [order_status, clock], guardrails: [polight] }
  other: { model: demo/echo, tools: [search] }`,
  })
  const { code, stderr } = await runSignalbox(t, { cwd, args: ['--check-config'] }).exited
  t.equal(code, 1)
  t.strictSame(stderr.trim().split('\n'), [
    'signalbox.yaml is not valid:',
    '  - agents.helper.tools: the extension has no "clock"; it has: order_status, leaves_a_promise',
    '  - agents.helper.guardrails: the extension has no "polight"; it has: polite',
    '  - agents.other.tools: the extension has no "search"; it has: order_status, leaves_a_promise',
    '  - auth: the extension has an auth of its own; leave out auth.keys',
  ])
})

t.test('paths are seen from the configuration, not from where the process runs', async (t) => {
  const directory = directoryWith(t, { 'signalbox.yaml': configuration, 'extension.ts': extension, 'prompt.md': 'Hi.' })
  const cwd = directoryWith(t, {})
  const args = ['--check-config', '--config', join(directory, 'signalbox.yaml')]
  t.match(await runSignalbox(t, { cwd, args }).exited, { code: 0, stderr: '' })
})

t.test('what is wrong with an extension ends the start, and --check-config tells it too', async (t) => {
  for (const [files, problems] of [
    [{}, [/extension\.ts is not valid/, /the file does not exist/]],
    [{ 'extension.ts': 'export const tools = [' }, [/the module does not load/]],
    [{ 'extension.ts': 'export const tols = []' }, [/tols: unknown export; did you mean "tools"\?/]],
    [
      { 'extension.ts': 'export const tools = []', 'prompt.md': 'Be brief.' },
      [/signalbox\.yaml is not valid/, /agents\.helper\.tools: the extension has no "order_status"; it has: none/],
    ],
    [
      {
        'extension.ts': extension,
        'signalbox.yaml': `${configuration}auth: { keys: [{ key: sk-12345678 }] }`,
      },
      [/auth: the extension has an auth of its own; leave out auth\.keys/],
    ],
  ] as const) {
    await t.test(String(problems.at(-1)), async (t) => {
      const cwd = directoryWith(t, { 'signalbox.yaml': configuration, 'prompt.md': 'Be brief.', ...files })
      for (const args of [['--check-config'], []]) {
        const { code, stdout, stderr } = await runSignalbox(t, { cwd, args, env: { PORT: '0' } }).exited
        t.equal(code, 1)
        t.equal(stdout, '')
        for (const problem of problems) t.match(stderr, problem)
        t.notMatch(stderr, /\n +at /, 'without a stack')
      }
    })
  }
})
