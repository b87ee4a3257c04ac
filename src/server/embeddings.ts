import { targetOf } from '../target.ts'
import { assertMayUse } from './access.ts'
import { readJSON } from './body.ts'
import type { Endpoint } from './context.ts'
import { GatewayError } from './errors.ts'
import { ofEmbedding } from './expected-usage.ts'
import { asEmbeddingRequest } from './request-schema.ts'
import { reserve } from './reserve.ts'

/** `POST /v1/embeddings` */
export const createEmbeddings: Endpoint = async (exchange, context) => {
  const { router, limits } = context
  const request = asEmbeddingRequest(await readJSON(exchange, limits))
  const { entry, client, model } = router.resolve(request.model)
  assertMayUse(exchange.principal, request.model)
  exchange.model = entry.model
  exchange.provider = client.provider
  exchange.askedTarget = targetOf(client, { model })
  if (!client.embed) {
    throw new GatewayError('unsupported', `model "${request.model}" does not make embeddings`, { param: 'model' })
  }
  exchange.routed()
  const reserved = reserve(exchange, context, { client, model, expected: () => ofEmbedding(request) })
  if (reserved) await reserved
  const answer = await client.embed({ ...request, model }, exchange.call)
  if (answer.usage) exchange.usage = { ...answer.usage, completion_tokens: 0 }
  exchange.complete()
  return exchange.json(200, answer)
}
