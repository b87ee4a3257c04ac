import { AgentLoop } from '../agent/agent-loop.ts'
import { bounded, TimeoutError } from '../agent/bounded.ts'
import type { AgentRequest } from '../agent/loaders.ts'
import type { ServerEntry } from '../router/model-router.ts'
import type { ChatRequest, LLMClient } from '../types.ts'
import { assertMayUse } from './access.ts'
import type { ServerContext } from './context.ts'
import { agentConversation, conversationHeader, namedConversation, toHeader } from './conversation-id.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'

/** Who answers a request, and what it is asked. */
export interface Dispatch {
  client: LLMClient
  request: ChatRequest
}

/** Finds who answers: an agent of the loader's, or the registered model; as a turn of a conversation, if it is one. */
export async function dispatch(exchange: Exchange, context: ServerContext, body: ChatRequest): Promise<Dispatch> {
  const { agentLoader, router } = context
  const named = namedConversation(exchange.request.headers, body)
  const route = agentLoader ? router.find(body.model) : router.resolve(body.model)
  assertMayUse(exchange.principal, body.model)
  const userId = exchange.principal?.userId ?? null
  exchange.model = route?.entry.model ?? '_other'
  const conversationId = named ?? (agentLoader || route?.client instanceof AgentLoop ? agentConversation(body) : '')
  const loaded = agentLoader && (await loadAgent(context, { userId, model: body.model, conversationId }))
  const { client, entry, model } = loaded
    ? { client: loaded, entry: route?.entry, model: body.model }
    : (route ?? router.resolve(body.model))
  exchange.provider = client.provider
  exchange.askedTarget = { provider: client.provider, model: client.model === '*' ? model : client.model }
  const request = model === body.model ? body : { ...body, model }
  if (!named && !(client instanceof AgentLoop)) return { client, request }
  exchange.conversationId = conversationId
  const turn = conversing(client, entry, exchange, context, conversationId)
  const runsTools = client instanceof AgentLoop && client.runsTools
  return { client: runsTools ? context.hiddenSteps.restoring(turn, userId) : turn, request }
}

function conversing(
  client: LLMClient,
  entry: ServerEntry | undefined,
  exchange: Exchange,
  { conversations }: ServerContext,
  conversationId: string,
): LLMClient {
  const { conversation: limits } = entry ?? {}
  const ownsHistory = client instanceof AgentLoop && client.history !== undefined
  if (!ownsHistory && (!conversations || limits === false)) return client
  exchange.addHeader(conversationHeader, toHeader(conversationId))
  // An agent that was made with a history is its own keeper.
  if (ownsHistory || !conversations) return client
  const userId = exchange.principal?.userId ?? null
  return conversations.remembering(client, { userId, conversationId }, limits || undefined)
}

/** @throws GatewayError of the loader's own, else 502 for what it throws and 503 when it takes too long */
async function loadAgent(
  { agentLoader, loaderTimeoutMs }: ServerContext,
  request: AgentRequest,
): Promise<AgentLoop | undefined> {
  try {
    const agent = await bounded(loaderTimeoutMs, () => agentLoader?.load(request))
    if (!agent || agent instanceof AgentLoop) return agent ?? undefined
    throw new TypeError('the agent loader must return what createAgent makes, or null')
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause
    if (cause instanceof TimeoutError) {
      throw new GatewayError('agent_loader_timeout', 'the agent could not be loaded in time', { cause, retryAfter: 1 })
    }
    throw new GatewayError('agent_loader_failed', 'the agent could not be loaded', { cause })
  }
}
