import { LRUCache } from 'lru-cache'
import type { Usage } from '../types.ts'
import { flatCost, flatPrices, type ModelPrices, tokenCounts } from './flat-prices.ts'
import {
  countsReasoningApart,
  library,
  libraryCost,
  mayBeInLibrary,
  type Pricing,
  pricesNow,
  pricingInLibrary,
  pricingWith,
} from './price-library.ts'

export type { ModelPrices } from './flat-prices.ts'

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

/** Models arrive by name, wildcards included: what was found for so many of them is remembered. */
const rememberedModels = 1000

/** Longer than any name that a model has. One that a caller made up is neither searched for nor remembered. */
const longestName = 1000

/** What was found for a model. Of prices only those that stay as they are. */
interface Known {
  kind: string
  reasoningApart: boolean
  override: CatalogEntry | undefined
  pricing: Pricing | undefined
  flat: ModelPrices | undefined
}

/**
 * The catalog that comes with `@pydantic/genai-prices`, with changes of one's own. It asks no network.
 *
 * @param kinds The kind of provider behind a configured name, as `{ 'openai-eu': 'openai' }`; default: the name itself.
 *   Overrides go by the name, the library by the kind.
 * @throws Error naming the override that is wrong: a key that is not `provider/model`, a number that cannot be.
 */
export function createCatalog(overrides: CatalogOverrides = {}, kinds: Readonly<Record<string, string>> = {}): Catalog {
  const own = new Map(Object.entries(structuredClone(overrides)))
  for (const [name, entry] of own) check(name, entry)
  const kindOf = new Map(Object.entries(kinds))
  const remembered = new LRUCache<string, Known>({ max: rememberedModels })
  // Now, and not within the first request.
  if (Object.values(kinds).some(mayBeInLibrary)) library()

  function known(provider: string, model: string): Known {
    const name = `${provider}/${model}`
    const before = remembered.get(name)
    if (before) return before
    const kind = kindOf.get(provider) ?? provider
    const override = own.get(name)
    const isName = name.length <= longestName
    const pricing = isName ? pricingInLibrary(kind, model) : undefined
    const flat = override?.prices ?? (pricing && flatPrices(pricing.model.prices))
    const found = { kind, reasoningApart: countsReasoningApart(kind), override, pricing, flat }
    if (isName) remembered.set(name, found)
    return found
  }

  return {
    find(provider, model) {
      const { override, pricing } = known(provider, model)
      if (!override && !pricing) return undefined
      const contextWindow = override?.contextWindow ?? pricing?.model.context_window
      const prices = override?.prices ?? (pricing && pricesNow(pricing))
      return { ...(contextWindow === undefined ? {} : { contextWindow }), ...(prices ? { prices } : {}) }
    },

    cost(provider, model, usage) {
      const { kind, reasoningApart, override, pricing, flat } = known(provider, model)
      const tokens = flat && tokenCounts(usage, reasoningApart)
      if (tokens) return flatCost(flat, tokens)
      const any = override?.prices ? pricingWith(override.prices, model) : pricing
      return any && libraryCost(any, usage, kind)
    },
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
