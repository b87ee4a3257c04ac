import type { CreateAgentOptions } from '../agent/create-agent.ts'
import { type StoredConversationsOptions, storedConversations } from '../agent/stored-conversations.ts'
import { createEngine, type Engine } from '../engine/create-engine.ts'
import { OaiServer } from './oai-server.ts'
import type { OaiServerOptions } from './server-options.ts'

/** A named agent: its model, instructions, tools, guardrails, and what `GET /v1/models` shows of it. */
export type AgentSpec = CreateAgentOptions & { capabilities?: Readonly<Record<string, unknown>> }

export interface CreateServerOptions extends OaiServerOptions {
  /** Keys, prices, hooks and persistence. Default: a fresh engine, on the environment's keys and in memory. */
  engine?: Engine
  /**
   * Model ids to agents; registered after `entries`. With agents, conversations are kept in the engine's persistence, unless
   * `conversationLoader` keeps them elsewhere.
   */
  agents?: Readonly<Record<string, AgentSpec>>
  /** How those conversations are kept. */
  conversations?: StoredConversationsOptions
}

/**
 * The short way to an {@link OaiServer}: on an engine, with agents as models.
 *
 * @throws Error naming what an agent lacks (a key, a known provider), or an id that is taken
 */
export function createServer({
  engine = createEngine(),
  agents,
  conversations,
  ...options
}: CreateServerOptions = {}): OaiServer {
  const { persistence } = engine
  const conversationLoader = options.conversationLoader ?? (agents && storedConversations(persistence, conversations))
  const server = new OaiServer({
    hooks: engine.hooks,
    prices: engine.catalog,
    responseStorePersistence: persistence,
    hiddenStepsPersistence: persistence,
    ...options,
    ...(conversationLoader ? { conversationLoader } : {}),
  })
  for (const [model, { capabilities, ...agent }] of Object.entries(agents ?? {})) {
    server.register({
      model,
      client: engine.createAgent(agent as CreateAgentOptions),
      ...(capabilities && { capabilities }),
    })
  }
  return server
}
