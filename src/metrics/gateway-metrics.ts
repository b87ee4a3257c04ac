import type { HookEvents } from '../hooks/events.ts'
import type { HookBus, HookListener, HookName } from '../hooks/hook-bus.ts'
import { Exposition, type Scrape } from './exposition.ts'
import { createGauges, createInstruments, type Exemplar, type Readings } from './instruments.ts'
import { codeOf, LabelValues, methodOf, other, statusClassOf } from './label-values.ts'
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
  readonly #users: TopUsers | undefined
  readonly #exposition: Exposition
  readonly #idsOf: GatewayMetricsOptions['idsOf']
  readonly #targets: LabelValues
  readonly #providers: LabelValues
  readonly #tools = new LabelValues(mostUnnamed)
  readonly #guardrails = new LabelValues(mostUnnamed)
  readonly #offs: (() => void)[] = []

  constructor(hooks: HookBus, options: GatewayMetricsOptions) {
    this.#hooks = hooks
    this.#idsOf = options.idsOf
    const targets = [...(options.targets ?? [])]
    this.#targets = new LabelValues(mostUnnamed, targets)
    this.#providers = new LabelValues(
      mostUnnamed,
      targets.map((target) => target.split('/', 1)[0] ?? target),
    )
    this.#users = options.topUsers === undefined ? undefined : new TopUsers(options.topUsers)
    const open = this.#open
    const readings = { ...options, inFlight: () => open.size, openStreams: () => open.streams }
    this.#exposition = new Exposition([
      ...Object.values(this.#instruments),
      ...createGauges(readings, options.version),
      ...(this.#users?.metrics ?? []),
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

  /** Listens no more. */
  close(): void {
    for (const off of this.#offs.splice(0)) off()
  }

  #listen(): void {
    const { authFailures, conversations, guardrailStops, listenerErrors, toolCalls, warnings } = this.#instruments
    const { overloadRefused, writeStalls } = this.#instruments
    const open = this.#open
    this.#on('onRequest', ({ requestId }) => open.begin(requestId))
    this.#on('onRoute', ({ requestId, route, isAgent }) => {
      const request = open.get(requestId)
      if (request) request.operation = operationOf(route, isAgent)
    })
    this.#on('onStream', ({ requestId }) => open.stream(requestId))
    this.#on('onAttempt', ({ requestId }) => open.get(requestId)?.ask())
    this.#on('onAttemptEnd', (attempt) => this.#attemptEnded(attempt))
    this.#on('onCompletion', (completion) => this.#completed(completion))
    this.#on('onResponse', (response) => this.#responded(response))
    this.#on('onAuthFail', () => authFailures.inc())
    // A rate needs a value before the first one.
    for (const reason of ['queue_full', 'queue_timeout']) overloadRefused.inc({ reason }, 0)
    this.#on('onOverload', ({ reason }) => overloadRefused.inc({ reason }))
    this.#on('onWriteStall', () => writeStalls.inc())
    this.#on('onTool', ({ tool, outcome }) => toolCalls.inc({ tool: this.#tools.of(tool), outcome }))
    this.#on('onGuardrail', ({ guardrail, stage }) =>
      guardrailStops.inc({ guardrail: this.#guardrails.of(guardrail), stage }),
    )
    this.#on('onConversation', ({ operation, outcome }) => conversations.inc({ operation, outcome }))
    this.#on('onStore', (operation) => this.#stored(operation))
    this.#on('onWarning', ({ model = other }) => warnings.inc({ model }))
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
    const name = this.#targets.of(`${target.provider}/${target.model}`, outcome === 'ok')
    attempts.inc({ provider, model, target: name, outcome, code })
    const labels = { gen_ai_operation_name: operation, gen_ai_provider_name: provider, gen_ai_request_model: model }
    const error_type = code || (outcome === 'ok' ? '' : outcome)
    operationDuration.observe({
      labels: { ...labels, error_type },
      value: durationMs / 1000,
      ...this.#exemplar(requestId),
    })
    if (firstTokenMs === undefined) return
    if (outcome === 'error') truncations.inc({ provider, model, code })
    const after = tokensOf(usage?.completion_tokens) - 1
    if (outcome === 'ok' && after > 0) timePerOutputToken.observe(labels, (durationMs - firstTokenMs) / 1000 / after)
  }

  #completed(completion: HookEvents['onCompletion']): void {
    const { requestId, userId, model, usage, costUsd, firstTokenMs } = completion
    const { completions, cost, costUnknown, timeToFirstToken, tokenUsage } = this.#instruments
    const operation = this.#open.get(requestId)?.operation
    const provider = this.#providers.of(completion.provider)
    completions.inc({ provider, model, usage: usage ? (usage.estimated ? 'estimated' : 'reported') : 'unknown' })
    if (costUsd === 'unknown') costUnknown.inc({ provider, model })
    else cost.inc({ provider, model }, costUsd)

    const target = { gen_ai_provider_name: provider, gen_ai_request_model: model }
    const input = tokensOf(usage?.prompt_tokens)
    const output = tokensOf(usage?.completion_tokens)
    // Whoever is asked, the tokens are those of chats with providers; only an embedding, never made in the background, is not.
    const gen_ai_operation_name = operation === 'embeddings' ? operation : 'chat'
    const labels = { gen_ai_operation_name, ...target }
    if (input > 0) tokenUsage.observe({ ...labels, gen_ai_token_type: 'input' }, input)
    if (output > 0) tokenUsage.observe({ ...labels, gen_ai_token_type: 'output' }, output)
    this.#users?.add(userId, input, output, costUsd === 'unknown' ? 0 : costUsd)

    // Nobody waits for the first token of what is made in the background.
    if (firstTokenMs === undefined || !operation) return
    timeToFirstToken.observe({
      labels: { gen_ai_operation_name: operation, ...target },
      value: firstTokenMs / 1000,
      ...this.#exemplar(requestId),
    })
  }

  #responded(response: HookEvents['onResponse']): void {
    const { requestId, route, outcome, errorCode, model = other, provider = other, durationMs } = response
    const { disconnects, errors, overhead, requestDuration, requests, streamEnds } = this.#instruments
    const request = this.#open.end(requestId)
    const hasFailed = outcome === 'error' || outcome === 'stream_error'
    const code = errorCode === undefined ? other : codeOf(errorCode)
    requests.inc({ route, method: methodOf(response.method), status: statusClassOf(response.status), outcome })
    if (hasFailed) errors.inc({ code })
    if (outcome === 'client_closed') disconnects.inc({ phase: request?.isStream ? 'streaming' : 'before_answer' })
    if (request?.isStream) streamEnds.inc({ route, reason: hasFailed ? code : outcome })

    const operation = request?.operation
    if (!request || !operation) return
    requestDuration.observe({
      labels: {
        gen_ai_operation_name: operation,
        gen_ai_provider_name: this.#providers.of(provider),
        gen_ai_request_model: model,
        error_type: hasFailed ? code : outcome === 'ok' ? '' : outcome,
      },
      value: durationMs / 1000,
      ...this.#exemplar(requestId),
    })
    const agent = String(operation === 'invoke_agent')
    overhead.observe({ route, agent }, Math.max(0, durationMs - request.waitedMs) / 1000)
  }

  #stored({ part, operation, outcome, durationMs }: HookEvents['onStore']): void {
    const { storeDuration, storeOperations } = this.#instruments
    storeOperations.inc({ part, operation, outcome })
    storeDuration.observe({ part, operation }, durationMs / 1000)
  }

  #exemplar(requestId: string): { exemplarLabels?: Partial<Exemplar> } {
    const ids = this.#idsOf?.(requestId)
    if (!ids || (ids.trace_flags ?? '01') !== '01') return {}
    return { exemplarLabels: { trace_id: ids.trace_id, span_id: ids.span_id } }
  }
}

function operationOf(route: string, isAgent: boolean): 'chat' | 'embeddings' | 'invoke_agent' {
  if (isAgent) return 'invoke_agent'
  return route === '/v1/embeddings' ? 'embeddings' : 'chat'
}

/** Providers are taken at their word, which may be none. */
const tokensOf = (count: unknown): number => (typeof count === 'number' && count > 0 && count < Infinity ? count : 0)
