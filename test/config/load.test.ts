// biome-ignore-all lint/suspicious/noTemplateCurlyInString: this is how a configuration refers to a variable.
import { resolve } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { milliseconds } from '../../src/config/duration.ts'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'

const parse = (yaml: string, env: Record<string, string> = {}): Config => parseConfig(yaml, 'signalbox.yaml', env)

/** What is wrong with a configuration. */
function problemsOf(yaml: string, env: Record<string, string> = {}): readonly string[] {
  try {
    parse(yaml, env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

t.test('an empty configuration is the defaults', async (t) => {
  for (const yaml of ['', '{}', '# only a comment\n', '---\n', 'null']) {
    t.strictSame(
      parse(yaml),
      {
        server: {
          host: '127.0.0.1',
          port: 4000,
          bodyLimit: 10 * 1024 * 1024,
          headerLimit: 16_384,
          jsonDepth: 128,
          timeouts: { headers: '15s', request: '60s', keepAlive: '72s', write: '5m' },
          keepAlive: '15s',
          drainDelay: '5s',
          drainTimeout: '60s',
          cors: { origins: ['*'], credentials: false },
          logLevel: 'info',
          overload: { maxInFlight: 2000, maxQueue: 500, queueTimeout: '5s' },
        },
        providers: {},
        agents: {},
        conversations: { ttl: '30d', loaderTimeout: '5s' },
        responses: { ttl: '30d' },
        limits: {
          whenStoreIsDown: { requests: 'local', tokens: 'local', concurrency: 'local', budgets: 'local' },
          localShare: 1,
          outputTokens: 1024,
          countUsage: false,
        },
        store: {
          kind: 'memory',
          keyPrefix: 'signalbox:',
          connectTimeout: '2s',
          commandTimeout: '1s',
          leaseTime: '15s',
          required: false,
        },
        metrics: { enabled: true, users: { enabled: false, top: 50 } },
        tracing: { enabled: false, propagate: true, content: false, flushTimeout: '3s' },
        admin: { enabled: false, keys: [] },
        catalog: {},
      },
      JSON.stringify(yaml),
    )
  }
})

t.test('a whole configuration is read as it is written', async (t) => {
  const config = parse(`
    server:
      host: 0.0.0.0
      port: 8080
      bodyLimit: 2048
      timeouts: { headers: 500ms, request: 5s }
      keepAlive: 30s
      drainTimeout: 2m
      cors: { origins: [https://a.example, https://b.example], credentials: true }
      logLevel: debug
    auth:
      keys:
        - { key: sk-alice-0001, user: alice, models: [fast, openai/*] }
        - { sha256: ${'ab'.repeat(32)} }
    providers:
      openai: { apiKey: sk-openai, timeouts: { connect: 1s, total: 1h } }
      lab: { kind: openai-compatible, baseURL: http://lab:8000/v1, headers: { x-tenant: blue } }
    models:
      fast: { targets: [{ model: openai/gpt-4o-mini, weight: 3 }, { model: lab/org/small }], capabilities: { vision: true } }
      openai/*: { targets: [{ model: openai/* }] }`)
  t.match(config, {
    server: {
      host: '0.0.0.0',
      port: 8080,
      bodyLimit: 2048,
      jsonDepth: 128,
      timeouts: { headers: '500ms', request: '5s', keepAlive: '72s' },
      keepAlive: '30s',
      drainTimeout: '2m',
      cors: { origins: ['https://a.example', 'https://b.example'], credentials: true },
      logLevel: 'debug',
    },
    auth: {
      keys: [{ key: 'sk-alice-0001', user: 'alice', models: ['fast', 'openai/*'] }, { sha256: 'ab'.repeat(32) }],
    },
    providers: {
      openai: { apiKey: 'sk-openai', timeouts: { connect: '1s', total: '1h' } },
      lab: { kind: 'openai-compatible', baseURL: 'http://lab:8000/v1', headers: { 'x-tenant': 'blue' } },
    },
    models: {
      fast: {
        targets: [{ model: 'openai/gpt-4o-mini', weight: 3 }, { model: 'lab/org/small' }],
        capabilities: { vision: true },
      },
      'openai/*': { targets: [{ model: 'openai/*' }] },
    },
  })
})

t.test('a wrong configuration is refused', async (t) => {
  t.test('with the file, the path, the reason and what was probably meant', async (t) => {
    t.throws(() => parse('server: { prot: 1 }'), {
      name: 'ConfigError',
      message: 'signalbox.yaml is not valid:\n  - server.prot: unknown key; did you mean "port"?',
    })
  })

  t.test('for an unknown key, wherever it is', async (t) => {
    for (const [yaml, problem] of [
      ['servr: {}', 'servr: unknown key; did you mean "server"?'],
      ['server: { timeouts: { header: 1s } }', 'server.timeouts.header: unknown key; did you mean "headers"?'],
      ['auth: { keys: [{ key: sk-12345678, usr: a }] }', 'auth.keys.0.usr: unknown key; did you mean "user"?'],
      ['providers: { openai: { apikey: x } }', 'providers.openai.apikey: unknown key; did you mean "apiKey"?'],
      ['providers: { lab: { baseUrl: "http://x" } }', 'providers.lab.baseUrl: unknown key; did you mean "baseURL"?'],
      [
        'providers: { openai: {} }\nmodels: { "a": { targets: [{ model: openai/x, weigth: 1 }] } }',
        'models.a.targets.0.weigth: unknown key; did you mean "weight"?',
      ],
      [
        'providers: { openai: {} }\nmodels: { "openai/*": { targets: [{ model: "openai/*" }], capability: {} } }',
        'models.openai/*.capability: unknown key; did you mean "capabilities"?',
      ],
    ] as const) {
      t.strictSame(problemsOf(yaml), [problem])
    }
    t.match(problemsOf('server: { colour: red }'), [
      /^server\.colour: unknown key; known keys: host, port, .*logLevel$/,
    ])
  })

  t.test('for a wrong type or value', async (t) => {
    for (const [yaml, problem] of [
      ['- a', /^\(top level\): must be object$/],
      ['hello', /^\(top level\): must be object$/],
      ['server: 5', /^server: must be object$/],
      ['server: { port: "4000" }', /^server\.port: must be integer$/],
      ['server: { port: 40.5 }', /^server\.port: must be integer$/],
      ['server: { port: 70000 }', /^server\.port: must be <= 65535$/],
      ['server: { host: 5 }', /^server\.host: must be string$/],
      ['server: { bodyLimit: 10MB }', /^server\.bodyLimit: must be integer$/],
      ['server: { keepAlive: 15 }', /^server\.keepAlive: must be string/],
      ['server: { keepAlive: 15 seconds }', /^server\.keepAlive: .*, for example 15s$/],
      ['server: { keepAlive: -1s }', /^server\.keepAlive: .*, for example 15s$/],
      [
        'server: { logLevel: loud }',
        /^server\.logLevel: must be one of fatal, error, warn, info, debug, trace, silent$/,
      ],
      ['server: { cors: { credentials: "yes" } }', /^server\.cors\.credentials: must be boolean$/],
      [
        'server: { cors: { credentials: true } }',
        /^server\.cors\.credentials: browsers refuse it together with the origin "\*"; list the origins$/,
      ],
      ['auth: {}', /^auth: give keys or keyFiles$/],
      ['auth: { keys: [] }', /^auth\.keys: must not have fewer than 1 items$/],
      ['auth: { keys: [{ key: short }] }', /^auth\.keys\.0\.key: must not have fewer than 8 characters$/],
      ['auth: { keys: [{ sha256: abc }] }', /^auth\.keys\.0\.sha256: must match pattern/],
      ['auth: { keys: [{ user: alice }] }', /^auth\.keys\.0: give either key or sha256$/],
      [
        `auth: { keys: [{ key: sk-12345678 }, { key: sk-87654321, sha256: ${'ab'.repeat(32)} }] }`,
        /^auth\.keys\.1: give either key or sha256$/,
      ],
      ['providers: { a/b: { baseURL: "http://x" } }', /^providers\.a\/b: a provider's name must not contain "\/"$/],
      ['providers: { lab: { baseURL: lab:8000 } }', /^providers\.lab\.baseURL: must match pattern/],
      ['providers: { openai: {} }\nmodels: { a: {} }', /^models\.a: must have required properties targets$/],
      [
        'providers: { openai: {} }\nmodels: { a: { targets: [] } }',
        /^models\.a\.targets: must not have fewer than 1 items$/,
      ],
      [
        'providers: { openai: {} }\nmodels: { a: { targets: [{ model: gpt }] } }',
        /^models\.a\.targets\.0\.model: must match/,
      ],
      [
        'providers: { openai: {}, groq: {} }\nmodels: { a: { targets: [{ model: openia/gpt }] } }',
        /^models\.a\.targets\.0\.model: provider "openia" is not configured; configured are: openai, groq$/,
      ],
      [
        'models: { a: { targets: [{ model: openai/gpt }] } }',
        /^models\.a\.targets\.0\.model: provider "openai" is not configured; configured are: none$/,
      ],
      [
        'providers: { openai: {} }\nmodels: { a: { targets: [{ model: openai/* }] } }',
        /^models\.a\.targets\.0\.model: "openai\/\*" and "a" must both be wildcards or neither$/,
      ],
      [
        'providers: { openai: {} }\nmodels: { all*: { targets: [{ model: openai/gpt }] } }',
        /^models\.all\*\.targets\.0\.model: .* must both be wildcards or neither$/,
      ],
      [
        'providers: { openai: {} }\nmodels: { a: { targets: [{ model: openai/x, weight: 0 }, { model: openai/y, weight: 0 }] } }',
        /^models\.a\.targets: at least one weight must be above 0$/,
      ],
      [
        'models: { a: { targets: [{ model: openai/x, priority: 0.5 }] } }',
        /^models\.a\.targets\.0\.priority: must be integer$/,
      ],
      ['models: { a: { targets: [{ model: openai/x }], choose: best } }', /^models\.a\.choose: /],
      ['models: { a: { targets: [{ model: openai/x }], sticky: never } }', /^models\.a\.sticky: /],
      [
        'models: { a: { targets: [{ model: openai/x }], fallback: { on: [client] } } }',
        /^models\.a\.fallback\.on\.0: /,
      ],
      [
        'providers: { openai: {} }\nmodels: { a: { targets: [{ model: openai/x, weight: -1 }] } }',
        /^models\.a\.targets\.0\.weight: must be >= 0$/,
      ],
      ...Object.entries({
        '{}': /^models\.a\.cache: must have required properties ttl$/,
        '{ ttl: 0s }': /^models\.a\.cache\.ttl: must be longer than 0s$/,
        '{ ttl: 1h, scope: everyone }': /^models\.a\.cache\.scope: must be one of user, all$/,
        '{ ttl: 1h, maxBytes: 1 }': /^models\.a\.cache\.maxBytes: must be >= 1024$/,
      }).map(
        ([cache, problem]) =>
          [
            `providers: { openai: {} }\nmodels: { a: { targets: [{ model: openai/x }], cache: ${cache} } }`,
            problem,
          ] as const,
      ),
    ] as const) {
      const problems = problemsOf(yaml)
      t.equal(problems.length, 1, yaml)
      t.match(problems, [problem], yaml)
    }
  })

  t.test('with everything that is wrong, not only the first', async (t) => {
    t.strictSame(
      problemsOf(
        'server: { port: x, prot: 1 }\nauth: { keys: [{ key: sk-12345678, usr: a }] }\nprovders: {}',
      ).toSorted(),
      [
        'auth.keys.0.usr: unknown key; did you mean "user"?',
        'provders: unknown key; did you mean "providers"?',
        'server.port: must be integer',
        'server.prot: unknown key; did you mean "port"?',
      ],
    )
    const misused = `
      auth: { keys: [{ user: a }, { user: b }] }
      providers: { a/b: {} }
      models: { m: { targets: [{ model: nowhere/x }, { model: elsewhere/* }] } }`
    t.equal(problemsOf(misused).length, 6)
    t.strictSame(
      problemsOf('server: { host: "${A}", prot: 1 }\nauth: { keys: [{ user: a }] }\nproviders: { a/b: {} }').toSorted(),
      [
        'auth.keys.0: give either key or sha256',
        'providers.a/b: a provider\'s name must not contain "/"',
        'server.host: the environment variable A is not set',
        'server.prot: unknown key; did you mean "port"?',
      ],
      'of whatever kind',
    )
    const keys = Array.from({ length: 40 }, (_, index) => `{ key: sk-12345678-${index}, usr: x }`)
    t.equal(problemsOf(`auth: { keys: [${keys.join(', ')}] }`).length, 40, 'however many there are')
  })

  t.test('for YAML that is none, with the line', async (t) => {
    t.match(problemsOf('server:\n  port: [1'), [/line 2/])
    t.match(problemsOf('server: {}\nserver: {}'), [/unique/])
    t.match(problemsOf('a: b: c'), [/line 1/])
    t.match(problemsOf('server: *nobody'), [/nobody/])
  })
})

t.test('${ENV}', async (t) => {
  t.test('expands in values', async (t) => {
    const config = parse('providers: { openai: { apiKey: "${KEY}", baseURL: "http://${HOSTNAME}:${P:-8000}/v1" } }', {
      KEY: 'sk-1',
      HOSTNAME: 'lab',
    })
    t.match(config.providers.openai, { apiKey: 'sk-1', baseURL: 'http://lab:8000/v1' })
  })

  t.test('becomes the number or boolean that is wanted in its place, and text where text is wanted', async (t) => {
    const config = parse(
      `
      server: { port: "\${P}", jsonDepth: "\${D:-64}", cors: { credentials: "\${C}", origins: [https://a.example] } }
      auth: { keys: [{ key: "\${K}" }] }
      providers: { openai: { apiKey: "\${K}" } }
      models: { a: { targets: [{ model: openai/x, weight: "\${W}" }] } }`,
      { P: '8080', C: 'true', K: '12345678', W: '0.5' },
    )
    t.match(config.server, { port: 8080, jsonDepth: 64, cors: { credentials: true } })
    t.equal(config.auth?.keys?.[0]?.key, '12345678')
    t.equal(config.providers.openai?.apiKey, '12345678')
    t.equal(config.models?.a?.targets[0]?.weight, 0.5)
  })

  t.test('does so under a key with a slash in it too', async (t) => {
    const yaml = 'providers: { openai: {} }\nmodels: { openai/*: { targets: [{ model: openai/*, weight: "${W}" }] } }'
    t.equal(parse(yaml, { W: '2' }).models?.['openai/*']?.targets[0]?.weight, 2)
  })

  t.test('is safe under any key, and as the whole document', async (t) => {
    for (const yaml of ['providers: { __proto__: "${X}" }', 'models: { constructor: { targets: "${X}" } }', '"${X}"']) {
      t.equal(problemsOf(yaml, { X: 'x' }).length, 1, yaml)
    }
  })

  t.test('that is no number where one is wanted is a wrong type', async (t) => {
    for (const text of ['many', 'true', ' ', '40.5']) {
      t.strictSame(problemsOf('server: { port: "${P}" }', { P: text }), ['server.port: must be integer'], text)
    }
  })

  t.test('that is missing is an error that names it and its place; all of them', async (t) => {
    t.strictSame(problemsOf('server: { host: "${A}" }\nproviders: { openai: { apiKey: "x${B}" } }', { B: '' }), [
      'server.host: the environment variable A is not set',
      'providers.openai.apiKey: the environment variable B is not set',
    ])
  })

  t.test('that is missing is told once, also where a number is wanted', async (t) => {
    t.strictSame(problemsOf('server: { port: "${P}" }'), ['server.port: the environment variable P is not set'])
    const yaml = 'providers: { openai: {} }\nmodels: { openai/*: { targets: [{ model: openai/*, weight: "${W}" }] } }'
    t.strictSame(problemsOf(yaml), ['models.openai/*.targets.0.weight: the environment variable W is not set'])
  })

  t.test('is text when it is written $${ENV}', async (t) => {
    t.equal(parse('providers: { openai: { apiKey: "$${KEY}" } }').providers.openai?.apiKey, '${KEY}')
  })

  t.test('its value is never part of a complaint', async (t) => {
    const env = { KEY: 'sk-secret' }
    t.notMatch(problemsOf('providers: { openai: { baseURL: "${KEY}" } }', env).join(), 'sk-secret')
    t.notMatch(
      problemsOf('server: { logLevel: "${KEY}", port: "${KEY}", keepAlive: "${KEY}" }', env).join(),
      'sk-secret',
    )
  })
})

t.test('PORT and HOST win over the file', async (t) => {
  const yaml = 'server: { host: 10.0.0.1, port: 1234 }'
  t.match(parse(yaml, { PORT: '5678', HOST: '0.0.0.0' }).server, { host: '0.0.0.0', port: 5678 })
  t.match(parse(yaml, { PORT: '0' }).server, { host: '10.0.0.1', port: 0 })
  t.match(parse(yaml, { PORT: '', HOST: '' }).server, { host: '10.0.0.1', port: 1234 }, 'an empty one is none')
  t.match(parse('', { PORT: '5678' }).server, { host: '127.0.0.1', port: 5678 })
  for (const port of ['http', '-1', '65536', '1.5', '80 80']) {
    t.strictSame(problemsOf(yaml, { PORT: port }), [`PORT: must be a port number, not "${port}"`])
  }
})

t.test('providers', async (t) => {
  t.test('are those that the environment has a key for, when the file names none', async (t) => {
    const env = { OPENAI_API_KEY: 'k', GROQ_API_KEY: 'k', MISTRAL_API_KEY: '' }
    t.strictSame(Object.keys(parse('', env).providers).sort(), ['groq', 'openai'])
    t.strictSame(Object.keys(parse('providers: {}', env).providers).sort(), ['groq', 'openai'])
    t.match(
      parse('models: { a: { targets: [{ model: openai/x }] } }', env).models,
      { a: {} },
      'and models may use them',
    )
  })

  t.test('are those of the file only, when it names any', async (t) => {
    t.strictSame(Object.keys(parse('providers: { groq: {} }', { OPENAI_API_KEY: 'k' }).providers), ['groq'])
  })
})

t.test('how a provider is asked for responses', async (t) => {
  t.equal(parse('providers: { openai: { responses: native } }').providers.openai?.responses, 'native')
  t.strictSame(problemsOf('providers: { openai: { responses: directly } }'), [
    'providers.openai.responses: must be one of translated, native',
  ])
  const file = resolve(t.testdir({ 'a.yaml': 'providers: { anthropic: { responses: native } }' }), 'a.yaml')
  const error = await loadConfig({ file, env: { ANTHROPIC_API_KEY: 'k' } }).catch((error: unknown) => error)
  t.match(error instanceof ConfigError && error.problems, [
    /^providers\.anthropic: provider "anthropic" has no responses of its own: "native" is for what speaks/,
  ])
})

t.test('the file', async (t) => {
  const dir = t.testdir({
    'signalbox.yaml': 'server: { port: 1 }',
    'named.yaml': 'server: { port: 2 }',
    'other.yaml': 'server: { port: 3 }',
    'wrong.yaml': 'server: { prot: 3 }',
    'unusable.yaml': 'server: { prot: 3 }\nproviders: { vllm: {}, groq: {}, lab: {}, openai: {} }',
    empty: {},
  })
  const within = async <T>(folder: string, work: () => Promise<T>): Promise<T> => {
    const before = process.cwd()
    process.chdir(folder)
    try {
      return await work()
    } finally {
      process.chdir(before)
    }
  }
  const named = resolve(dir, 'named.yaml')
  const other = resolve(dir, 'other.yaml')

  t.test('is the one named, then the one of SIGNALBOX_CONFIG, then ./signalbox.yaml', async (t) => {
    await within(dir, async () => {
      const env = { SIGNALBOX_CONFIG: other }
      t.match(await loadConfig({ file: named, env }), { file: named, config: { server: { port: 2 } } })
      t.match(await loadConfig({ env }), { file: other, config: { server: { port: 3 } } })
      t.match(await loadConfig({ env: {} }), { file: 'signalbox.yaml', config: { server: { port: 1 } } })
      t.match(await loadConfig({ file: undefined, env: {} }), { file: 'signalbox.yaml' })
    })
  })

  t.test('need not be there, unless it was named', async (t) => {
    await within(resolve(dir, 'empty'), async () => {
      const { file, config } = await loadConfig({ env: {} })
      t.equal(file, undefined)
      t.strictSame(config, parse(''))
      const refusal = { name: 'ConfigError', message: /nowhere\.yaml is not valid:\n {2}- the file does not exist/ }
      await t.rejects(loadConfig({ file: 'nowhere.yaml', env: {} }), refusal)
      await t.rejects(loadConfig({ env: { SIGNALBOX_CONFIG: 'nowhere.yaml' } }), refusal)
    })
  })

  t.test('that cannot be read is an error that names it', async (t) => {
    await t.rejects(loadConfig({ file: dir, env: {} }), { name: 'ConfigError', message: /cannot be read/ })
  })

  t.test('is refused when its providers lack what they need, with everything else that is wrong', async (t) => {
    const file = resolve(dir, 'unusable.yaml')
    const error = await loadConfig({ file, env: { OPENAI_API_KEY: 'k' } }).catch((error: unknown) => error)
    t.match(error instanceof ConfigError && error.problems.toSorted(), [
      /^providers\.groq: provider "groq" needs an API key: give apiKey, or set GROQ_API_KEY$/,
      /^providers\.lab: provider "lab" is not known; use one of openai, /,
      /^providers\.vllm: provider "vllm" needs an address: give baseURL, or set VLLM_BASE_URL$/,
      /^server\.prot: unknown key; did you mean "port"\?$/,
    ])
    t.equal(error instanceof ConfigError && error.problems.length, 4)
  })

  t.test('is named by what is wrong with it', async (t) => {
    const file = resolve(dir, 'wrong.yaml')
    await t.rejects(loadConfig({ file, env: {} }), {
      name: 'ConfigError',
      message: `${file} is not valid`,
    })
  })
})

t.test('whatever the file says, it is a configuration or a ConfigError', async (t) => {
  const key = fc.constantFrom(
    'server',
    'auth',
    'keys',
    'providers',
    'models',
    'openai',
    'targets',
    'port',
    'cors',
    '__proto__',
    '0',
  )
  const document = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom<unknown>(null, 1, 'x', '${X}', true),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(key, tie('value')),
    ),
  })).value
  const text = fc.oneof(
    document.map((value) => JSON.stringify(value)),
    fc.string(),
  )
  const property = fc.property(text, (yaml) => {
    problemsOf(yaml, { X: '1' })
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('durations', async (t) => {
  for (const [text, ms] of [
    ['0s', 0],
    ['250ms', 250],
    ['15s', 15_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
  ] as const) {
    t.equal(milliseconds(text), ms, text)
  }
})

t.test('what is not YAML is told by its line, without what stands there', async (t) => {
  const problems = problemsOf('auth:\n  keys:\n    - { key: sk-secret-0123456789, user: a\n    - { key: x }\n')
  t.match(problems[0], /at line \d/)
  t.notMatch(problems.join(), /sk-secret/)
})

t.test('durations that no timer can hold, and none where there must be one, are refused', async (t) => {
  t.strictSame(problemsOf('providers: { openai: { timeouts: { total: 1000h } } }'), [
    'providers.openai.timeouts.total: must be at most 24 days',
  ])
  const slow = 'providers: { openai: {} }\nmodels: { a: { targets: [{ model: openai/x }], deadline: 0s } }'
  t.strictSame(problemsOf(slow, { OPENAI_API_KEY: 'k' }), ['models.a.deadline: must be longer than 0s'])
  const retries = '{ baseDelay: 0s, deadline: 25d }'
  t.strictSame(
    problemsOf(`
      providers: { openai: { breaker: { window: 0s }, retries: ${retries} } }
      models: { fast: { targets: [{ model: openai/x }], retries: ${retries}, timeouts: { idle: 0s } } }`),
    [
      'providers.openai.retries.deadline: must be at most 24 days',
      'providers.openai.breaker.window: must be longer than 0s',
      'models.fast.timeouts.idle: must be longer than 0s',
      'models.fast.retries.deadline: must be at most 24 days',
    ],
  )
  t.strictSame(problemsOf('responses: { ttl: 0s }'), ['responses.ttl: must be longer than 0s'])
  t.strictSame(problemsOf('server: { keepAlive: 0s, drainDelay: 0s }'), ['server.keepAlive: must be longer than 0s'])
})

t.test('a key that is listed twice is refused', async (t) => {
  const key = '{ key: sk-0123456789 }'
  t.strictSame(problemsOf(`auth: { keys: [${key}, ${key}] }`), ['auth.keys: the same API key is listed twice'])
})
