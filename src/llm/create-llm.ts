import { type Environment, environment } from '../env.ts'
import type { LLMClient, Timeouts } from '../types.ts'
import { OpenAICompatibleClient, type OpenAICompatibleOptions } from './openai-compatible.ts'
import { type Provider, providers } from './providers.ts'

export interface CreateLLMOptions {
  /** `provider/name`; the name may contain `/`. `provider/*` takes the model's name from each request. */
  model: string
  /** What `provider` is; by default the provider of that name. `openai-compatible` for a server of your own. */
  kind?: string
  /** Default: the provider's environment variable. */
  apiKey?: string
  /** Default: the provider's environment variable, then its public address. */
  baseURL?: string
  /** Sent with every request. */
  headers?: Readonly<Record<string, string>>
  timeouts?: Partial<Timeouts>
}

/**
 * A client for one model (or, with `*`, for every model) of one provider.
 *
 * @throws Error naming what is missing: an unknown provider, a key, an address.
 */
export function createLLM(options: CreateLLMOptions): LLMClient {
  return new OpenAICompatibleClient(resolveLLM(options, environment()))
}

/** What a client needs, from what was given and what the environment holds. Throws as {@link createLLM}. */
export function resolveLLM(options: CreateLLMOptions, env: Environment): OpenAICompatibleOptions {
  const slash = options.model.indexOf('/')
  if (slash < 1 || slash === options.model.length - 1) {
    throw new Error(`model "${options.model}" must be written as provider/name, for example openai/gpt-4o-mini`)
  }
  const provider = options.model.slice(0, slash)
  const kind = options.kind ?? (options.baseURL && !Object.hasOwn(providers, provider) ? 'openai-compatible' : provider)
  const preset = Object.hasOwn(providers, kind) ? providers[kind] : undefined
  if (!preset) {
    const known = Object.keys(providers).join(', ')
    throw new Error(`provider "${kind}" is not known; use one of ${known}, or give a baseURL`)
  }
  return {
    provider,
    model: options.model.slice(slash + 1),
    headers: { ...authorization(provider, preset, options.apiKey, env), ...lowerCased(options.headers) },
    baseURL: options.baseURL ?? addressOf(provider, preset, env),
    ...(preset.streamOptions === undefined ? {} : { streamOptions: preset.streamOptions }),
    ...(options.timeouts ? { timeouts: options.timeouts } : {}),
  }
}

/** So that a header of one's own replaces ours, however it is written. */
const lowerCased = (headers: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

function authorization(
  provider: string,
  preset: Provider,
  given: string | undefined,
  env: Environment,
): Record<string, string> {
  const apiKey = given || (preset.apiKeyEnv ? env[preset.apiKeyEnv] : undefined)
  if (apiKey) return preset.keyHeader ? { [preset.keyHeader]: apiKey } : { authorization: `Bearer ${apiKey}` }
  if (preset.needsKey === false) return {}
  const variable = preset.apiKeyEnv ? `, or set ${preset.apiKeyEnv}` : ''
  throw new Error(`provider "${provider}" needs an API key: give apiKey${variable}`)
}

function addressOf(provider: string, preset: Provider, env: Environment): string {
  const fromEnv = preset.baseURLEnv ? env[preset.baseURLEnv] : undefined
  if (fromEnv) {
    const address = fromEnv.replace(/\/+$/, '')
    return !preset.path || address.endsWith(preset.path) ? address : address + preset.path
  }
  if (preset.baseURL) return preset.baseURL
  const variable = preset.baseURLEnv ? `, or set ${preset.baseURLEnv}` : ''
  throw new Error(`provider "${provider}" needs an address: give baseURL${variable}`)
}
