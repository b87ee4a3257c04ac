import { GatewayError } from '../server/errors.ts'
import type { CallOptions, LLMClient } from '../types.ts'

export interface WeightedTarget {
  client: LLMClient
  /** Its share of the requests, relative to the other targets'. Default 1; 0 takes a target out. */
  weight?: number
}

/** A client that sends each request to one of its targets, drawn by weight. */
export function weighted(targets: readonly WeightedTarget[]): LLMClient {
  const [only] = targets
  if (!only) throw new Error('a model needs at least one target')
  if (targets.length === 1) return only.client
  const total = targets.reduce((sum, { weight = 1 }) => sum + weight, 0)
  if (!(total > 0)) throw new Error('a model needs at least one target with a weight above 0')

  const draw = (): LLMClient => {
    let point = Math.random() * total
    for (const { client, weight = 1 } of targets) {
      point -= weight
      if (point < 0) return client
    }
    return only.client
  }

  const chosen = (requested: string, call: CallOptions | undefined): LLMClient => {
    const client = draw()
    const { provider, model } = client
    call?.onTarget?.({ provider, model: model === '*' ? requested : model })
    return client
  }

  return {
    provider: oneOf(targets.map(({ client }) => client.provider)),
    model: oneOf(targets.map(({ client }) => client.model)),
    complete: (request, call) => chosen(request.model, call).complete(request, call),
    stream: (request, call) => chosen(request.model, call).stream(request, call),
    embed(request, call) {
      const client = chosen(request.model, call)
      if (client.embed) return client.embed(request, call)
      throw new GatewayError('unsupported', `model "${client.model}" does not make embeddings`, { param: 'model' })
    },
    async close() {
      await Promise.all(targets.map(({ client }) => client.close?.()))
    },
  }
}

/** The value that all share, or `mixed`. */
const oneOf = (values: readonly string[]): string => (new Set(values).size === 1 && values[0]) || 'mixed'
