import { GatewayError } from '../server/errors.ts'
import { targetOf } from '../target.ts'
import type { AgentTraits, CallOptions, LLMClient, ResponsesAPI } from '../types.ts'

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
    // Those that take requests; when none does, one of them says why.
    const taking = targets.filter(({ client, weight = 1 }) => weight > 0 && client.unavailableMs?.() === undefined)
    const drawn = taking.length > 0 ? taking : targets
    let point = Math.random() * (drawn === targets ? total : drawn.reduce((sum, { weight = 1 }) => sum + weight, 0))
    for (const { client, weight = 1 } of drawn) {
      point -= weight
      if (point < 0) return client
    }
    return (drawn[0] ?? only).client
  }

  // The steps of a run stay together: their provider has the prompt in its cache, and knows its own signatures again.
  const drawn = new WeakMap<object, LLMClient>()

  const chosen = (request: { model: string }, { run, onTarget }: CallOptions = {}): LLMClient => {
    const client = (run && drawn.get(run)) ?? draw()
    if (run) drawn.set(run, client)
    onTarget?.(targetOf(client, request))
    return client
  }

  return {
    provider: oneOf(targets.map(({ client }) => client.provider)),
    model: oneOf(targets.map(({ client }) => client.model)),
    agent: traitsOf(targets.flatMap(({ client }) => client.agent ?? [])),
    complete: (request, call) => chosen(request, call).complete(request, call),
    stream: (request, call) => chosen(request, call).stream(request, call),
    embed(request, call) {
      const client = chosen(request, call)
      if (client.embed) return client.embed(request, call)
      throw new GatewayError('unsupported', `model "${client.model}" does not make embeddings`, { param: 'model' })
    },
    // Whoever is drawn must be able to: a request for responses is either translated or not.
    responses: targets.every(({ client }) => client.responses) ? chosenResponses(chosen) : undefined,
    /** Of those that a request could be drawn for, the one that is back first. */
    unavailableMs() {
      const waits = targets.filter(({ weight = 1 }) => weight > 0).map(({ client }) => client.unavailableMs?.())
      const known = waits.filter((wait) => wait !== undefined)
      return known.length === waits.length ? Math.min(...known) : undefined
    },
    async close() {
      await Promise.all(targets.map(({ client }) => client.close?.()))
    },
  }
}

function chosenResponses(chosen: (request: { model: string }, call?: CallOptions) => LLMClient): ResponsesAPI {
  const apiOf = (request: { model: string }, call?: CallOptions): ResponsesAPI => {
    const { responses, model } = chosen(request, call)
    if (responses) return responses
    throw new GatewayError('unsupported', `model "${model}" has no responses of its own`, { param: 'model' })
  }
  return {
    create: (request, call) => apiOf(request, call).create(request, call),
    stream: (request, call) => apiOf(request, call).stream(request, call),
  }
}

/** Of several agents: what holds for all of them, whichever is drawn. */
function traitsOf(agents: readonly AgentTraits[]): AgentTraits | undefined {
  if (agents.length === 0) return undefined
  return {
    allowExternalTools: agents.every(({ allowExternalTools }) => allowExternalTools),
    toolNames: [...new Set(agents.flatMap(({ toolNames }) => toolNames))],
    keepsHistory: agents.some(({ keepsHistory }) => keepsHistory),
  }
}

/** The value that all share, or `mixed`. */
const oneOf = (values: readonly string[]): string => (new Set(values).size === 1 && values[0]) || 'mixed'
