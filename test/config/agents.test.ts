import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { parseConfig } from '../../src/config/load.ts'

function problemsOf(yaml: string): readonly string[] {
  try {
    parseConfig(yaml, 'the test', {})
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}
const lab = 'providers: { lab: { kind: openai-compatible, baseURL: "http://lab/v1" } }'

t.test('an agent needs a model and no more', async (t) => {
  const { agents } = parseConfig(`${lab}\nagents: { helper: { model: lab/small } }`, 'the test', {})
  t.strictSame(agents, { helper: { model: 'lab/small' } })
  t.strictSame(problemsOf('agents: { helper: {} }'), ['agents.helper: must have required properties model'])
})

t.test('its model is one of the models, by name or by a wildcard, or a provider’s', async (t) => {
  const models = 'models: { fast: { targets: [{ model: lab/small }] }, "all-*": { targets: [{ model: "lab/*" }] } }'
  for (const model of ['fast', 'all-of-them', 'lab/other']) {
    t.strictSame(problemsOf(`${lab}\n${models}\nagents: { helper: { model: ${model} } }`), [], model)
  }
  t.strictSame(problemsOf('agents: { helper: { model: demo/echo } }'), [], 'the demo, where there is no provider')
  for (const model of ['slow', 'other/small', 'demo/echo', 'lab/', 'all-', '/small', 'lab']) {
    t.strictSame(problemsOf(`${lab}\n${models}\nagents: { helper: { model: ${model} } }`), [
      `agents.helper.model: "${model}" is none of the models, nor is its provider configured`,
    ])
  }
})

t.test('nor can it be another agent', async (t) => {
  t.strictSame(problemsOf(`${lab}\nagents: { one: { model: two }, two: { model: lab/small } }`), [
    'agents.one.model: "two" is none of the models, nor is its provider configured',
  ])
})

t.test('what is wrong elsewhere is not told of the agents as well', async (t) => {
  const agents = 'agents: { helper: { model: fast, tools: [clock] } }'
  t.strictSame(problemsOf(`${lab}\nmodels: { fast: { targets: [] } }\nextensions: 5\n${agents}`), [
    'models.fast.targets: must not have fewer than 1 items',
    'extensions: must be string',
  ])
})

t.test('what cannot be is told, all at once', async (t) => {
  t.strictSame(
    problemsOf(`
      ${lab}
      models: { fast: { targets: [{ model: lab/small }] } }
      agents:
        fast: { model: lab/small }
        "all*": { model: "lab/*" }
        both: { model: fast, system: Be brief., systemFile: prompt.md }
        tooled: { model: fast, tools: [clock] }
        guarded: { model: fast, guardrails: [discretion] }`),
    [
      'agents.fast: there is a model of that name',
      'agents.all*: an agent\'s name must not end in "*"',
      'agents.all*.model: must be one model, not a wildcard',
      'agents.both: give either system or systemFile',
      'agents.tooled: its tools and guardrails come from a module; name it in extensions',
      'agents.guarded: its tools and guardrails come from a module; name it in extensions',
    ],
  )
})

t.test('wrong types and unknown keys have their paths', async (t) => {
  const helper = (fields: string) => `agents: { helper: { model: demo/echo, ${fields} } }`
  for (const [fields, problem] of [
    ['maxSteps: 0', /^agents\.helper\.maxSteps: must be >= 1$/],
    ['tools: clock', /^agents\.helper\.tools: must be array$/],
    ['allowExternalTools: maybe', /^agents\.helper\.allowExternalTools: must be boolean$/],
    ['conversation: { maxTokens: -1 }', /^agents\.helper\.conversation\.maxTokens: must be >= 1$/],
    ['tools: [clock, clock]', /^agents\.helper\.tools: must not have duplicate items$/],
    ['guardrails: [g, h, g]', /^agents\.helper\.guardrails: must not have duplicate items$/],
    ["system: ''", /^agents\.helper\.system: must not have fewer than 1 characters$/],
    ['sytem: x', /^agents\.helper\.sytem: unknown key; did you mean "system"\?$/],
    ['conversation: { enable: true }', /^agents\.helper\.conversation\.enable: unknown key; did you mean "enabled"\?$/],
  ] as const) {
    const problems = problemsOf(helper(fields))
    t.match(problems, [problem], fields)
    t.equal(problems.length, 1)
  }
})

t.test('waits that cannot be', async (t) => {
  for (const [yaml, problem] of [
    ['conversations: { ttl: 0s }', /^conversations\.ttl: must be longer than 0s$/],
    ['conversations: { loaderTimeout: 0s }', /^conversations\.loaderTimeout: must be longer than 0s$/],
    ['conversations: { lockTimeout: 5 }', /^conversations\.lockTimeout: must be/],
  ] as const) {
    t.match(problemsOf(yaml), [problem], yaml)
  }
  t.strictSame(problemsOf('conversations: { ttl: 30d, lockTimeout: 0s }'), [])
})

t.test('a turn must not wait until its stream is kept alive, when a 409 is too late', async (t) => {
  const waits = (lockTimeout: string, keepAlive?: string) =>
    problemsOf(
      `conversations: { lockTimeout: ${lockTimeout} }\n${keepAlive ? `server: { keepAlive: ${keepAlive} }` : ''}`,
    )
  const tooLong = (keepAlive: string) => [
    `conversations.lockTimeout: must be shorter than server.keepAlive (${keepAlive}): once a stream is kept alive there is no 409`,
  ]
  t.strictSame(waits('14999ms'), [])
  t.strictSame(waits('15s'), tooLong('15s'))
  t.strictSame(waits('2m', '1m'), tooLong('1m'))
  t.strictSame(waits('30s', '1m'), [])
  t.strictSame(problemsOf('server: { keepAlive: 1s }'), [], 'which waits less of itself')
})

t.test('a store in Redis has an address, and no other has', async (t) => {
  const problem = ['store: kind "redis" and a url go together']
  t.strictSame(problemsOf('store: { kind: redis }'), problem)
  t.strictSame(problemsOf('store: { url: "redis://redis:6379" }'), problem)
  for (const url of [
    'redis://redis:6379/1',
    'redis+sentinel://a:26379,b:26379/main',
    'rediss+cluster://a:6379,b:6379',
  ]) {
    t.strictSame(problemsOf(`store: { kind: redis, url: "${url}" }`), [], url)
  }
  t.match(problemsOf('store: { kind: redis, url: "http://redis" }'), [/^store\.url: /])
  t.match(problemsOf('store: { kind: redis, url: "redis://a", commandTimeout: 0s }'), [
    /^store\.commandTimeout: must be longer/,
  ])
})

t.test('a store of files has a directory, and no other has', async (t) => {
  const problem = ['store: kind "file" and a directory go together']
  t.strictSame(problemsOf('store: { kind: file }'), problem)
  t.strictSame(problemsOf('store: { directory: ./data }'), problem)
  t.strictSame(problemsOf('store: { kind: file, directory: ./data }'), [])
  t.match(problemsOf('store: { kind: tape }'), [/^store\.kind: must be/])
})

t.test('the catalog is by provider and model', async (t) => {
  t.strictSame(problemsOf('catalog: { small: { contextWindow: 8192 } }'), [
    'catalog.small: must be named provider/model',
  ])
  for (const name of ['/small', 'lab/', '/']) {
    t.strictSame(problemsOf(`catalog: { "${name}": {} }`), [`catalog.${name}: must be named provider/model`])
  }
  t.strictSame(problemsOf('catalog: { "lab/*": {} }'), ['catalog.lab/*: must be one model, not a wildcard'])
  t.strictSame(problemsOf('catalog: { lab/org/small: { prices: { input: 0, output: 0 } } }'), [])
  t.match(problemsOf('catalog: { lab/small: { prices: { input: -1 } } }'), [
    /^catalog\.lab\/small\.prices\.input: must be >= 0$/,
  ])
  t.strictSame(problemsOf('catalog: { lab/small: { prices: { cachedInput: 1 } } }'), [
    'catalog.lab/small.prices: a price of cached tokens needs prices.input',
  ])
})
