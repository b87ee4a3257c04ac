import type { Environment } from '../env.ts'

/** The AI SDK's package for a provider that does not speak OpenAI's format. */
export interface SDKPackage {
  name: string
  /** The export that makes the provider: `createAnthropic`. */
  factory: string
  /** True when the package is no dependency of the gateway: it is to be installed beside it. */
  onDemand?: boolean
}

/** What the gateway knows of a provider. A new provider is one more row. */
export interface Provider {
  /** Present when the provider is reached through the AI SDK; absent when it speaks OpenAI's format. */
  sdk?: SDKPackage
  /** Absent when every installation has its own address (Azure, vLLM, …), or when the AI SDK's package knows it. */
  baseURL?: string
  /** Environment variables: the key, another name for it, and the address that overrides `baseURL`. */
  apiKeyEnv?: string
  apiKeyEnvAlias?: string
  baseURLEnv?: string
  /** Appended to an address from the environment that lacks it, since these variables name a host. */
  path?: string
  /** False when no key is needed (a server of one's own), or when there are other credentials (AWS, Google Cloud). Default true. */
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
    sdk: { name: '@ai-sdk/anthropic', factory: 'createAnthropic' },
    baseURL: 'https://api.anthropic.com/v1',
    apiKeyEnv: 'ANTHROPIC_API_KEY',
    baseURLEnv: 'ANTHROPIC_BASE_URL',
    path: '/v1',
  },
  google: {
    sdk: { name: '@ai-sdk/google', factory: 'createGoogle' },
    baseURL: 'https://generativelanguage.googleapis.com/v1beta',
    apiKeyEnv: 'GOOGLE_GENERATIVE_AI_API_KEY',
    apiKeyEnvAlias: 'GEMINI_API_KEY',
  },
  /** AWS credentials and region, where no key is given, are found by the package: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, … */
  bedrock: {
    sdk: { name: '@ai-sdk/amazon-bedrock', factory: 'createAmazonBedrock', onDemand: true },
    apiKeyEnv: 'AWS_BEARER_TOKEN_BEDROCK',
    needsKey: false,
  },
  /** So are those of Google Cloud: `GOOGLE_VERTEX_PROJECT`, `GOOGLE_VERTEX_LOCATION`, application default credentials. */
  vertex: {
    sdk: { name: '@ai-sdk/google-vertex', factory: 'createVertex', onDemand: true },
    apiKeyEnv: 'GOOGLE_VERTEX_API_KEY',
    needsKey: false,
  },
  cohere: {
    sdk: { name: '@ai-sdk/cohere', factory: 'createCohere', onDemand: true },
    baseURL: 'https://api.cohere.com/v2',
    apiKeyEnv: 'COHERE_API_KEY',
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

/** The providers that the environment gives a key or, where none is needed, an address; those on demand must be named. */
export function providersIn(env: Environment): string[] {
  const isSet = (name: string | undefined): boolean => name !== undefined && Boolean(env[name])
  return Object.entries(providers)
    .filter(([, { sdk }]) => !sdk?.onDemand)
    .filter(([, { needsKey = true, baseURL, apiKeyEnv, apiKeyEnvAlias, baseURLEnv }]) =>
      needsKey
        ? (isSet(apiKeyEnv) || isSet(apiKeyEnvAlias)) && (baseURL !== undefined || isSet(baseURLEnv))
        : isSet(baseURLEnv),
    )
    .map(([name]) => name)
}
