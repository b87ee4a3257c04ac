import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import { AgentLoop, defineGuardrail, defineTool, type GatewayError, type LLMClient } from '../../src/index.ts'
import { configuredModels } from '../../src/router/configured-models.ts'
import { type Behaviour, completion, failWith, hang, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const modelsOf = (yaml: string) => configuredModels(parseConfig(yaml, 'the test', {}))
const ask = { messages: [{ role: 'user' as const, content: 'hi' }] }
const lab = `{ baseURL: '${upstream.baseURL}', apiKey: sk-lab }`

t.test('without any provider there is the demo model, and it says that it is one', async (t) => {
  const { entries, close } = modelsOf('')
  t.equal(entries.length, 1)
  t.match(entries[0], { model: 'demo/echo', client: { provider: 'demo' }, capabilities: { demo: true } })
  await close()
})

t.test('models that cannot be made hold no provider of those before: when these are closed, it is', async (t) => {
  const before = modelsOf(`providers: { lab: ${lab} }`)
  const { providers } = parseConfig(`providers: { lab: ${lab} }`, 'the test', {})
  const wrong = { providers, models: { fast: { targets: [{ model: 'nobody/m' }] } } }
  t.throws(() => configuredModels(wrong, { before }), /provider of "nobody\/m" is not configured/)
  const asked = async (): Promise<void> => {
    await before.entries[0]?.client.complete({ ...ask, model: 'm' })
  }
  await t.resolves(asked())
  await before.close()
  await t.rejects(asked())
})

t.test('without models, every provider is served under its name', async (t) => {
  const { entries, close } = modelsOf(`providers: { lab: ${lab}, other: ${lab} }`)
  t.teardown(close)
  t.strictSame(
    entries.map(({ model, client }) => [model, client.provider]),
    [
      ['lab/*', 'lab'],
      ['other/*', 'other'],
    ],
  )
  await entries[0]?.client.complete({ ...ask, model: 'any' })
  t.match(upstream.last(), { body: { model: 'any' }, headers: { authorization: 'Bearer sk-lab' } })
})

t.test('a model is what its target is called at its provider', async (t) => {
  const { entries, close } = modelsOf(`
    providers: { lab: ${lab} }
    models:
      fast: { targets: [{ model: lab/org/small:1 }], capabilities: { vision: true } }
      all-*: { targets: [{ model: lab/* }] }`)
  t.teardown(close)
  t.match(entries, [{ model: 'fast', capabilities: { vision: true } }, { model: 'all-*' }])
  t.notOk(entries.some((entry) => 'capabilities' in entry && entry.capabilities === undefined))
  for (const [index, asked, sent] of [
    [0, 'fast', 'org/small:1'],
    [1, 'of-these', 'of-these'],
  ] as const) {
    await entries[index]?.client.complete({ ...ask, model: asked })
    t.match(upstream.last().body, { model: sent })
  }
})

t.test('a model is a plan of its targets, as the configuration has it', async (t) => {
  const { entries, close } = modelsOf(`
    providers: { lab: ${lab} }
    models:
      usual: { targets: [{ model: lab/second, priority: 1 }, { model: lab/first }] }
      own:
        targets: [{ model: lab/first }, { model: lab/second, priority: 1 }]
        choose: latency
        sticky: user
        fallback: { on: [auth] }
        retries: { max: 1, baseDelay: 1ms }
        deadline: 100ms`)
  t.teardown(close)
  const asked = async (index: number, ...behaviours: Behaviour[]): Promise<unknown[]> => {
    upstream.reset()
    upstream.next(...behaviours)
    const answer = entries[index]?.client.complete({ ...ask, model: 'x' })
    const error = await answer?.then(
      () => undefined,
      ({ code }: GatewayError) => code,
    )
    return [...upstream.requests.map(({ body }) => (body as { model: string }).model), error]
  }
  t.strictSame(await asked(0), ['first', undefined])
  t.strictSame(await asked(0, failWith(500)), ['first', 'second', undefined])
  t.strictSame(await asked(0, failWith(401)), ['first', 'upstream_auth_error'])
  t.strictSame(await asked(1, failWith(401)), ['first', 'second', undefined])
  t.strictSame(await asked(1, failWith(500)), ['first', 'first', undefined], 'who cannot go on is asked again')
  t.strictSame(await asked(1, failWith(500), failWith(500)), ['first', 'first', 'upstream_error'])
  t.strictSame(await asked(1, failWith(401), failWith(500)), ['first', 'second', 'second', undefined])
  t.strictSame(await asked(1, hang()), ['first', 'deadline_exceeded'])
})

t.test('several targets are drawn by weight, 1 when it is not said', async (t) => {
  const { entries, close } = modelsOf(`
    providers: { lab: ${lab} }
    models:
      mixed: { targets: [{ model: lab/never, weight: 0 }, { model: lab/always }] }`)
  t.teardown(close)
  for (let i = 0; i < 20; i++) await entries[0]?.client.complete({ ...ask, model: 'mixed' })
  t.equal(upstream.requests.length, 20)
  t.ok(upstream.requests.every(({ body }) => (body as { model: string }).model === 'always'))
})

t.test('all models of a provider share its connections', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const { entries, close } = modelsOf(`
    providers: { lab: { baseURL: '${upstream.baseURL}' } }
    models: { a: { targets: [{ model: lab/a }] }, b: { targets: [{ model: lab/b }] } }`)
  for (const { client, model } of entries) {
    await client.complete({ ...ask, model })
    // A connection is free again with the next turn of the event loop.
    await sleep(10)
  }
  t.equal(upstream.requests.length, 2)
  t.equal(upstream.openConnections(), 1)
  await close()
  await t.rejects(async () => {
    await entries[0]?.client.complete({ ...ask, model: 'a' })
  }, 'closing ends them all')
})

t.test('the fields of a provider reach its client', async (t) => {
  const { entries, close } = modelsOf(`
    providers:
      lab:
        kind: openai-compatible
        baseURL: '${upstream.baseURL}/'
        apiKey: sk-other
        headers: { x-tenant: blue }
        timeouts: { total: 100ms }`)
  t.teardown(close)
  const client = entries[0]?.client as LLMClient
  await client.complete({ ...ask, model: 'm' })
  t.match(upstream.last(), {
    path: '/v1/chat/completions',
    headers: { authorization: 'Bearer sk-other', 'x-tenant': 'blue' },
  })
  upstream.behave(() => undefined)
  await t.rejects(client.complete({ ...ask, model: 'm' }), { code: 'upstream_timeout', status: 504 })
})

t.test('every target is asked again, and has a breaker that all who ask for it share', async (t) => {
  const changes: unknown[] = []
  const config = parseConfig(
    `
    providers:
      lab: { baseURL: '${upstream.baseURL}', apiKey: k, retries: { max: 1, baseDelay: 1ms }, breaker: { minimumRequests: 4 } }
    models:
      fast: { targets: [{ model: lab/small }] }
      patient: { targets: [{ model: lab/large }], retries: { max: 3 } }
      never: { targets: [{ model: lab/tiny }], retries: { max: 0 } }
      lab/*: { targets: [{ model: lab/* }] }`,
    'the test',
    {},
  )
  const { entries, close } = configuredModels(config, { onBreaker: (change) => changes.push(change) })
  t.teardown(close)
  const [fast, patient, never, all] = entries.map(({ client }) => client)
  upstream.behave(failWith(500))
  const calls = async (client: LLMClient | undefined, model: string): Promise<number> => {
    upstream.requests.length = 0
    await client?.complete({ ...ask, model }).catch(() => undefined)
    return upstream.requests.length
  }
  t.equal(await calls(never, 'never'), 1)
  t.equal(await calls(fast, 'fast'), 2)
  t.equal(fast?.unavailableMs?.(), undefined)
  t.equal(await calls(all, 'small'), 2)
  t.ok(Number(fast?.unavailableMs?.()) > 0, 'the wildcard’s failures were its own')
  t.equal(await calls(fast, 'fast'), 0)
  t.equal(await calls(patient, 'patient'), 4)
  t.strictSame(changes, [
    { target: { provider: 'lab', model: 'small' }, state: 'open' },
    { target: { provider: 'lab', model: 'large' }, state: 'open' },
  ])
})

t.test('what a provider lacks is an error that names it', async (t) => {
  t.throws(() => modelsOf('providers: { lab: {} }'), { message: /provider "lab" is not known/ })
  t.throws(() => modelsOf('providers: { vllm: {} }'), { message: /provider "vllm" needs an address/ })
  t.throws(() => modelsOf('providers: { mine: { kind: openai-compatible } }'), { message: /"mine" needs an address/ })
  t.throws(() => modelsOf('providers: { mine: { kind: nonsense, baseURL: "http://x" } }'), { message: /"nonsense"/ })
})

t.test('agents', async (t) => {
  const agentsOf = (agents: string, parts = {}) => {
    const yaml = `
      providers: { lab: ${lab} }
      models: { fast: { targets: [{ model: lab/small }] }, all-*: { targets: [{ model: lab/* }] } }
      ${agents}`
    return configuredModels(parseConfig(yaml, 'the test', {}), parts)
  }
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const silence = defineGuardrail({ name: 'silence', input: () => ({ reason: 'hush' }) })

  t.test('ask a model, one of a wildcard, or a provider’s', async (t) => {
    const { entries, close } = agentsOf(
      'agents: { a: { model: fast, system: Be brief. }, b: { model: all-x }, c: { model: lab/y } }',
    )
    t.teardown(close)
    for (const [id, model, messages] of [
      ['a', 'small', [{ role: 'system', content: 'Be brief.' }, ...ask.messages]],
      ['b', 'x', ask.messages],
      ['c', 'y', ask.messages],
    ] as const) {
      const entry = entries.find((each) => each.model === id)
      t.ok(entry?.client instanceof AgentLoop)
      await entry?.client.complete({ ...ask, model: id })
      t.strictSame(upstream.last().body, { model, messages })
    }
  })

  t.test('have the tools and guardrails that they name, and only those', async (t) => {
    const yaml = `
      extensions: ./extension.ts
      agents: { tooled: { model: fast, tools: [clock] }, guarded: { model: fast, guardrails: [silence] } }`
    const { entries, close } = agentsOf(yaml, { tools: [clock], guardrails: [silence] })
    t.teardown(close)
    const answer = (id: string) => entries.find(({ model }) => model === id)?.client.complete({ ...ask, model: id })
    t.match(await answer('tooled'), { choices: [{ finish_reason: 'stop' }] })
    t.match(upstream.last().body, { tools: [{ function: { name: 'clock' } }] })
    t.match(await answer('guarded'), { choices: [{ message: { refusal: 'hush' }, finish_reason: 'content_filter' }] })
  })

  t.test('that name what is not there are refused, with what is', async (t) => {
    const yaml = (fields: string) => `extensions: ./e.ts\n      agents: { helper: { model: fast, ${fields} } }`
    t.throws(() => agentsOf(yaml('tools: [clokc]'), { tools: [clock] }), {
      message: 'agents.helper.tools: the extension has no "clokc"; it has: clock',
    })
    t.throws(() => agentsOf(yaml('guardrails: [none]')), {
      message: 'agents.helper.guardrails: the extension has no "none"; it has: none',
    })
  })

  t.test('say what of a conversation is kept', async (t) => {
    const { entries, close } = agentsOf(`agents:
        a: { model: fast }
        b: { model: fast, conversation: { enabled: false } }
        c: { model: fast, conversation: { maxMessages: 20 } }
        d: { model: fast, conversation: { maxTokens: 1000 } }`)
    t.teardown(close)
    t.strictSame(
      entries.slice(2).map(({ conversation }) => conversation),
      [undefined, false, { maxMessages: 20 }, { maxTokens: 1000, maxMessages: undefined }],
    )
  })

  t.test('that name several things in vain are told of all', async (t) => {
    const yaml = `
      extensions: ./e.ts
      agents: { a: { model: fast, tools: [x, clock, y] }, b: { model: fast, guardrails: [z] } }`
    t.throws(() => agentsOf(yaml, { tools: [clock] }), {
      message: [
        'agents.a.tools: the extension has no "x"; it has: clock',
        'agents.a.tools: the extension has no "y"; it has: clock',
        'agents.b.guardrails: the extension has no "z"; it has: none',
      ].join('; '),
    })
  })

  t.test('whose instructions are still in a file are refused, not left without', async (t) => {
    t.throws(() => agentsOf('agents: { a: { model: fast, systemFile: a.md } }'), {
      message: 'agents.a.systemFile: not read; give its text as system',
    })
  })

  t.test('have their guardrails in the order in which they are named', async (t) => {
    const yaml = `
      extensions: ./e.ts
      agents: { a: { model: fast, guardrails: [second, silence] }, b: { model: fast, guardrails: [silence, second] } }`
    const second = defineGuardrail({ name: 'second', input: () => ({ reason: 'two' }) })
    const { entries, close } = agentsOf(yaml, { guardrails: [silence, second] })
    t.teardown(close)
    for (const [id, refusal] of Object.entries({ a: 'two', b: 'hush' })) {
      const { client } = entries.find(({ model }) => model === id) ?? {}
      t.match(await client?.complete({ ...ask, model: id }), { choices: [{ message: { refusal } }] })
    }
  })

  t.test('ask no more often than maxSteps says, 10 times when it does not', async (t) => {
    const yaml = `
      extensions: ./extension.ts
      agents: { a: { model: fast, tools: [clock], maxSteps: 2 }, b: { model: fast, tools: [clock] } }`
    const { entries, close } = agentsOf(yaml, { tools: [clock] })
    t.teardown(close)
    upstream.behave(completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }))
    for (const [id, steps] of Object.entries({ a: 2, b: 10 })) {
      const { client } = entries.find(({ model }) => model === id) ?? {}
      t.match(await client?.complete({ ...ask, model: id }), { choices: [{ finish_reason: 'length' }] })
      t.equal(upstream.requests.splice(0).length, steps)
    }
  })

  t.test('may ask one and the same model', async (t) => {
    const { entries, close } = agentsOf('agents: { a: { model: fast }, b: { model: fast } }')
    t.teardown(close)
    await Promise.all(entries.slice(2).map(({ client, model }) => client.complete({ ...ask, model })))
    t.strictSame(
      upstream.requests.map(({ body }) => (body as { model: string }).model),
      ['small', 'small'],
    )
  })

  t.test('and models show the shortest context window of their targets, when all are known', async (t) => {
    const windows: Record<string, number> = {
      'lab/small': 8192,
      'lab/large': 128_000,
      'other/x': 4096,
      'lab/x': 32_000,
    }
    const yaml = `
      providers: { lab: ${lab}, other: ${lab} }
      models:
        both: { targets: [{ model: lab/large }, { model: lab/small }] }
        one-unknown: { targets: [{ model: lab/large }, { model: lab/new }] }
        all-*: { targets: [{ model: lab/* }, { model: other/* }] }
      agents:
        a: { model: both }
        b: { model: one-unknown }
        c: { model: all-x }
        d: { model: lab/large }`
    const { entries, close } = configuredModels(parseConfig(yaml, 'the test', {}), {
      contextWindow: ({ provider, model }) => windows[`${provider}/${model}`],
    })
    t.teardown(close)
    const shown = Object.fromEntries(entries.map(({ model, contextWindow }) => [model, contextWindow?.('x')]))
    t.strictSame(shown, {
      both: 8192,
      'one-unknown': undefined,
      'all-*': 4096,
      a: 8192,
      b: undefined,
      c: 4096,
      d: 128_000,
    })
    t.equal(entries[2]?.contextWindow?.('unheard-of'), undefined)
    const demo = modelsOf('agents: { helper: { model: demo/echo } }')
    t.equal(demo.entries[1]?.contextWindow?.('helper'), undefined)
  })

  t.test('and models show what the configuration says of them', async (t) => {
    const { entries, close } = agentsOf(
      'agents: { a: { model: fast, capabilities: { vision: true } }, b: { model: lab/y } }',
    )
    t.teardown(close)
    t.strictSame(
      entries.map(({ model, capabilities }) => [model, capabilities]),
      [
        ['fast', undefined],
        ['all-*', undefined],
        ['a', { vision: true }],
        ['b', undefined],
      ],
    )
  })
})
