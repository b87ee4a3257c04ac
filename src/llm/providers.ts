import type { Environment } from '../env.ts'

/** What the gateway knows of a provider that speaks OpenAI's format. A new provider is one more row. */
export interface Provider {
  /** Absent when every installation has its own address (Azure, vLLM, …). */
  baseURL?: string
  /** Environment variables: the key, and the address that overrides `baseURL`. */
  apiKeyEnv?: string
  baseURLEnv?: string
  /** Appended to an address from the environment that lacks it, since these variables name a host. */
  path?: string
  /** False when no key is needed (a server of one's own). Default true. */
  needsKey?: boolean
  /** Header that carries the bare key, where it is not `Authorization: Bearer`. */
  keyHeader?: string
  /** False when the provider refuses `stream_options` (it then sends usage unasked). */
  streamOptions?: boolean
}

export const providers: Readonly<Record<string, Provider>> = {
  openai: { baseURL: 'https://api.openai.com/v1', apiKeyEnv: 'OPENAI_API_KEY', baseURLEnv: 'OPENAI_BASE_URL' },
  azure: {
    apiKeyEnv: 'AZURE_OPENAI_API_KEY',
    baseURLEnv: 'AZURE_OPENAI_ENDPOINT',
    path: '/openai/v1',
    keyHeader: 'api-key',
  },
  anthropic: {
    baseURL: 'https://api.anthropic.com/v1',
    apiKeyEnv: 'ANTHROPIC_API_KEY',
    baseURLEnv: 'ANTHROPIC_BASE_URL',
    path: '/v1',
  },
  xai: { baseURL: 'https://api.x.ai/v1', apiKeyEnv: 'XAI_API_KEY' },
  openrouter: { baseURL: 'https://openrouter.ai/api/v1', apiKeyEnv: 'OPENROUTER_API_KEY' },
  groq: { baseURL: 'https://api.groq.com/openai/v1', apiKeyEnv: 'GROQ_API_KEY' },
  mistral: { baseURL: 'https://api.mistral.ai/v1', apiKeyEnv: 'MISTRAL_API_KEY', streamOptions: false },
  deepseek: { baseURL: 'https://api.deepseek.com/v1', apiKeyEnv: 'DEEPSEEK_API_KEY' },
  together: { baseURL: 'https://api.together.xyz/v1', apiKeyEnv: 'TOGETHER_API_KEY' },
  fireworks: { baseURL: 'https://api.fireworks.ai/inference/v1', apiKeyEnv: 'FIREWORKS_API_KEY' },
  ollama: { baseURL: 'http://127.0.0.1:11434/v1', baseURLEnv: 'OLLAMA_BASE_URL', path: '/v1', needsKey: false },
  vllm: { baseURLEnv: 'VLLM_BASE_URL', path: '/v1', apiKeyEnv: 'VLLM_API_KEY', needsKey: false },
  sglang: { baseURLEnv: 'SGLANG_BASE_URL', path: '/v1', apiKeyEnv: 'SGLANG_API_KEY', needsKey: false },
  /** Any other server: its `baseURL` is given. */
  'openai-compatible': { needsKey: false },
}

/** The providers that the environment gives a key or, where none is needed, an address. */
export function providersIn(env: Environment): string[] {
  const isSet = (name: string | undefined): boolean => name !== undefined && Boolean(env[name])
  return Object.entries(providers)
    .filter(([, { needsKey = true, baseURL, apiKeyEnv, baseURLEnv }]) =>
      needsKey ? isSet(apiKeyEnv) && (baseURL !== undefined || isSet(baseURLEnv)) : isSet(baseURLEnv),
    )
    .map(([name]) => name)
}
