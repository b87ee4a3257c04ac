import { createHash } from 'node:crypto'
import { isObject } from '../json.ts'
import type { ChatRequest, EmbeddingRequest } from '../types.ts'

/** What an answer is the answer to. */
export interface CacheQuestion {
  /** Whole answers and streams have entries of their own: each is given again as it came. */
  operation: 'complete' | 'stream' | 'embed'
  request: ChatRequest | EmbeddingRequest
  /** The registered model and where its requests go: with other targets, other answers. */
  plan: string
  /** Whose answer it is; `null` for nobody's. Undefined when it is for all. */
  userId: string | null | undefined
}

/** Of the gateway's, or of OpenAI's records and caches: they say nothing of what is answered. */
const neverCount = ['stream', 'store', 'metadata', 'prompt_cache_key', 'prompt_cache_retention']
/** Who asks, within the user that the gateway knows. */
const askers = ['user', 'safety_identifier']

/**
 * Where an answer is kept. Two requests have one key when they are the same JSON, in whatever order and layout, apart from fields that
 * do not count; every other field counts, known or not, and so does every digit of a number.
 */
export function cacheKey({ operation, request, plan, userId }: CacheQuestion): string {
  const skipped = userId === undefined ? [...neverCount, ...askers] : neverCount
  const counted = Object.fromEntries(Object.entries(request).filter(([field]) => !skipped.includes(field)))
  // Nobody is not the user "null", and all are neither.
  const scope = userId === undefined ? 'all' : ['user', userId]
  const text = JSON.stringify(sorted([operation, plan, scope, counted]))
  // In UTF-8 all halves of surrogate pairs would be one character; JSON writes them as escapes.
  return `cache:${createHash('sha256').update(text).digest('hex')}`
}

/** With the keys of every object in one order. A number that is kept as text is left alone, and written as that text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isObject(value)) return value
  const names = Object.keys(value).sort()
  return Object.fromEntries(names.map((name) => [name, sorted(value[name])]))
}
