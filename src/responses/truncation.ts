import { estimateTokens } from '../agent/estimate-tokens.ts'
import { toMessages } from './chat-messages.ts'
import { exchangesOf } from './exchanges.ts'
import { invalid } from './refusals.ts'
import type { ResponseRequest, StoredItem } from './response-types.ts'

const bytesPerToken = 4

/**
 * What of the items is sent. With `truncation: 'auto'`, and a context window that is known, the oldest exchanges are left out
 * until the rest, as estimated, fits in beside the instructions, the tools and the longest answer that was asked for.
 *
 * @throws GatewayError `invalid_request` for another value of `truncation`
 */
export function fitting(
  request: ResponseRequest,
  items: readonly StoredItem[],
  contextWindow: number | undefined,
): readonly StoredItem[] {
  const { truncation, instructions, tools, max_output_tokens: longest } = request
  if (truncation != null && truncation !== 'auto' && truncation !== 'disabled') {
    throw invalid('truncation', "invalid value for 'truncation': must be auto or disabled")
  }
  if (truncation !== 'auto' || contextWindow === undefined) return items
  const { front, exchanges } = exchangesOf(items)
  const fixed = Buffer.byteLength(JSON.stringify([instructions, tools])) / bytesPerToken
  let left = contextWindow - (longest ?? 0) - fixed - tokensOf(front)
  let from = exchanges.length
  for (const [index, exchange] of exchanges.entries().toArray().reverse()) {
    left -= tokensOf(exchange)
    if (left < 0 && index < exchanges.length - 1) break
    from = index
  }
  return [...front, ...exchanges.slice(from).flat()]
}

const tokensOf = (items: readonly StoredItem[]): number => estimateTokens(toMessages(items, () => 'input'))
