import type { HookEvents } from '../hooks/events.ts'
import type { HookBus, HookListener, HookName } from '../hooks/hook-bus.ts'
import { providerName } from '../provider-name.ts'
import { nameOf } from '../target.ts'
import { ConfigMetrics } from './config-metrics.ts'
import { Exposition, type Scrape } from './exposition.ts'
import type { Exemplar } from './histogram.ts'
import { createGauges, createInstruments, type Readings } from './instruments.ts'
import { codeOf, LabelValues, methodOf, other, statusClassOf } from './label-values.ts'
import { LimitUses } from './limit-uses.ts'
import { OpenRequests } from './open-requests.ts'
import { runtimeMetrics } from './runtime-metrics.ts'
import { TopUsers } from './top-users.ts'

export interface GatewayMetricsOptions extends Omit<Readings, 'inFlight' | 'openStreams'> {
  /** Of the gateway. */
  version: string
  /** The trace that a request belongs to, for exemplars. */
  idsOf?: (requestId: string) => TraceIds | undefined
  /** `provider/model` of the targets that the configuration names. Others have a label once they have answered. */
  targets?: Iterable<string>
  /** The registered models, each with the providers that it asks: what they cost begins at 0, so that the first answer is seen to be one. */
  models?: Readonly<Record<string, readonly string[]>>
  /** What providers with names of their own are. Default: what they are called. */
  kinds?: Readonly<Record<string, string>>
  /** Of the configuration that the gateway starts with. Default: nothing is told of configurations. */
  revision?: string
  /** Tokens and cost by user, for this many of them. Default: none. */
  topUsers?: number
}

export interface TraceIds {
  trace_id: string
  span_id: string
  /** `01` when the trace is recorded, as it is when this is absent. */
  trace_flags?: string
}

/** Of what code or clients name, and no configuration: how many targets, providers, tools and guardrails have labels, of each. */
export const mostUnnamed = 100

/** The metrics of one gateway: what its bus tells, counted. */
export class GatewayMetrics {
  readonly #hooks: HookBus
  readonly #open = new OpenRequests()
  readonly #instruments = createInstruments()
  readonly #limitUses = new LimitUses()
  /** Targets of this and earlier configurations. */
  readonly #begun = new Set<string>()
  readonly #users: TopUsers | undefined
  readonly #config: ConfigMetrics | undefined
  readonly #exposition: Exposition
  readonly #idsOf: GatewayMetricsOptions['idsOf']
  readonly #targets: LabelValues
  readonly #providers: LabelValues
  readonly #kinds: Readonly<Record<string, string>>
  readonly #tools = new LabelValues(mostUnnamed)
  readonly #guardrails = new LabelValues(mostUnnamed)
  readonly #offs: (() => void)[] = []

  constructor(hooks: HookBus, options: GatewayMetricsOptions) {
    this.#hooks = hooks
    this.#idsOf = options.idsOf
    this.#kinds = options.kinds ?? {}
    const targets = [...(options.targets ?? [])]
    this.#targets = new LabelValues(mostUnnamed, targets)
    this.#providers = new LabelValues(mostUnnamed, targets.map(providerOf))
    this.#begin(targets, options.models)
    this.#users = options.topUsers === undefined ? undefined : new TopUsers(options.topUsers)
    this.#config = options.revision === undefined ? undefined : new ConfigMetrics(options.revision)
    const open = this.#open
    const readings = { ...options, inFlight: () => open.size, openStreams: () => open.streams }
    this.#exposition = new Exposition([
      ...Object.values(this.#instruments),
      ...createGauges(readings, options.version),
      ...(this.#users?.metrics ?? []),
      ...this.#limitUses.metrics,
      ...(this.#config?.metrics ?? []),
      ...runtimeMetrics(),
    ])
    this.#listen()
  }

  get names(): string[] {
    return this.#exposition.names
  }

  /** `accept`: the header of that name. */
  scrape(accept?: string): Promise<Scrape> {
    return this.#exposition.scrape(accept)
  }

  /** `provider/model` of targets that the configuration names now, too. */
  know(targets: readonly string[], models: GatewayMetricsOptions['models'] = {}): void {
    this.#targets.know(targets)
    this.#providers.know(targets.map(providerOf))
    this.#begin(targets, models)
  }

  /** At 0, so that the first of each is seen to be one. */
  #begin(targets: readonly string[], models: GatewayMetricsOptions['models'] = {}): void {
    const { breakerState, cost } = this.#instruments
    for (const [model, providers] of Object.entries(models)) {
      for (const provider of providers) cost.inc({ provider, model }, 0)
    }
    // An agent may ask a model of another name; a wildcard is no target. What is known has a state already.
    for (const target of targets) {
      if (!target.includes('/') || target.endsWith('*') || this.#begun.has(target)) continue
      this.#begun.add(target)
      breakerState.set({ target }, 0)
    }
  }

  /** Listens no more. */
  close(): void {
    for (const off of this.#offs.splice(0)) off()
  }

  #listen(): void {
    const { adminCalls, authFailures, backgroundEnds, cacheRequests, conversations, errors } = this.#instruments
    const { guardrailStops, listenerErrors, overloadRefused, rateLimited, retries, retriesDenied } = this.#instruments
    const { toolCalls, warnings, writeStalls } = this.#instruments
    const open = this.#open
    this.#on('onRequest', ({ requestId }) => open.begin(requestId))
    this.#on('onRoute', ({ requestId, route, isAgent }) => {
      const request = open.get(requestId)
      if (request) request.operation = operationOf(route, isAgent)
    })
    this.#on('onStream', ({ requestId }) => open.stream(requestId))
    this.#on('onAttempt', ({ requestId }) => open.get(requestId)?.ask())
    this.#on('onAttemptEnd', (attempt) => this.#attemptEnded(attempt))
    this.#on('onFallback', (fallback) => this.#fellBack(fallback))
    this.#on('onRetry', ({ target, model = other, reason }) =>
      retries.inc({ provider: this.#providers.of(target.provider), model, reason: codeOf(reason) }),
    )
    this.#on('onRetryBudgetSpent', ({ target, model = other }) =>
      retriesDenied.inc({ provider: this.#providers.of(target.provider), model }),
    )
    this.#on('onBreaker', (change) => this.#breakerChanged(change))
    this.#on('onCompletion', (completion) => this.#completed(completion))
    this.#on('onResponse', (response) => this.#responded(response))
    this.#on('onBackgroundEnd', ({ route, outcome, errorCode }) => {
      backgroundEnds.inc({ route, outcome })
      if (errorCode !== undefined) errors.inc({ code: codeOf(errorCode) })
    })
    this.#on('onAuthFail', () => authFailures.inc({}))
    this.#on('onCache', ({ model = other, outcome }) => cacheRequests.inc({ model, outcome }))
    // A rate needs a value before the first one.
    for (const reason of ['queue_full', 'queue_timeout']) overloadRefused.inc({ reason }, 0)
    this.#on('onOverload', ({ reason }) => overloadRefused.inc({ reason }))
    this.#on('onWriteStall', () => writeStalls.inc({}))
    this.#on('onTool', ({ tool, outcome }) => toolCalls.inc({ tool: this.#tools.of(tool), outcome }))
    this.#on('onGuardrail', ({ guardrail, stage }) =>
      guardrailStops.inc({ guardrail: this.#guardrails.of(guardrail), stage }),
    )
    this.#on('onConversation', ({ operation, outcome }) => conversations.inc({ operation, outcome }))
    this.#on('onStore', (operation) => this.#stored(operation))
    this.#on('onRateLimited', ({ limit, scope }) => rateLimited.inc({ limit, scope }))
    this.#on('onLimits', (uses) => this.#limitUses.note(uses))
    this.#on('onWarning', ({ model = other }) => warnings.inc({ model }))
    this.#on('onAdmin', ({ action, outcome }) => adminCalls.inc({ action, outcome }))
    this.#on('onConfigReload', (reload) => this.#config?.reloaded(reload))
    this.#on('onListenerError', ({ event }) => listenerErrors.inc({ event }))
  }

  #on<Name extends HookName>(name: Name, listener: HookListener<Name>): void {
    this.#offs.push(this.#hooks.on(name, listener))
  }

  #attemptEnded(attempt: HookEvents['onAttemptEnd']): void {
    const { requestId, model = other, target, operation, outcome, durationMs, firstTokenMs, usage } = attempt
    const { attempts, operationDuration, truncations, timePerOutputToken } = this.#instruments
    this.#open.get(requestId)?.answered()
    const provider = this.#providers.of(target.provider)
    const code = attempt.errorCode === undefined ? '' : codeOf(attempt.errorCode)
    const name = this.#targets.of(nameOf(target), outcome === 'ok')
    attempts.inc({ provider, model, target: name, outcome, code })
    const gen_ai_provider_name = this.#nameOf(target.provider)
    const labels = { gen_ai_operation_name: operation, gen_ai_provider_name, gen_ai_request_model: model }
    const error_type = code || (outcome === 'ok' ? '' : outcome)
    operationDuration.observe({ ...labels, error_type }, durationMs / 1000, this.#exemplar(requestId))
    if (firstTokenMs === undefined) return
    if (outcome === 'error') truncations.inc({ provider, model, code })
    const after = tokensOf(usage?.completion_tokens) - 1
    if (outcome === 'ok' && after > 0) timePerOutputToken.observe(labels, (durationMs - firstTokenMs) / 1000 / after)
  }

  #fellBack({ model = other, from, to, reason }: HookEvents['onFallback']): void {
    // A target of a wildcard has a label once it has answered.
    const named = { from: this.#targets.of(from, false), to: this.#targets.of(to, false) }
    this.#instruments.fallbacks.inc({ model, ...named, reason })
  }

  #breakerChanged({ target, state }: HookEvents['onBreaker']): void {
    const { breakerState, breakerTransitions } = this.#instruments
    const name = this.#targets.of(nameOf(target), false)
    breakerTransitions.inc({ target: name, state })
    // Of several that share a label none has a state of its own.
    if (name !== other) breakerState.set({ target: name }, breakerStates[state])
  }

  #completed(completion: HookEvents['onCompletion']): void {
    const { requestId, userId, model, usage, costUsd, cached = false, firstTokenMs } = completion
    const { completions, cost, costUnknown, timeToFirstToken, tokenUsage } = this.#instruments
    const operation = this.#open.get(requestId)?.operation
    const provider = this.#providers.of(completion.provider)
    const told = usage ? (usage.estimated ? 'estimated' : 'reported') : 'unknown'
    completions.inc({ provider, model, usage: cached ? 'cached' : told })
    if (costUsd === 'unknown') costUnknown.inc({ provider, model })
    else cost.inc({ provider, model }, costUsd)

    const target = { gen_ai_provider_name: this.#nameOf(completion.provider), gen_ai_request_model: model }
    // The tokens of a copy were counted with the answer itself.
    const input = cached ? 0 : tokensOf(usage?.prompt_tokens)
    const output = cached ? 0 : tokensOf(usage?.completion_tokens)
    // Whoever is asked, the tokens are those of chats with providers; only an embedding, never made in the background, is not.
    const gen_ai_operation_name = operation === 'embeddings' ? operation : 'chat'
    const labels = { gen_ai_operation_name, ...target }
    if (input > 0) tokenUsage.observe({ ...labels, gen_ai_token_type: 'input' }, input)
    if (output > 0) tokenUsage.observe({ ...labels, gen_ai_token_type: 'output' }, output)
    this.#users?.add(userId, input, output, costUsd === 'unknown' ? 0 : costUsd)

    // Nobody waits for the first token of what is made in the background.
    if (firstTokenMs === undefined || !operation) return
    const began = { gen_ai_operation_name: operation, ...target }
    timeToFirstToken.observe(began, firstTokenMs / 1000, this.#exemplar(requestId))
  }

  #responded(response: HookEvents['onResponse']): void {
    const {
      requestId,
      route,
      outcome,
      errorCode,
      model = other,
      provider = other,
      durationMs,
      receivedMs = 0,
    } = response
    const { disconnects, errors, overhead, requestDuration, requests, streamEnds } = this.#instruments
    const request = this.#open.end(requestId)
    const hasFailed = outcome !== 'ok' && outcome !== 'client_closed'
    const code = errorCode === undefined ? other : codeOf(errorCode)
    requests.inc({ route, method: methodOf(response.method), status: statusClassOf(response.status), outcome })
    if (hasFailed) errors.inc({ code })
    if (outcome === 'client_closed') disconnects.inc({ phase: request?.isStream ? 'streaming' : 'before_answer' })
    if (request?.isStream) streamEnds.inc({ route, reason: hasFailed ? code : outcome })

    const operation = request?.operation
    if (!request || !operation) return
    const labels = {
      gen_ai_operation_name: operation,
      gen_ai_provider_name: this.#nameOf(provider),
      gen_ai_request_model: model,
      error_type: hasFailed ? code : outcome === 'ok' ? '' : outcome,
    }
    requestDuration.observe(labels, durationMs / 1000, this.#exemplar(requestId))
    const agent = String(operation === 'invoke_agent')
    // Who shares an answer has waited for the provider that another was asking.
    if (response.cache !== 'shared')
      overhead.observe({ route, agent }, Math.max(0, durationMs - receivedMs - request.waitedMs) / 1000)
  }

  #stored({ part, operation, outcome, durationMs }: HookEvents['onStore']): void {
    const { storeDuration, storeOperations } = this.#instruments
    storeOperations.inc({ part, operation, outcome })
    storeDuration.observe({ part, operation }, durationMs / 1000)
  }

  /** As the GenAI conventions call it: spans and metrics of a provider are found by one name. */
  #nameOf(provider: string): string {
    const known = this.#providers.of(provider)
    return known === other ? other : providerName(known, this.#kinds)
  }

  #exemplar(requestId: string): Exemplar | undefined {
    const ids = this.#idsOf?.(requestId)
    if (!ids || (ids.trace_flags ?? '01') !== '01') return undefined
    return { trace_id: ids.trace_id, span_id: ids.span_id }
  }
}

const breakerStates = { closed: 0, half_open: 1, open: 2 } as const
const providerOf = (target: string): string => target.split('/', 1)[0] ?? target

function operationOf(route: string, isAgent: boolean): 'chat' | 'embeddings' | 'invoke_agent' {
  if (isAgent) return 'invoke_agent'
  return route === '/v1/embeddings' ? 'embeddings' : 'chat'
}

/** Providers are taken at their word, which may be none. */
const tokensOf = (count: unknown): number => (typeof count === 'number' && count > 0 && count < Infinity ? count : 0)
