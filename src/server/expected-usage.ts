import { estimateTokens } from '../agent/estimate-tokens.ts'
import type { ResponseRequest, StoredItem } from '../responses/response-types.ts'
import type { ChatRequest, EmbeddingRequest } from '../types.ts'

/** What a request is expected to use. `output` undefined where it does not bound its answer. */
export interface ExpectedUsage {
  input: number
  output: number | undefined
}

const bytesPerToken = 4

const tokensOf = (value: unknown): number =>
  value == null ? 0 : Math.ceil(Buffer.byteLength(JSON.stringify(value)) / bytesPerToken)

const bound = (...limits: unknown[]): number | undefined =>
  limits.find((limit): limit is number => typeof limit === 'number' && limit >= 0)

export function ofChat(request: ChatRequest): ExpectedUsage {
  const { messages, tools, functions, response_format, max_completion_tokens, max_tokens, n } = request
  const longest = bound(max_completion_tokens, max_tokens)
  return {
    input: estimateTokens(messages) + tokensOf(tools) + tokensOf(functions) + tokensOf(response_format),
    output: longest === undefined ? undefined : longest * Math.max(1, n ?? 1),
  }
}

/** Of a list of numbers, each is a token. */
export function ofEmbedding({ input }: EmbeddingRequest): ExpectedUsage {
  const items: readonly unknown[] = Array.isArray(input) ? input : [input]
  const sum = items.reduce<number>((total, item) => {
    if (typeof item === 'number') return total + 1
    return total + (Array.isArray(item) ? item.length : tokensOf(item))
  }, 0)
  return { input: sum, output: 0 }
}

/** What is no text, however long, costs about as much as the picture, or sound, that it is. */
const noText = new Set(['encrypted_content', 'file_data', 'id', 'image_url', 'input_audio', 'result'])
const tokensPerAttachment = 1000

export function ofResponse(
  { instructions, tools, text, max_output_tokens }: ResponseRequest,
  items: readonly StoredItem[],
): ExpectedUsage {
  let attached = 0
  const said = JSON.stringify([instructions, items, tools, text], (name, value: unknown) => {
    if (!noText.has(name)) return value
    if (name !== 'id' && value != null) attached += 1
    return undefined
  })
  return {
    input: Math.ceil(Buffer.byteLength(said) / bytesPerToken) + attached * tokensPerAttachment,
    output: bound(max_output_tokens),
  }
}
