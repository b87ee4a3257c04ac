import { createEngine, type Engine } from '../engine/create-engine.ts'
import type { CreateLLMOptions } from '../llm/create-llm.ts'
import { instructed } from '../router/instructed.ts'
import type { ServerEntry } from '../router/model-router.ts'
import { OaiServer, type OaiServerOptions } from './oai-server.ts'

/** A named model with instructions of its own. */
export interface AgentSpec extends CreateLLMOptions {
  /** System message before every request. */
  system?: string
}

export interface CreateServerOptions extends OaiServerOptions {
  /** Keys, hooks and persistence. Default: a fresh engine, on the environment's keys. */
  engine?: Engine
  /** Model ids to specs; registered after `entries`. */
  agents?: Readonly<Record<string, AgentSpec>>
}

/**
 * The short way to an {@link OaiServer}: on an engine, with agents as models.
 *
 * @throws Error naming what an agent lacks (a key, a known provider), or an id that is taken
 */
export function createServer({
  engine = createEngine(),
  agents = {},
  ...options
}: CreateServerOptions = {}): OaiServer {
  const persistence = options.responseStorePersistence ?? engine.persistence
  const server = new OaiServer({
    hooks: engine.hooks,
    ...options,
    ...(persistence ? { responseStorePersistence: persistence } : {}),
  })
  for (const [model, spec] of Object.entries(agents)) server.register(entryOf(model, spec, engine))
  return server
}

function entryOf(model: string, { system, ...llm }: AgentSpec, engine: Engine): ServerEntry {
  const client = engine.createLLM(llm)
  return { model, client: system ? instructed(client, system) : client }
}
