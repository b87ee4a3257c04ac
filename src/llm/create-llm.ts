import { validateHeaderName, validateHeaderValue } from 'node:http'
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
  const headers = { ...authorization(provider, preset, options.apiKey, env), ...lowerCased(options.headers) }
  for (const [name, value] of Object.entries(headers)) assertHeader(provider, name, value)
  const baseURL = options.baseURL ?? addressOf(provider, preset, env)
  assertAddress(provider, baseURL)
  return {
    provider,
    model: options.model.slice(slash + 1),
    headers,
    baseURL,
    ...(preset.streamOptions === undefined ? {} : { streamOptions: preset.streamOptions }),
    ...(options.timeouts ? { timeouts: options.timeouts } : {}),
  }
}

/** So that a header of one's own replaces ours, however it is written. */
const lowerCased = (headers: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/** Of the connection, not of the request (RFC 9110, 7.6.1); or written by the gateway from what it sends. */
const ownHeaders = new Set(['connection', 'content-length', 'host', 'keep-alive', 'te', 'transfer-encoding', 'upgrade'])

/** Neither the header nor the complaint may be made of what cannot be sent: every request would fail, one by one. */
function assertHeader(provider: string, name: string, value: string): void {
  if (isSendable(name, value) && !ownHeaders.has(name)) return
  throw new Error(`provider "${provider}" cannot be sent the header ${JSON.stringify(name)}`)
}

function isSendable(name: string, value: string): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    return true
  } catch {
    return false
  }
}

function assertAddress(provider: string, baseURL: string): void {
  const url = URL.parse(baseURL)
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search && !url.hash) return
  throw new Error(
    `provider "${provider}" needs a baseURL of the form http(s)://host/path, without user, query and fragment`,
  )
}

function authorization(
  provider: string,
  preset: Provider,
  given: string | undefined,
  env: Environment,
): Record<string, string> {
  // A secret that was written with an editor ends in a line break.
  const apiKey = (given || (preset.apiKeyEnv ? env[preset.apiKeyEnv] : undefined))?.trim()
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
