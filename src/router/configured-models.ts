import { isDeepStrictEqual } from 'node:util'
import { milliseconds } from '../config/duration.ts'
import type { ModelConfig } from '../config/model-schema.ts'
import type { ProviderConfig } from '../config/provider-schema.ts'
import type { Config } from '../config/schema.ts'
import { createLLM } from '../llm/create-llm.ts'
import { createDemo } from '../llm/demo.ts'
import { MemoryPersistence } from '../store/memory-persistence.ts'
import type { Persistence } from '../store/persistence.ts'
import { nameOf } from '../target.ts'
import type { BreakerChange, LLMClient, Target } from '../types.ts'
import { type AgentParts, agentOf, conversationOf, unknownParts } from './configured-agents.ts'
import { withCache } from './configured-cache.ts'
import { ModelRouter, type Route, type ServerEntry } from './model-router.ts'
import { pinned } from './pinned.ts'
import { type PlanOptions, plan } from './plan.ts'
import { inMilliseconds, type ModelRules, ResilientProvider } from './resilient-provider.ts'
import type { TargetSwitch } from './target-switch.ts'

/** The parts of the configuration that say which models there are. */
export type ModelsConfig = Pick<Config, 'providers' | 'models'> & Partial<Pick<Config, 'agents'>>

/** What agents of the configuration name, and what is known of models. */
export interface ModelParts extends AgentParts {
  /** Tokens; undefined when not known. */
  contextWindow?: ((target: Target) => number | undefined) | undefined
  /** Where models with a cache keep answers. Default: in memory. */
  cacheStore?: Persistence | undefined
  /** Where operators take targets out. Default: nobody does. */
  targetSwitch?: TargetSwitch | undefined
  /** Hears of each breaker that opens, closes, or lets a request try. */
  onBreaker?: ((change: BreakerChange) => void) | undefined
  /** Those of the configuration before: providers that are as they were go on, with their connections and breakers. */
  before?: ConfiguredModels | undefined
}

export interface ConfiguredModels {
  entries: ServerEntry[]
  /** What they ask, by name. */
  providers: ReadonlyMap<string, { client: ResilientProvider; config: ProviderConfig }>
  /** Whom they ask, each once. */
  targets: readonly Target[]
  /** Others take their place. Their breakers tell nothing any more. */
  retire(): void
  /** Lets running calls finish, then closes the connections to the providers. */
  close(): Promise<void>
}

/**
 * The models and agents of a configuration, each with the client that it is composed of. Without any provider: the demo model.
 *
 * @throws Error naming the provider and what it lacks, or the agents and what they name in vain
 */
export function configuredModels(config: ModelsConfig, parts: ModelParts = {}): ConfiguredModels {
  const unknown = [...unknownParts(config.agents ?? {}, parts)]
  if (unknown.length > 0) throw new Error(unknown.join('; '))
  const clients: Providers = new Map()
  const close = async (): Promise<void> => {
    await Promise.all([...clients.values()].map(({ client }) => client.close()))
  }
  try {
    for (const [name, provider] of Object.entries(config.providers)) {
      const before = parts.before?.providers.get(name)
      const asBefore = before && isDeepStrictEqual(before.config, provider)
      const client = asBefore
        ? before.client.shared()
        : new ResilientProvider(clientOf(name, provider), provider, parts.onBreaker)
      clients.set(name, { client, config: provider })
    }
    const targets = new Map<string, Target>()
    const entries = entriesOf(config, parts, clients, (target) => targets.set(nameOf(target), target))
    const retire = (): void => {
      for (const { client } of clients.values()) client.retire()
    }
    return { entries, providers: clients, targets: [...targets.values()], retire, close }
  } catch (error) {
    // Those that are shared are not held by what is not there.
    void close()
    throw error
  }
}

type Providers = Map<string, { client: ResilientProvider; config: ProviderConfig }>

/** @param asks Hears of each target that they ask. */
function entriesOf(
  { providers, models, agents = {} }: ModelsConfig,
  parts: ModelParts,
  clients: Providers,
  asks: (target: Target) => void,
): ServerEntry[] {
  const names = Object.keys(providers)
  const clientFor = (target: string, rules?: ModelRules): LLMClient => {
    const { provider, model } = targetNamed(target)
    const client = clients.get(provider)?.client
    if (!client) throw new Error(`provider of "${target}" is not configured`)
    const asked = client.target(model, rules)
    asks({ provider, model })
    return parts.targetSwitch?.guarded(asked, { provider, model }) ?? asked
  }
  const plans: NonNullable<Config['models']> =
    models ?? Object.fromEntries(names.map((name) => [`${name}/*`, { targets: [{ model: `${name}/*` }] }]))
  const entries: ServerEntry[] =
    names.length === 0
      ? [{ model: 'demo/echo', client: demoOf(parts, asks), capabilities: { demo: true } }]
      : Object.entries(plans).map(([model, { targets, limits, capabilities, ...rules }]) => {
          const client = plan({
            targets: targets.map(({ model: target, ...share }) => ({ client: clientFor(target, rules), ...share })),
            ...planOf(rules),
          })
          const asked = targets.map(({ model: target }) => targetNamed(target))
          const contextWindow = shortestWindow(asked, parts)
          return { model, client, contextWindow, targets: asked, limits, ...(capabilities ? { capabilities } : {}) }
        })
  const router = new ModelRouter()
  for (const entry of entries) router.register(entry)
  for (const [model, agent] of Object.entries(agents)) {
    const route = router.find(agent.model)
    const asked = route ? servedBy(route) : clientFor(agent.model)
    const client = agentOf(model, agent, asked, parts)
    const { limits, capabilities } = agent
    const contextWindow = route
      ? () => route.entry.contextWindow?.(route.model)
      : shortestWindow([targetNamed(agent.model)], parts)
    const targets = route ? targetsOf(route) : [targetNamed(agent.model)]
    entries.push({
      ...{
        model,
        client,
        contextWindow,
        targets,
        limits,
        asks: route && { model: route.entry.model, limits: route.entry.limits },
      },
      ...conversationOf(agent),
      ...(capabilities ? { capabilities } : {}),
    })
  }
  const { cacheStore = new MemoryPersistence() } = parts
  // Agents ask models themselves, without their caches: a step that was taken before would be taken again.
  return entries.map((entry) => {
    const plan = plans[entry.model]
    return plan ? { ...entry, client: withCache(entry.client, entry.model, plan, providers, cacheStore) } : entry
  })
}

function demoOf({ targetSwitch }: ModelParts, asks: (target: Target) => void): LLMClient {
  const demo = createDemo()
  const target = { provider: demo.provider, model: demo.model }
  asks(target)
  return targetSwitch?.guarded(demo, target) ?? demo
}

/** One client, and so one pool of connections, for all models of a provider. */
function clientOf(
  name: string,
  { timeouts = {}, retries: _retries, breaker: _breaker, ...provider }: ProviderConfig,
): LLMClient {
  return createLLM({ model: `${name}/*`, ...provider, timeouts: inMilliseconds(timeouts) })
}

const planOf = ({
  choose,
  sticky,
  fallback,
  deadline,
}: Omit<ModelConfig, 'targets'>): Omit<PlanOptions, 'targets'> => ({
  choose,
  sticky,
  fallbackOn: fallback?.on,
  deadlineMs: deadline === undefined ? undefined : milliseconds(deadline),
})

function targetNamed(target: string): Target {
  const slash = target.indexOf('/')
  return { provider: target.slice(0, Math.max(0, slash)), model: target.slice(slash + 1) }
}

/** Of a wildcard, the one model that is meant. */
const servedBy = ({ entry, client, model }: Route): LLMClient =>
  entry.model.endsWith('*') ? pinned(client, model) : client

/** Of a wildcard, at the one model that is meant. */
const targetsOf = ({ entry, model }: Route): readonly Target[] | undefined =>
  entry.targets?.map((target) => (target.model === '*' ? { ...target, model } : target))

/** Of several targets the shortest, if all are known. */
const shortestWindow =
  (targets: readonly Target[], { contextWindow }: ModelParts): NonNullable<ServerEntry['contextWindow']> =>
  (model) => {
    const windows = targets.map((target) => contextWindow?.(target.model === '*' ? { ...target, model } : target))
    return windows.every((tokens) => tokens !== undefined) ? Math.min(...windows) : undefined
  }
