import { validateHeaderName, validateHeaderValue } from 'node:http'
import { type Environment, environment } from '../env.ts'
import type { LLMClient, Timeouts } from '../types.ts'
import { AISDKClient, type AISDKOptions } from './ai-sdk.ts'
import { assertInstalled } from './ai-sdk-provider.ts'
import { observed } from './observed.ts'
import { OpenAICompatibleClient, type OpenAICompatibleOptions, type ResponsesMode } from './openai-compatible.ts'
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
  /**
   * `native` when the provider is to be asked at its own `/responses`, with everything that it can do there; by default the
   * Responses API is translated to chat completions.
   */
  responses?: ResponsesMode
}

/**
 * A client for one model (or, with `*`, for every model) of one provider.
 *
 * @throws Error naming what is missing: an unknown provider, a key, an address, a package to install.
 */
export function createLLM(options: CreateLLMOptions): LLMClient {
  const resolved = resolveLLM(options, environment())
  if ('sdk' in resolved) return observed(new AISDKClient(resolved), resolved.settings.baseURL)
  return observed(new OpenAICompatibleClient(resolved), resolved.baseURL)
}

/** What a client needs, from what was given and what the environment holds. Throws as {@link createLLM}. */
export function resolveLLM(options: CreateLLMOptions, env: Environment): OpenAICompatibleOptions | AISDKOptions {
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
  if (preset.sdk) assertInstalled(provider, preset.sdk)
  const apiKey = apiKeyOf(provider, preset, options.apiKey, env)
  const own = lowerCased(options.headers)
  const headers = { ...authorization(preset, apiKey), ...own }
  for (const [name, value] of Object.entries(headers)) assertHeader(provider, name, value)
  const baseURL = options.baseURL ?? addressOf(preset, env)
  if (baseURL !== undefined) assertAddress(provider, baseURL)
  const model = options.model.slice(slash + 1)
  const common = { provider, model, ...(options.timeouts ? { timeouts: options.timeouts } : {}) }
  if (preset.sdk && options.responses === 'native') {
    throw new Error(`provider "${provider}" has no responses of its own: "native" is for what speaks OpenAI's format`)
  }
  if (preset.sdk) {
    const settings = { headers: own, ...(apiKey ? { apiKey } : {}), ...(baseURL ? { baseURL } : {}) }
    return { ...common, kind, sdk: preset.sdk, settings }
  }
  if (baseURL === undefined) {
    const variable = preset.baseURLEnv ? `, or set ${preset.baseURLEnv}` : ''
    throw new Error(`provider "${provider}" needs an address: give baseURL${variable}`)
  }
  const { streamOptions } = preset
  const { responses } = options
  return {
    ...common,
    headers,
    baseURL,
    ...(streamOptions === undefined ? {} : { streamOptions }),
    ...(responses === undefined ? {} : { responses }),
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

function apiKeyOf(
  provider: string,
  { apiKeyEnv, apiKeyEnvAlias, needsKey }: Provider,
  given: string | undefined,
  env: Environment,
): string | undefined {
  const names = [apiKeyEnv, apiKeyEnvAlias].filter((name) => name !== undefined)
  // A secret that was written with an editor ends in a line break.
  const apiKey = (given || names.map((name) => env[name]).find(Boolean))?.trim()
  if (apiKey) return apiKey
  if (needsKey === false) return undefined
  const variable = names.length > 0 ? `, or set ${names.join(' or ')}` : ''
  throw new Error(`provider "${provider}" needs an API key: give apiKey${variable}`)
}

function authorization({ keyHeader }: Provider, apiKey: string | undefined): Record<string, string> {
  if (!apiKey) return {}
  return keyHeader ? { [keyHeader]: apiKey } : { authorization: `Bearer ${apiKey}` }
}

function addressOf({ baseURL, baseURLEnv, path }: Provider, env: Environment): string | undefined {
  const fromEnv = baseURLEnv ? env[baseURLEnv] : undefined
  if (!fromEnv) return baseURL
  const address = fromEnv.replace(/\/+$/, '')
  return !path || address.endsWith(path) ? address : address + path
}
