import { createRequire } from 'node:module'
import type * as GenaiPrices from '@pydantic/genai-prices'
import { providers } from '../llm/providers.ts'
import type { Usage } from '../types.ts'
import type { ModelPrices } from './flat-prices.ts'

/** Providers that the library knows by another name. */
const libraryNames: Readonly<Record<string, string>> = {
  xai: 'x-ai',
  vertex: 'google',
  'google-vertex': 'google',
  bedrock: 'aws',
  'amazon-bedrock': 'aws',
}

/** One model, as the library computes with it. */
export interface Pricing {
  provider: GenaiPrices.Provider
  model: GenaiPrices.ModelInfo
}

/** On first use only, since the data cost some 3 MB and 30 ms; `require`, so that asking for a price need not wait. */
export const library = (): typeof GenaiPrices => createRequire(import.meta.url)('@pydantic/genai-prices')

/** Alone among those with OpenAI's format, xAI counts reasoning beside the completion and not within it. */
export const countsReasoningApart = (kind: string): boolean => libraryName(kind) === 'x-ai'

const libraryName = (kind: string): string => (Object.hasOwn(libraryNames, kind) ? (libraryNames[kind] ?? kind) : kind)

/** A server of one's own has no price for all the world. */
export function mayBeInLibrary(kind: string): boolean {
  const provider = Object.hasOwn(providers, kind) ? providers[kind] : undefined
  return provider?.needsKey !== false || provider.sdk !== undefined
}

export function pricingInLibrary(kind: string, model: string): Pricing | undefined {
  if (!mayBeInLibrary(kind)) return undefined
  const { calcPrice, findProvider } = library()
  const providerId = libraryName(kind)
  // The library takes any name with "openai" in it for OpenAI, and a server of one's own does not bill as OpenAI does.
  if (findProvider({ providerId })?.id !== providerId) return undefined
  const match = calcPrice({}, model, { providerId })
  return match ? onlyModel(match.provider, match.model) : undefined
}

export function pricingWith({ input, output, cachedInput, cacheWrite }: ModelPrices, id: string): Pricing {
  const prices = { input_mtok: input, output_mtok: output, cache_read_mtok: cachedInput, cache_write_mtok: cacheWrite }
  return onlyModel(
    { id: 'override', name: 'override', api_pattern: '', models: [] },
    { id, match: { equals: id }, prices },
  )
}

/** A provider with this one model, which every name fits: the library then need not search again. */
function onlyModel(provider: GenaiPrices.Provider, found: GenaiPrices.ModelInfo): Pricing {
  const model = { ...found, match: { contains: '' } }
  return { provider: { ...provider, models: [model] }, model }
}

/** Those of now. */
export function pricesNow({ provider, model }: Pricing): ModelPrices | undefined {
  const price = library().calcPrice({}, model.id, { provider })?.model_price ?? {}
  const prices = {
    input: price.input_mtok,
    output: price.output_mtok,
    cachedInput: price.cache_read_mtok,
    cacheWrite: price.cache_write_mtok,
  }
  const named = Object.entries(prices).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, typeof value === 'number' ? value : value.base] as const],
  )
  return named.length > 0 ? Object.fromEntries(named) : undefined
}

/** USD, for any prices and any usage; undefined when it is not known. */
export function libraryCost({ provider, model }: Pricing, usage: Usage, kind: string): number | undefined {
  const { calcPrice, extractUsage, findProvider } = library()
  const reader = findProvider({ providerId: countsReasoningApart(kind) ? 'x-ai' : 'openai' })
  if (!reader) return undefined
  try {
    const counted = extractUsage(reader, { usage }, 'chat').usage
    const result = calcPrice(counted, model.id, { provider })
    if (!result) return undefined
    const { input_mtok, output_mtok } = result.model_price
    const unknown =
      (counted.input_tokens && input_mtok === undefined) || (counted.output_tokens && output_mtok === undefined)
    return unknown ? undefined : result.total_price
  } catch {
    // More cached tokens than tokens, a negative count, a mix that the model has no price for: the cost is not known.
    return undefined
  }
}
