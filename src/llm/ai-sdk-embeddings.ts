import type { EmbeddingModelV4Result } from '@ai-sdk/provider'
import { GatewayError } from '../server/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../types.ts'

/** @throws GatewayError `invalid_request` for tokens: they are those of OpenAI's models. */
export function valuesOf({ input }: EmbeddingRequest): string[] {
  const values = [input].flat()
  if (values.every((value) => typeof value === 'string')) return values
  throw new GatewayError('invalid_request', 'this provider takes texts, not tokens', { param: 'input' })
}

/** The vectors in OpenAI's form. A provider that counts no tokens is warned about: the format has no way to say so. */
export function toEmbeddingResponse(
  { embeddings, usage }: EmbeddingModelV4Result,
  { encoding_format }: EmbeddingRequest,
  model: string,
  onWarning: (warning: string) => void,
): EmbeddingResponse {
  if (!usage) onWarning('the provider does not tell how many tokens were embedded; usage says 0')
  const tokens = usage?.tokens ?? 0
  return {
    object: 'list',
    data: embeddings.map((vector, index) => ({
      object: 'embedding' as const,
      index,
      embedding: encoding_format === 'base64' ? (toBase64(vector) as unknown as number[]) : vector,
    })),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

/** Little-endian 32-bit floats, as the OpenAI SDKs ask for and decode. */
function toBase64(vector: number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, number] of vector.entries()) bytes.writeFloatLE(number, index * 4)
  return bytes.toString('base64')
}
