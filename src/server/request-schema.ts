import { Type } from 'typebox'
import { AnyObject, bodyOf, Model, Nullable } from '../body-schema.ts'
import { isObject } from '../json.ts'
import { assertMetadata } from '../responses/metadata-limits.ts'
import type { ChatRequest, EmbeddingRequest } from '../types.ts'
import { GatewayError } from './errors.ts'

/**
 * The types of the fields that every provider agrees on. Values, ranges and all other fields are the upstream's to judge:
 * a gateway that knew better would refuse what a newer model accepts.
 */
const ChatBody = Type.Object({
  model: Model,
  messages: Type.Array(
    Type.Object({
      role: Type.String({ minLength: 1 }),
      content: Nullable(Type.Union([Type.String(), Type.Array(AnyObject)])),
      tool_calls: Nullable(Type.Array(AnyObject)),
    }),
    { minItems: 1 },
  ),
  stream: Nullable(Type.Boolean()),
  stream_options: Nullable(AnyObject),
  tools: Nullable(Type.Array(AnyObject)),
  tool_choice: Nullable(Type.Union([Type.String(), AnyObject])),
  parallel_tool_calls: Nullable(Type.Boolean()),
  functions: Nullable(Type.Array(AnyObject)),
  response_format: Nullable(AnyObject),
  stop: Nullable(Type.Union([Type.String(), Type.Array(Type.String())])),
  temperature: Nullable(Type.Number()),
  top_p: Nullable(Type.Number()),
  frequency_penalty: Nullable(Type.Number()),
  presence_penalty: Nullable(Type.Number()),
  n: Nullable(Type.Integer()),
  max_tokens: Nullable(Type.Integer()),
  max_completion_tokens: Nullable(Type.Integer()),
  logprobs: Nullable(Type.Boolean()),
  top_logprobs: Nullable(Type.Integer()),
  logit_bias: Nullable(AnyObject),
  metadata: Nullable(AnyObject),
  store: Nullable(Type.Boolean()),
  user: Nullable(Type.String()),
})

const MetadataBody = Type.Object({ metadata: Type.Union([AnyObject, Type.Null()]) })

const EmbeddingBody = Type.Object({
  model: Model,
  input: Type.Union([
    Type.String(),
    Type.Array(Type.Union([Type.String(), Type.Integer(), Type.Array(Type.Integer())])),
  ]),
  encoding_format: Nullable(Type.String()),
  dimensions: Nullable(Type.Integer()),
  user: Nullable(Type.String()),
})

const objectFields = ['stream_options', 'response_format', 'logit_bias', 'metadata'] as const
const chatBody = bodyOf(ChatBody)
const metadataBody = bodyOf(MetadataBody)
const embeddingBody = bodyOf(EmbeddingBody)

/** @throws GatewayError `invalid_request` whose `param` names the field */
export function asChatRequest(value: unknown): ChatRequest {
  if (!chatBody.fits(value)) throw chatBody.refusal(value)
  // A number that is kept as text is an object to the schema.
  const fields = value as Record<string, unknown>
  const param = objectFields.find((name) => fields[name] && !isObject(fields[name]))
  if (param) {
    throw new GatewayError('invalid_request', `invalid value for '${param}': must be object or null`, { param })
  }
  const request = value as ChatRequest
  // Elsewhere it is for the upstream to judge.
  if (request.store) assertMetadata(request)
  return request
}

/** What is attached to something that is stored. @throws GatewayError `invalid_request` whose `param` names the field */
export function asMetadata(value: unknown): Record<string, string> {
  if (!metadataBody.fits(value)) throw metadataBody.refusal(value)
  const { metadata } = value as { metadata: Record<string, string> | null }
  assertMetadata({ metadata })
  return metadata ?? {}
}

/** @throws GatewayError `invalid_request` whose `param` names the field */
export function asEmbeddingRequest(value: unknown): EmbeddingRequest {
  if (embeddingBody.fits(value)) return value as EmbeddingRequest
  throw embeddingBody.refusal(value)
}
