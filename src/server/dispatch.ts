import { AgentLoop } from '../agent/agent-loop.ts'
import { bounded, TimeoutError } from '../agent/bounded.ts'
import type { AgentRequest, ConversationKey } from '../agent/loaders.ts'
import type { ServerEntry } from '../router/model-router.ts'
import { targetOf } from '../target.ts'
import type { ChatRequest, LLMClient } from '../types.ts'
import { assertMayUse } from './access.ts'
import type { ServerContext } from './context.ts'
import { agentConversation, assertNaming, conversationHeader, namedConversation, toHeader } from './conversation-id.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'

/** What of a request says who answers it. */
type Addressed = Pick<ChatRequest, 'model' | 'metadata' | 'user'>

/** Who answers a request, and what it is asked. */
export interface Dispatch<Request extends Addressed = ChatRequest> {
  client: LLMClient
  request: Request
}

/**
 * Finds who answers: an agent of the loader's, or the registered model; as a turn of a conversation, if it is one.
 *
 * @param thread What the request is a turn of already, and brings all earlier turns of: an agent then begins no conversation
 *   unless one is named.
 * @returns At once, where nobody has to be waited for.
 */
export function dispatch<Request extends Addressed>(
  exchange: Exchange,
  context: ServerContext,
  body: Request,
  thread?: string,
): Dispatch<Request> | Promise<Dispatch<Request>> {
  const { agentLoader, conversations, router } = context
  const registered = agentLoader ? router.find(body.model) : router.resolve(body.model)
  assertMayUse(exchange.principal, body.model)
  exchange.model = registered?.entry.model ?? '_other'
  const mayBeAgent = agentLoader !== undefined || registered?.client.agent !== undefined
  // Where no conversation can be, what else is called so is between the client and the provider.
  const named = mayBeAgent || conversations ? namedConversation(exchange.request, body) : undefined
  const conversationId = named ?? thread ?? (mayBeAgent ? agentConversation(body) : '')
  const naming: Naming = { named, thread, key: { userId: exchange.userId, conversationId } }
  if (!agentLoader) return addressed(exchange, context, body, registered ?? router.resolve(body.model), naming)
  return loadAgent(context, { ...naming.key, model: body.model }).then((agent) => {
    const route = agent ? { client: agent, model: body.model, entry: registered?.entry } : registered
    return addressed(exchange, context, body, route ?? router.resolve(body.model), naming)
  })
}

/** By what name a request is a turn of a conversation, if it is one. */
interface Naming {
  named: string | undefined
  thread: string | undefined
  key: ConversationKey
}

/** Who has been found, and under which entry, unless nobody registered it. */
interface Found {
  client: LLMClient
  model: string
  entry?: ServerEntry | undefined
}

function addressed<Request extends Addressed>(
  exchange: Exchange,
  context: ServerContext,
  body: Request,
  { client, model, entry }: Found,
  { named, thread, key }: Naming,
): Dispatch<Request> {
  exchange.provider = client.provider
  exchange.askedTarget = targetOf(client, { model })
  const request = model === body.model ? body : { ...body, model }
  if (named === undefined && !client.agent) {
    // Only for those who choose among targets: what is a thread here is no conversation to anybody else.
    exchange.threadId = thread
    exchange.routed()
    return { client, request }
  }
  if (named === undefined && thread === undefined) assertNaming(body)
  exchange.conversationId = key.conversationId
  const isThread = named === undefined && thread !== undefined
  const turn = isThread ? client : conversing(exchange, context, client, entry?.conversation, key)
  exchange.routed(client.agent !== undefined, turn !== client || client.agent?.keepsHistory === true)
  return { client: client.agent?.toolNames.length ? context.hiddenSteps.restoring(turn, key.userId) : turn, request }
}

function conversing(
  exchange: Exchange,
  { conversations }: ServerContext,
  client: LLMClient,
  limits: ServerEntry['conversation'],
  key: ConversationKey,
): LLMClient {
  const keepsHistory = client.agent?.keepsHistory ?? false
  if (!keepsHistory && (!conversations || limits === false)) return client
  exchange.addHeader(conversationHeader, toHeader(key.conversationId))
  return keepsHistory || !conversations ? client : conversations.remembering(client, key, limits || undefined)
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
