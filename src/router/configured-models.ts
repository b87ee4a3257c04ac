import { AgentLoop } from '../agent/agent-loop.ts'
import type { Guardrail } from '../agent/guardrail.ts'
import type { AgentTool } from '../agent/tool.ts'
import type { AgentConfig, Config, ProviderConfig } from '../config/schema.ts'
import { milliseconds } from '../config/schema.ts'
import { createLLM } from '../llm/create-llm.ts'
import { createDemo } from '../llm/demo.ts'
import type { LLMClient, Target } from '../types.ts'
import { ModelRouter, type Route, type ServerEntry } from './model-router.ts'
import { pinned } from './pinned.ts'
import { weighted } from './weighted.ts'

/** The parts of the configuration that say which models there are. */
export type ModelsConfig = Pick<Config, 'providers' | 'models'> & Partial<Pick<Config, 'agents'>>

/** What agents of the configuration name, and what is known of models. */
export interface ModelParts {
  tools?: readonly AgentTool[] | undefined
  guardrails?: readonly Guardrail[] | undefined
  /** Tokens; undefined when not known. */
  contextWindow?: ((target: Target) => number | undefined) | undefined
}

export interface ConfiguredModels {
  entries: ServerEntry[]
  /** Lets running calls finish, then closes the connections to the providers. */
  close(): Promise<void>
}

/**
 * The models and agents of a configuration, each with the client that it is composed of. Without any provider: the demo model.
 *
 * @throws Error naming the provider and what it lacks, or the agent and what it names in vain
 */
export function configuredModels(
  { providers, models, agents = {} }: ModelsConfig,
  parts: ModelParts = {},
): ConfiguredModels {
  const names = Object.keys(providers)
  const clients = new Map(Object.entries(providers).map(([name, provider]) => [name, clientOf(name, provider)]))
  const clientFor = (target: string): LLMClient => {
    const slash = target.indexOf('/')
    const client = clients.get(target.slice(0, slash))
    if (!client) throw new Error(`provider of "${target}" is not configured`)
    const model = target.slice(slash + 1)
    return model === '*' ? client : pinned(client, model)
  }
  const plans: NonNullable<Config['models']> =
    models ?? Object.fromEntries(names.map((name) => [`${name}/*`, { targets: [{ model: `${name}/*` }] }]))
  const entries: ServerEntry[] =
    names.length === 0
      ? [{ model: 'demo/echo', client: createDemo(), capabilities: { demo: true } }]
      : Object.entries(plans).map(([model, { targets, capabilities }]) => {
          const client = weighted(
            targets.map(({ model: target, weight = 1 }) => ({ client: clientFor(target), weight })),
          )
          return { model, client, ...shown(client, parts, capabilities) }
        })
  const router = new ModelRouter()
  for (const entry of entries) router.register(entry)
  for (const [model, agent] of Object.entries(agents)) {
    const route = router.find(agent.model)
    const asked = route ? servedBy(route) : clientFor(agent.model)
    const client = agentOf(model, agent, asked, parts)
    entries.push({ model, client, ...conversationOf(agent), ...shown(client, parts, agent.capabilities) })
  }
  return {
    entries,
    async close() {
      await Promise.all([...clients.values()].map((client) => client.close?.()))
    },
  }
}

/** One client, and so one pool of connections, for all models of a provider. */
function clientOf(name: string, { timeouts, ...provider }: ProviderConfig): LLMClient {
  const inMilliseconds = Object.entries(timeouts ?? {}).map(([phase, duration]) => [phase, milliseconds(duration)])
  return createLLM({ model: `${name}/*`, ...provider, timeouts: Object.fromEntries(inMilliseconds) })
}

/** Of a wildcard, the one model that is meant. */
const servedBy = ({ entry, client, model }: Route): LLMClient =>
  entry.model.endsWith('*') ? pinned(client, model) : client

function agentOf(name: string, agent: AgentConfig, client: LLMClient, parts: ModelParts): AgentLoop {
  const { system, allowExternalTools = true, maxSteps = 10 } = agent
  return new AgentLoop({
    client,
    ...(system === undefined ? {} : { system }),
    tools: named(agent.tools, parts.tools, `agents.${name}.tools`),
    guardrails: named(agent.guardrails, parts.guardrails, `agents.${name}.guardrails`),
    allowExternalTools,
    maxSteps,
  })
}

function conversationOf({ conversation = {} }: AgentConfig): Pick<ServerEntry, 'conversation'> {
  const { enabled = true, maxMessages, maxTokens } = conversation
  if (!enabled) return { conversation: false }
  if (maxTokens !== undefined) return { conversation: { maxTokens, maxMessages } }
  return maxMessages === undefined ? {} : { conversation: { maxMessages } }
}

/** @throws Error when the extension has none of that name */
function named<Part extends { name: string }>(
  names: readonly string[] = [],
  parts: readonly Part[] = [],
  path: string,
): Part[] {
  return names.map((name) => {
    const part = parts.find((each) => each.name === name)
    if (part) return part
    const known = parts.map((each) => each.name).join(', ') || 'none'
    throw new Error(`${path}: the extension has no "${name}"; it has: ${known}`)
  })
}

function shown(
  { provider, model }: LLMClient,
  { contextWindow }: ModelParts,
  given: ServerEntry['capabilities'],
): Pick<ServerEntry, 'capabilities'> {
  const tokens = contextWindow?.({ provider, model })
  const capabilities = { ...(tokens === undefined ? {} : { context_window: tokens }), ...given }
  return Object.keys(capabilities).length > 0 ? { capabilities } : {}
}
