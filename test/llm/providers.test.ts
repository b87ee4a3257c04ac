import t from 'tap'
import { providers, providersIn } from '../../src/llm/providers.ts'

t.test('every provider is one that the specification names', async (t) => {
  for (const name of [
    'openai',
    'azure',
    'anthropic',
    'google',
    'bedrock',
    'vertex',
    'cohere',
    'xai',
    'openrouter',
    'groq',
    'mistral',
    'deepseek',
    'together',
    'fireworks',
    'ollama',
    'vllm',
    'sglang',
  ]) {
    t.ok(Object.hasOwn(providers, name), name)
  }
})

t.test('every row is complete', async (t) => {
  for (const [name, provider] of Object.entries(providers)) {
    t.notMatch(name, '/', 'the name is the part of a model before the slash')
    if (provider.baseURL) {
      const url = new URL(provider.baseURL)
      t.ok(url.protocol === 'https:' || url.hostname === '127.0.0.1', `${name}: no key goes over the net in clear`)
      t.notMatch(provider.baseURL, /\/$/, name)
    }
    t.ok(provider.needsKey === false || provider.apiKeyEnv, `${name}: a key that is needed has a variable`)
    const knownElsewhere = provider.sdk ?? name === 'openai-compatible'
    t.ok(provider.baseURL || provider.baseURLEnv || knownElsewhere, `${name}: there is an address`)
    t.ok(provider.apiKeyEnv || !provider.apiKeyEnvAlias, `${name}: an alias is a second name`)
    if (provider.path) t.match(provider.path, /^\/.*[^/]$/, name)
  }
  const variables = Object.values(providers).flatMap(({ apiKeyEnv, apiKeyEnvAlias, baseURLEnv }) =>
    [apiKeyEnv ?? [], apiKeyEnvAlias ?? [], baseURLEnv ?? []].flat(),
  )
  t.equal(new Set(variables).size, variables.length, 'no two share a variable')
})

t.test('a provider is there when the environment gives what it needs', async (t) => {
  for (const [env, expected] of [
    [{}, []],
    [{ OPENAI_API_KEY: 'k' }, ['openai']],
    [{ OPENAI_API_KEY: '' }, []],
    [{ OPENAI_BASE_URL: 'http://x' }, []],
    [{ GROQ_API_KEY: 'k', OPENAI_API_KEY: 'k', PATH: '/bin' }, ['openai', 'groq']],
    [{ AZURE_OPENAI_API_KEY: 'k' }, []],
    [{ AZURE_OPENAI_ENDPOINT: 'https://x.openai.azure.com' }, []],
    [{ AZURE_OPENAI_API_KEY: 'k', AZURE_OPENAI_ENDPOINT: 'https://x.openai.azure.com' }, ['azure']],
    [{ OLLAMA_BASE_URL: 'http://x' }, ['ollama']],
    [{ VLLM_BASE_URL: 'http://x' }, ['vllm']],
    [{ VLLM_API_KEY: 'k' }, []],
    [{ ANTHROPIC_API_KEY: 'k' }, ['anthropic']],
    [{ GOOGLE_GENERATIVE_AI_API_KEY: 'k' }, ['google']],
    [{ GEMINI_API_KEY: 'k' }, ['google']],
    // Their packages may not be there: they must be named.
    [{ COHERE_API_KEY: 'k', AWS_BEARER_TOKEN_BEDROCK: 'k', GOOGLE_VERTEX_API_KEY: 'k' }, []],
  ] as const) {
    t.strictSame(providersIn(env).toSorted(), expected.toSorted(), JSON.stringify(env))
  }
})
