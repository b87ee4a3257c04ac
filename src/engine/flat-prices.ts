import type { ModelInfo } from '@pydantic/genai-prices'
import type { Usage } from '../types.ts'

/**
 * The quick way to a cost, which every request goes: arithmetic on a handful of numbers, for prices that are the same at
 * any time and for any length of prompt. The library needs some ten microseconds for it.
 */

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

/** What a usage of text counts, all of it billed. */
export interface TokenCounts {
  prompt: number
  /** Within the prompt. */
  cached: number
  /** Within the prompt. */
  cacheWrite: number
  completion: number
}

/** What {@link tokenCounts} never counts, or has the library count. */
const pricesBeside: ReadonlySet<string> = new Set([
  'cache_write_1h_mtok',
  'web_searches_kcount',
  'storage_searches_kcount',
  'input_audio_mtok',
  'cache_audio_read_mtok',
  'output_audio_mtok',
])

const isFlat = (price: unknown): price is number | undefined => price === undefined || typeof price === 'number'

/** Undefined for prices that change with the time or the prompt, or that {@link flatCost} knows nothing of. */
export function flatPrices(prices: ModelInfo['prices']): ModelPrices | undefined {
  if (Array.isArray(prices)) return undefined
  const { input_mtok: input, output_mtok: output, cache_read_mtok, cache_write_mtok, ...others } = prices
  if (!isFlat(input) || !isFlat(output) || !isFlat(cache_read_mtok) || !isFlat(cache_write_mtok)) return undefined
  if (!Object.keys(others).every((name) => pricesBeside.has(name))) return undefined
  return {
    ...(input === undefined ? {} : { input }),
    ...(output === undefined ? {} : { output }),
    ...(cache_read_mtok === undefined ? {} : { cachedInput: cache_read_mtok }),
    ...(cache_write_mtok === undefined ? {} : { cacheWrite: cache_write_mtok }),
  }
}

const isCount = (count: unknown): count is number => Number.isSafeInteger(count) && (count as number) >= 0

/** Undefined for a usage that the library has to judge: tokens of sound, counts that are none. */
export function tokenCounts(usage: Usage, reasoningApart: boolean): TokenCounts | undefined {
  const { prompt_tokens: prompt, completion_tokens: completion } = usage
  // A provider may send null for any of these, whatever the type says.
  const ofPrompt = usage.prompt_tokens_details
  const ofCompletion = usage.completion_tokens_details
  const cached = ofPrompt?.cached_tokens ?? 0
  const cacheWrite = ofPrompt?.cache_write_tokens ?? 0
  const reasoning = ofCompletion?.reasoning_tokens ?? 0
  if (!isCount(prompt) || !isCount(completion) || !isCount(cached) || !isCount(cacheWrite) || !isCount(reasoning)) {
    return undefined
  }
  if ((ofPrompt?.audio_tokens ?? 0) !== 0 || (ofCompletion?.audio_tokens ?? 0) !== 0) return undefined
  return reasoningApart
    ? { prompt, cached, cacheWrite: 0, completion: completion + reasoning }
    : { prompt, cached, cacheWrite, completion }
}

/** USD; undefined when a price that it takes is unknown or there are more cached tokens than tokens. */
export function flatCost(
  prices: ModelPrices,
  { prompt, cached, cacheWrite, completion }: TokenCounts,
): number | undefined {
  const { input, output, cachedInput, cacheWrite: written } = prices
  if ((prompt > 0 && input === undefined) || (completion > 0 && output === undefined)) return undefined
  // Of what has no price of its own there is nothing to subtract: it costs what any input costs.
  const fromCache = cachedInput === undefined ? 0 : cached
  const toCache = written === undefined ? 0 : cacheWrite
  const plain = prompt - fromCache - toCache
  if (plain < 0) return undefined
  const millionths =
    plain * (input ?? 0) + fromCache * (cachedInput ?? 0) + toCache * (written ?? 0) + completion * (output ?? 0)
  return millionths / 1_000_000
}
