import type { Lease } from '../store/lease.ts'
import type { AgentLoop } from './agent-loop.ts'
import type { ConversationHistory } from './conversation-history.ts'

/** Which agent a request needs. */
export interface AgentRequest {
  /** `null` when nobody is authenticated. */
  userId: string | null
  /** The model that was asked for, whether one is registered under that name or not. */
  model: string
  /** The conversation that the request names, or the one that would begin with it. */
  conversationId: string
}

/** Resolves agents per request: by user, by tenant, from a database. */
export interface AgentLoaderPlugin {
  /**
   * Null falls back to the registered model. Whatever it throws is a 502, and taking too long a 503; a `GatewayError` of its own
   * (`model_not_allowed`, …) reaches the client as it is.
   */
  load(request: AgentRequest): Promise<AgentLoop | null> | AgentLoop | null
}

/** Which conversation, and whose. Both parts together are its name. */
export interface ConversationKey {
  /** `null` when nobody is authenticated. */
  userId: string | null
  conversationId: string
}

/** What goes with a save. */
export interface SaveContext {
  /** The turn's hold on the conversation: a store that can refuses the write when another turn has had it since. */
  lease?: Lease
}

/** Keeps conversations between turns. One turn at a time is the caller's care: `load` and `save` need not lock. */
export interface ConversationLoaderPlugin {
  /** Null when there is none yet. */
  load(key: ConversationKey): Promise<ConversationHistory | null> | ConversationHistory | null
  /** Resolves when another replica's `load` would find it. */
  save(key: ConversationKey, history: ConversationHistory, context?: SaveContext): Promise<unknown> | unknown
}
