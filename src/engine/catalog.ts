import { createRequire } from 'node:module'
import type * as GenaiPrices from '@pydantic/genai-prices'
import { LRUCache } from 'lru-cache'
import type { Usage } from '../types.ts'

/** USD per million tokens. 0 is a price; what is left out is unknown. */
export interface ModelPrices {
  /** Of the prompt. */
  input?: number
  /** Of the answer, reasoning included. */
  output?: number
  /** Of the part of the prompt that was read from the provider's cache. Default: as `input`. */
  cachedInput?: number
  /** Of the part of the prompt that was written to it. Default: as `input`. */
  cacheWrite?: number
}

/** What is known of a model. */
export interface CatalogEntry {
  /** Tokens of prompt and answer together. */
  contextWindow?: number
  /** Today's; where they rise with the length of the prompt, those of a short one. */
  prices?: ModelPrices
}

/** By `provider/model`. What an entry names replaces what the catalog knows; `prices` as a whole. */
export type CatalogOverrides = Readonly<Record<string, CatalogEntry>>

/** Context windows and prices of models. */
export interface Catalog {
  find(provider: string, model: string): CatalogEntry | undefined
  /** USD. Undefined, never 0, when a price that it takes is unknown or the usage contradicts itself. */
  cost(provider: string, model: string, usage: Usage): number | undefined
}

/** Providers that the library knows by another name. */
const libraryNames: Readonly<Record<string, string>> = {
  xai: 'x-ai',
  vertex: 'google',
  'google-vertex': 'google',
  bedrock: 'aws',
  'amazon-bedrock': 'aws',
}

/** Models arrive by name, wildcards included: what was found for so many of them is remembered. */
const rememberedModels = 1000

/** One model, as the library computes with it. */
interface Pricing {
  provider: GenaiPrices.Provider
  model: GenaiPrices.ModelInfo
}

/** On first use only, since the data cost some 3 MB and 20 ms; `require`, so that asking for a price need not wait. */
const library = (): typeof GenaiPrices => createRequire(import.meta.url)('@pydantic/genai-prices')

/**
 * The catalog that comes with `@pydantic/genai-prices`, with changes of one's own. It asks no network.
 *
 * @throws Error naming the override that is wrong: a key that is not `provider/model`, a number that cannot be.
 */
export function createCatalog(overrides: CatalogOverrides = {}): Catalog {
  const own = new Map(Object.entries(structuredClone(overrides)))
  for (const [name, entry] of own) check(name, entry)
  const remembered = new LRUCache<string, { pricing: Pricing | undefined }>({ max: rememberedModels })

  function known(provider: string, model: string): Pricing | undefined {
    const name = `${provider}/${model}`
    const before = remembered.get(name)
    if (before) return before.pricing
    const pricing = inLibrary(provider, model)
    remembered.set(name, { pricing })
    return pricing
  }

  return {
    find(provider, model) {
      const override = own.get(`${provider}/${model}`)
      const pricing = known(provider, model)
      if (!override && !pricing) return undefined
      const contextWindow = override?.contextWindow ?? pricing?.model.context_window
      const prices = override?.prices ?? (pricing && pricesOf(pricing))
      return { ...(contextWindow === undefined ? {} : { contextWindow }), ...(prices ? { prices } : {}) }
    },

    cost(provider, model, usage) {
      const prices = own.get(`${provider}/${model}`)?.prices
      const pricing = prices ? pricingWith(prices, model) : known(provider, model)
      return pricing && costOf(pricing, usage, libraryName(provider))
    },
  }
}

const libraryName = (provider: string): string =>
  Object.hasOwn(libraryNames, provider) ? (libraryNames[provider] ?? provider) : provider

function inLibrary(provider: string, model: string): Pricing | undefined {
  const { calcPrice, findProvider } = library()
  const providerId = libraryName(provider)
  // The library takes any name with "openai" in it for OpenAI, and a server of one's own does not bill as OpenAI does.
  if (findProvider({ providerId })?.id !== providerId) return undefined
  const match = calcPrice({}, model, { providerId })
  return match ? onlyModel(match.provider, match.model) : undefined
}

/** A provider with this one model, which every name fits: the library then need not search again. */
function onlyModel(provider: GenaiPrices.Provider, found: GenaiPrices.ModelInfo): Pricing {
  const model = { ...found, match: { contains: '' } }
  return { provider: { ...provider, models: [model] }, model }
}

function pricingWith({ input, output, cachedInput, cacheWrite }: ModelPrices, id: string): Pricing {
  const prices = { input_mtok: input, output_mtok: output, cache_read_mtok: cachedInput, cache_write_mtok: cacheWrite }
  return onlyModel(
    { id: 'override', name: 'override', api_pattern: '', models: [] },
    { id, match: { equals: id }, prices },
  )
}

function pricesOf({ provider, model }: Pricing): ModelPrices | undefined {
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

function costOf({ provider, model }: Pricing, usage: Usage, billedBy: string): number | undefined {
  const { calcPrice, extractUsage, findProvider } = library()
  // Alone among those with OpenAI's format, xAI counts reasoning beside the completion and not within it.
  const reader = findProvider({ providerId: billedBy === 'x-ai' ? 'x-ai' : 'openai' })
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

function check(name: string, { contextWindow, prices = {} }: CatalogEntry): void {
  if (!/^[^/]+\/./s.test(name)) throw new Error(`catalog override "${name}" must be named provider/model`)
  if (contextWindow !== undefined && (!Number.isSafeInteger(contextWindow) || contextWindow < 1)) {
    throw new Error(`catalog override "${name}": contextWindow must be a positive integer, not ${contextWindow}`)
  }
  for (const [field, price] of Object.entries(prices)) {
    if (price !== undefined && !(Number.isFinite(price) && price >= 0)) {
      throw new Error(`catalog override "${name}": prices.${field} must be USD per million tokens, not ${price}`)
    }
  }
  if (prices.input === undefined && (prices.cachedInput ?? prices.cacheWrite) !== undefined) {
    throw new Error(`catalog override "${name}": a price of cached tokens needs prices.input`)
  }
}
