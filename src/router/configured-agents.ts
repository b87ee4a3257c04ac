import { AgentLoop } from '../agent/agent-loop.ts'
import type { Guardrail } from '../agent/guardrail.ts'
import type { AgentTool } from '../agent/tool.ts'
import type { AgentConfig } from '../config/agent-schema.ts'
import type { Config } from '../config/schema.ts'
import type { LLMClient } from '../types.ts'
import type { ServerEntry } from './model-router.ts'

/** What agents of the configuration name. */
export interface AgentParts {
  tools?: readonly AgentTool[] | undefined
  guardrails?: readonly Guardrail[] | undefined
}

/** @throws Error when its file is still to be read */
export function agentOf(name: string, agent: AgentConfig, client: LLMClient, parts: AgentParts): AgentLoop {
  const { system, systemFile, allowExternalTools = true, maxSteps = 10 } = agent
  if (systemFile !== undefined) throw new Error(`agents.${name}.systemFile: not read; give its text as system`)
  return new AgentLoop({
    client,
    ...(system === undefined ? {} : { system }),
    tools: named(agent.tools, parts.tools),
    guardrails: named(agent.guardrails, parts.guardrails),
    allowExternalTools,
    maxSteps,
  })
}

export function conversationOf({ conversation = {} }: AgentConfig): Pick<ServerEntry, 'conversation'> {
  const { enabled = true, maxMessages, maxTokens } = conversation
  if (!enabled) return { conversation: false }
  if (maxTokens !== undefined) return { conversation: { maxTokens, maxMessages } }
  return maxMessages === undefined ? {} : { conversation: { maxMessages } }
}

/** What agents name that there is not, and what there is. */
export function* unknownParts(
  agents: Config['agents'],
  { tools = [], guardrails = [] }: AgentParts,
): Generator<string> {
  for (const [id, agent] of Object.entries(agents)) {
    for (const [field, parts] of Object.entries({ tools, guardrails })) {
      const known = parts.map(({ name }) => name)
      for (const name of agent[field as 'tools' | 'guardrails'] ?? []) {
        if (known.includes(name)) continue
        yield `agents.${id}.${field}: the extension has no "${name}"; it has: ${known.join(', ') || 'none'}`
      }
    }
  }
}

const named = <Part extends { name: string }>(names: readonly string[] = [], parts: readonly Part[] = []): Part[] =>
  names.flatMap((name) => parts.find((part) => part.name === name) ?? [])
