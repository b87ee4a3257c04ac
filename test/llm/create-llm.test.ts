import t from 'tap'
import { type CreateLLMOptions, createLLM } from '../../src/index.ts'
import { providers } from '../../src/llm/providers.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import { startGoogle } from '../upstream/google.ts'
import { startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

const variables = Object.values(providers).flatMap(({ apiKeyEnv, apiKeyEnvAlias, baseURLEnv }) => [
  apiKeyEnv,
  apiKeyEnvAlias,
  baseURLEnv,
])
const inherited = { ...process.env }

/** Of all providers, the process knows what these variables say. */
function setEnvironment(env: Record<string, string> = {}): void {
  for (const name of variables) if (name) delete process.env[name]
  Object.assign(process.env, env)
}
t.beforeEach(() => {
  upstream.reset()
  setEnvironment()
})
t.teardown(() => {
  setEnvironment()
  Object.assign(process.env, inherited)
})

/** What the upstream receives from a client with these options. */
async function received(options: CreateLLMOptions, model = 'asked') {
  const client = createLLM(options)
  try {
    await client.complete({ model, messages: [{ role: 'user', content: 'hi' }] })
  } finally {
    await client.close?.()
  }
  const { path, headers, body } = upstream.last()
  return { path, headers, body, client }
}

const root = new URL(upstream.baseURL).origin
const { baseURL } = upstream

t.test('a model is provider/name, and the name may contain slashes', async (t) => {
  const { client, body } = await received({ model: 'lab/org/small:1.5', baseURL })
  t.match(client, { provider: 'lab', model: 'org/small:1.5' })
  t.match(body, { model: 'org/small:1.5' })
})

t.test('provider/* takes the name from each request', async (t) => {
  const { client, body } = await received({ model: 'lab/*', baseURL }, 'of/the:request')
  t.match(client, { provider: 'lab', model: '*' })
  t.match(body, { model: 'of/the:request' })
})

t.test('a model that is not written so is refused', async (t) => {
  for (const model of ['gpt-4o', '/gpt-4o', 'openai/', '/', '']) {
    t.throws(() => createLLM({ model, apiKey: 'k', baseURL }), { message: /must be written as provider\/name/ }, model)
  }
})

t.test('an unknown provider is refused, with those that are known', async (t) => {
  for (const model of ['nowhere/m', 'toString/m', '__proto__/m', 'OpenAI/m']) {
    t.throws(() => createLLM({ model, apiKey: 'k' }), { message: /is not known; use one of openai, .*groq/ }, model)
  }
  t.throws(() => createLLM({ model: 'lab/m', kind: 'nowhere', baseURL }), {
    message: /provider "nowhere" is not known/,
  })
})

t.test('with an address, any name is a server of your own', async (t) => {
  const { path, headers } = await received({ model: 'mine/m', baseURL })
  t.equal(path, '/v1/chat/completions')
  t.equal(headers.authorization, undefined)
  const keyed = await received({ model: 'mine/m', baseURL, apiKey: 'sk-mine' })
  t.equal(keyed.headers.authorization, 'Bearer sk-mine')
})

t.test('the key', async (t) => {
  t.test('is the one given, then the one of the environment', async (t) => {
    setEnvironment({ GROQ_API_KEY: 'sk-environment' })
    t.match((await received({ model: 'groq/m', baseURL })).headers, { authorization: 'Bearer sk-environment' })
    const given = await received({ model: 'groq/m', baseURL, apiKey: 'sk-given' })
    t.match(given.headers, { authorization: 'Bearer sk-given' })
    const empty = await received({ model: 'groq/m', baseURL, apiKey: '' })
    t.match(empty.headers, { authorization: 'Bearer sk-environment' }, 'an empty one is none')
  })

  t.test("that is missing is an error that names the provider's variable", async (t) => {
    for (const [model, variable] of [
      ['openai/m', 'OPENAI_API_KEY'],
      ['groq/m', 'GROQ_API_KEY'],
      ['azure/m', 'AZURE_OPENAI_API_KEY'],
      ['anthropic/m', 'ANTHROPIC_API_KEY'],
      ['google/m', 'GOOGLE_GENERATIVE_AI_API_KEY or GEMINI_API_KEY'],
      ['cohere/m', 'COHERE_API_KEY'],
    ] as const) {
      const provider = model.split('/')[0]
      t.throws(() => createLLM({ model }), {
        message: `provider "${provider}" needs an API key: give apiKey, or set ${variable}`,
      })
    }
  })

  t.test('of one provider is never sent to another', async (t) => {
    setEnvironment({ OPENAI_API_KEY: 'sk-openai' })
    t.equal((await received({ model: 'lab/m', baseURL })).headers.authorization, undefined)
    t.equal((await received({ model: 'vllm/m', baseURL })).headers.authorization, undefined)
  })

  t.test("goes into the provider's own header where it has one", async (t) => {
    const { headers } = await received({ model: 'azure/m', baseURL, apiKey: 'sk-azure' })
    t.equal(headers['api-key'], 'sk-azure')
    t.equal(headers.authorization, undefined)
  })

  t.test('is not needed by a server of your own', async (t) => {
    for (const model of ['ollama/m', 'vllm/m', 'sglang/m']) {
      t.equal((await received({ model, baseURL })).headers.authorization, undefined, model)
    }
    t.match((await received({ model: 'vllm/m', baseURL, apiKey: 'k' })).headers, { authorization: 'Bearer k' })
  })
})

t.test('the address', async (t) => {
  t.test('is the one given, then the one of the environment', async (t) => {
    setEnvironment({ OPENAI_BASE_URL: `${root}/from-environment` })
    upstream.behave((_request, exchange) => exchange.json(200, {}))
    t.equal((await received({ model: 'openai/m', apiKey: 'k' })).path, '/from-environment/chat/completions')
    t.equal((await received({ model: 'openai/m', apiKey: 'k', baseURL })).path, '/v1/chat/completions')
  })

  t.test('may end in a slash, or have no path at all', async (t) => {
    upstream.behave((_request, exchange) => exchange.json(200, {}))
    for (const [address, path] of [
      [`${root}/v1/`, '/v1/chat/completions'],
      [`${root}/a/b//`, '/a/b/chat/completions'],
      [root, '/chat/completions'],
      [`${root}/`, '/chat/completions'],
    ] as const) {
      t.equal((await received({ model: 'lab/m', baseURL: address })).path, path, address)
    }
  })

  t.test('of a variable that names a host gets the path that belongs to it', async (t) => {
    upstream.behave((_request, exchange) => exchange.json(200, {}))
    for (const [variable, value, model, path] of [
      ['OLLAMA_BASE_URL', root, 'ollama/m', '/v1/chat/completions'],
      ['OLLAMA_BASE_URL', `${root}/`, 'ollama/m', '/v1/chat/completions'],
      ['OLLAMA_BASE_URL', `${root}/v1`, 'ollama/m', '/v1/chat/completions'],
      ['OLLAMA_BASE_URL', `${root}/proxy`, 'ollama/m', '/proxy/v1/chat/completions'],
      ['AZURE_OPENAI_ENDPOINT', `${root}/`, 'azure/m', '/openai/v1/chat/completions'],
      ['AZURE_OPENAI_ENDPOINT', `${root}/openai/v1/`, 'azure/m', '/openai/v1/chat/completions'],
    ] as const) {
      setEnvironment({ [variable]: value })
      t.equal((await received({ model, apiKey: 'k' })).path, path, value)
    }
  })

  t.test('that is missing is an error that says so', async (t) => {
    t.throws(() => createLLM({ model: 'vllm/m' }), {
      message: /provider "vllm" needs an address: give baseURL, or set VLLM_BASE_URL/,
    })
    t.throws(() => createLLM({ model: 'mine/m', kind: 'openai-compatible' }), {
      message: 'provider "mine" needs an address: give baseURL',
    })
  })
})

t.test('kind says what a provider of another name is', async (t) => {
  setEnvironment({ GROQ_API_KEY: 'sk-groq' })
  const { client, headers } = await received({ model: 'team-groq/m', kind: 'groq', baseURL })
  t.equal(client.provider, 'team-groq')
  t.match(headers, { authorization: 'Bearer sk-groq' })
})

t.test('a provider that refuses stream_options is not sent any', async (t) => {
  const client = createLLM({ model: 'mistral/m', apiKey: 'k', baseURL })
  t.teardown(() => client.close?.())
  const messages = [{ role: 'user' as const, content: 'hi' }]
  for await (const _chunk of client.stream({
    model: 'm',
    messages,
    stream: true,
    stream_options: { include_usage: true },
  })) {
    // The chunks are not the point.
  }
  t.strictSame(upstream.last().body, { model: 'm', messages, stream: true })
})

t.test('a provider with a format of its own', async (t) => {
  const anthropic = await startAnthropic()
  const google = await startGoogle()
  t.teardown(() => Promise.all([anthropic.close(), google.close()]))
  const ask = async (options: CreateLLMOptions, model = 'asked'): Promise<string | null | undefined> => {
    const client = createLLM(options)
    t.teardown(() => client.close?.())
    const completion = await client.complete({ model, messages: [{ role: 'user', content: 'hi' }] })
    return completion.choices[0]?.message.content
  }

  t.test('takes key and address from its variables, and headers of your own', async (t) => {
    setEnvironment({ ANTHROPIC_API_KEY: 'sk-ant', ANTHROPIC_BASE_URL: new URL(anthropic.baseURL).origin })
    t.equal(await ask({ model: 'anthropic/claude-haiku-4-5', headers: { 'X-Tenant': 'blue' } }), 'You said: hi')
    const { path, headers, body } = anthropic.last()
    t.equal(path, '/v1/messages')
    t.match(headers, { 'x-api-key': 'sk-ant', 'x-tenant': 'blue', 'anthropic-version': /./ })
    t.equal(headers.authorization, undefined)
    t.match(body, { model: 'claude-haiku-4-5' })
  })

  t.test('takes a key of another name, and the model from each request', async (t) => {
    setEnvironment({ GEMINI_API_KEY: 'gemini-key' })
    t.equal(await ask({ model: 'google/*', baseURL: google.baseURL }, 'gemini-2.5-flash'), 'You said: hi')
    t.equal(google.last().headers['x-goog-api-key'], 'gemini-key')
    t.equal(google.last().path, '/v1beta/models/gemini-2.5-flash:generateContent')
  })

  t.test('may have a name of your own', async (t) => {
    const client = createLLM({ model: 'claude/m', kind: 'anthropic', apiKey: 'k', baseURL: anthropic.baseURL })
    t.teardown(() => client.close?.())
    t.match(client, { provider: 'claude', model: 'm' })
  })

  t.test('is loaded when it is named, if its package is installed', async (t) => {
    const cohere = await startUpstream()
    t.teardown(() => cohere.close())
    cohere.behave((_request, exchange) =>
      exchange.json(200, {
        id: '4f2d',
        message: { role: 'assistant', content: [{ type: 'text', text: 'Bonjour' }] },
        finish_reason: 'COMPLETE',
        usage: { tokens: { input_tokens: 3, output_tokens: 2 } },
      }),
    )
    setEnvironment({ COHERE_API_KEY: 'cohere-key' })
    t.equal(await ask({ model: 'cohere/command-a', baseURL: cohere.baseURL }), 'Bonjour')
    const { path, headers, body } = cohere.last()
    t.equal(path, '/v1/chat')
    t.equal(headers.authorization, 'Bearer cohere-key')
    t.match(body, { model: 'command-a', messages: [{ role: 'user', content: 'hi' }] })
  })

  t.test('whose package is not installed is an error that names it', async (t) => {
    for (const [model, name] of [
      ['bedrock/m', '@ai-sdk/amazon-bedrock'],
      ['vertex/m', '@ai-sdk/google-vertex'],
    ] as const) {
      const provider = model.split('/')[0]
      t.throws(() => createLLM({ model, apiKey: 'k' }), {
        message: `provider "${provider}" needs the package ${name}: install it with npm install ${name}`,
      })
    }
  })
})

t.test('headers of your own are sent with every request', async (t) => {
  const { headers } = await received({ model: 'lab/m', baseURL, headers: { 'x-tenant': 'blue', 'x-other': '1' } })
  t.match(headers, { 'x-tenant': 'blue', 'x-other': '1', 'content-type': 'application/json' })
})

t.test('timeouts of your own hold', async (t) => {
  upstream.behave(() => undefined)
  const failed = received({ model: 'lab/m', baseURL, timeouts: { total: 50 } })
  await t.rejects(failed, { code: 'upstream_timeout', status: 504 })
})

t.test('what cannot be sent is refused at once, by the name of the provider', async (t) => {
  for (const options of [
    { baseURL: 'localhost:11434' },
    { baseURL: 'http://host:99999/v1' },
    { baseURL: 'http://user:pass@host/v1' },
    { baseURL: 'http://host/v1?api-version=1' },
    { baseURL: 'http://host/v1', headers: { 'bad name': 'x' } },
    { baseURL: 'http://host/v1', headers: { 'x-a': 'a\nb' } },
    { baseURL: 'http://host/v1', headers: { 'Content-Length': '1' } },
  ]) {
    t.throws(() => createLLM({ model: 'lab/m', ...options }), { message: /provider "lab"/ }, JSON.stringify(options))
  }
})

t.test('responses: native, for what speaks OpenAI’s format', async (t) => {
  const native = createLLM({ model: 'lab/m', baseURL, responses: 'native' })
  const translated = createLLM({ model: 'lab/m', baseURL, responses: 'translated' })
  t.teardown(() => Promise.all([native.close?.(), translated.close?.()]))
  t.ok(native.responses)
  t.equal(translated.responses, undefined)
  t.throws(() => createLLM({ model: 'anthropic/claude', apiKey: 'k', responses: 'native' }), {
    message: `provider "anthropic" has no responses of its own: "native" is for what speaks OpenAI's format`,
  })
  const claude = createLLM({ model: 'anthropic/claude', apiKey: 'k', responses: 'translated' })
  t.teardown(() => claude.close?.())
})
