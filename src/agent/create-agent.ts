import { type CreateLLMOptions, createLLM } from '../llm/create-llm.ts'
import type { LLMClient } from '../types.ts'
import { AgentLoop, type AgentLoopOptions } from './agent-loop.ts'

/** An agent's model, as {@link createLLM} takes it or as a client that is there already, and what makes it an agent. */
export type CreateAgentOptions = Omit<AgentLoopOptions, 'client'> & (CreateLLMOptions | { client: LLMClient })

/**
 * An agent: a model with instructions, tools and guardrails.
 *
 * @throws Error naming what is missing or wrong: a key, a known provider, a tool's name
 */
export function createAgent(options: CreateAgentOptions): AgentLoop {
  return new AgentLoop(
    'client' in options && options.client ? options : { ...options, client: createLLM(options as CreateLLMOptions) },
  )
}
