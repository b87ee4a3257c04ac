import { type Attributes, type Context, SpanKind, SpanStatusCode, TraceFlags, type Tracer } from '@opentelemetry/api'
import type { HookEvents } from '../hooks/events.ts'
import { providerName } from '../provider-name.ts'
import { nameOf } from '../target.ts'
import type { StoreReport } from '../types.ts'
import { AgentRunSpans } from './agent-run-spans.ts'
import * as attributes from './attributes.ts'
import { inputMessages, outputMessages } from './messages.ts'
import { type Scope, SpanMaker } from './span-maker.ts'

export interface RequestSpansOptions {
  tracer: Tracer
  /** Write down what was said. */
  content: boolean
  /** What providers with names of their own are. */
  kinds: Readonly<Record<string, string>>
}

/** Where a request is to be found among the traces, as OpenTelemetry writes it into a log line. */
export interface TraceIds {
  trace_id: string
  span_id: string
  /** `01` for a trace that is sampled. */
  trace_flags: string
}

/** Of one request. A client that follows a response asks the store again and again. */
const mostStoreSpans = 100

/** The spans of one request: the server's, and below it the provider's attempts; an agent's are below its run. */
export class RequestSpans {
  readonly requestId: string
  /** Whether anybody will see them: of a trace that is not sampled only the ids go on. */
  readonly isRecorded: boolean
  readonly #options: RequestSpansOptions
  readonly #maker: SpanMaker
  readonly #server: Scope
  readonly #attempts = new Map<number, Scope>()
  #run: AgentRunSpans | undefined
  #route: HookEvents['onRoute'] | undefined
  #storeSpans = 0
  #isOver = false

  /** @param parent What the request's own headers say of the trace that it belongs to. */
  constructor(request: HookEvents['onRequest'], parent: Context, options: RequestSpansOptions) {
    this.requestId = request.requestId
    this.#options = options
    this.#maker = new SpanMaker(options.tracer)
    const name = attributes.nameOf(request.method)
    const startTime = request.startedAt === undefined ? undefined : this.#maker.at(request.startedAt)
    this.#server = this.#maker.open(name, parent, attributes.ofRequest(request), SpanKind.SERVER, startTime)
    this.isRecorded = this.#server.span.isRecording()
  }

  /** Of the server's span. */
  get context(): Context {
    return this.#server.context
  }

  get ids(): TraceIds {
    const { traceId, spanId, traceFlags } = this.#server.span.spanContext()
    return { trace_id: traceId, span_id: spanId, trace_flags: traceFlags & TraceFlags.SAMPLED ? '01' : '00' }
  }

  /** Nothing more is expected. */
  get isDone(): boolean {
    return this.#isOver && this.#attempts.size === 0
  }

  onRoute(route: HookEvents['onRoute']): void {
    this.#route = route
  }

  /** Returns the context to hand on to the provider. */
  onAttempt(event: HookEvents['onAttempt']): Context {
    const { operation, target, attempt, request, keepAnswer } = event
    const told = attributes.ofAttempt(event, providerName(target.provider, this.#options.kinds))
    Object.assign(told, this.#conversation)
    if (this.#options.content) {
      keepAnswer()
      const said = inputMessages(request())
      if (said !== undefined) told['gen_ai.input.messages'] = said
    }
    // Begun with the first thing that the agent does: the wait for its conversation is no part of its run.
    const parent = this.#route?.isAgent ? this.#openRun().context : this.context
    const scope = this.#maker.open(`${operation} ${target.model}`, parent, told, SpanKind.CLIENT)
    this.#attempts.set(attempt, scope)
    return scope.context
  }

  onFirstToken({ attempt }: HookEvents['onFirstToken']): void {
    this.#attempts.get(attempt)?.span.addEvent('signalbox.first_token', this.#maker.now())
  }

  onAttemptEnd(event: HookEvents['onAttemptEnd']): void {
    const { attempt, outcome, errorCode, answer } = event
    const span = this.#attempts.get(attempt)?.span
    if (!span) return
    this.#attempts.delete(attempt)
    span.setAttributes(attributes.ofAttemptEnd(event))
    const said = answer && outputMessages(answer())
    if (said !== undefined) span.setAttribute('gen_ai.output.messages', said)
    if (outcome === 'error') span.setStatus({ code: SpanStatusCode.ERROR })
    span.end(this.#maker.now())
    this.#run?.touch()
    if (outcome !== 'ok') this.onLateEnd(outcome === 'error' ? errorCode : undefined)
  }

  onFallback({ from, to, reason }: HookEvents['onFallback']): void {
    const told = { 'signalbox.fallback.from': from, 'signalbox.fallback.to': to, 'signalbox.fallback.reason': reason }
    this.#server.span.addEvent('signalbox.fallback', told, this.#maker.now())
  }

  onRetry({ target, attempt, reason, delayMs }: HookEvents['onRetry']): void {
    const told = {
      'signalbox.target': nameOf(target),
      'signalbox.retry.attempt': attempt,
      'signalbox.retry.delay': delayMs / 1000,
      'error.type': reason,
    }
    this.#server.span.addEvent('signalbox.retry', told, this.#maker.now())
  }

  onStep({ step }: HookEvents['onStep']): void {
    this.#openRun().begin(step)
  }

  onTool({ tool, ...report }: HookEvents['onTool']): void {
    const told = { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': tool, 'gen_ai.tool.type': 'function' }
    this.#maker.past(`execute_tool ${tool}`, this.#run?.context ?? this.context, told, report)
    this.#run?.touch()
  }

  onGuardrail({ guardrail, stage, reason }: HookEvents['onGuardrail']): void {
    const told = {
      'signalbox.guardrail.name': guardrail,
      'signalbox.guardrail.stage': stage,
      ...(this.#options.content ? { 'signalbox.guardrail.reason': reason } : {}),
    }
    this.#server.span.addEvent('signalbox.guardrail.stop', told, this.#maker.now())
  }

  onRateLimited({ limit, scope }: HookEvents['onRateLimited']): void {
    const told = { 'signalbox.limit': limit, 'signalbox.limit.scope': scope }
    this.#server.span.addEvent('signalbox.rate_limited', told, this.#maker.now())
  }

  onConversation({ operation, ...report }: HookEvents['onConversation']): void {
    const told = { ...this.#conversation, 'signalbox.conversation.operation': operation }
    this.#maker.past(`conversation ${operation}`, this.context, told, report)
  }

  onStore({ part, operation, ...report }: StoreReport): void {
    // One for each piece of a stream that is kept: of these only the failure is worth a span.
    if (operation === 'append' && report.outcome === 'ok') return
    if (this.#storeSpans++ >= mostStoreSpans) return
    const told = { 'signalbox.store.part': part, 'signalbox.store.operation': operation }
    this.#maker.past(`store ${part} ${operation}`, this.context, told, report)
  }

  onResponse(response: HookEvents['onResponse']): void {
    const { span } = this.#server
    this.#isOver = true
    // What goes on without its client, or learns only now that it has left, ends the run itself.
    if (this.#attempts.size === 0) this.#endRun(attributes.errorOf(response))
    span.updateName(attributes.nameOf(response.method, response.route))
    span.setAttributes(attributes.ofResponse(response))
    if (attributes.hasFailed(response)) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end(this.#maker.now())
  }

  /** What went on after its request is over. */
  onLateEnd(errorType?: string): void {
    if (this.#isOver) this.#endRun(errorType)
  }

  /** Nobody will tell the end any more. */
  abandon(): void {
    for (const { span } of this.#attempts.values()) span.end(this.#maker.now())
    this.#attempts.clear()
    this.#endRun()
    if (!this.#isOver) this.#server.span.end(this.#maker.now())
    this.#isOver = true
  }

  #openRun(): AgentRunSpans {
    const { model = '_other', provider = '_other' } = this.#route ?? {}
    const told = { 'gen_ai.provider.name': providerName(provider, this.#options.kinds), ...this.#conversation }
    this.#run ??= new AgentRunSpans(this.#maker, this.context, model, told)
    return this.#run
  }

  #endRun(errorType?: string): void {
    this.#run?.end(errorType)
    this.#run = undefined
  }

  get #conversation(): Attributes {
    const id = this.#route?.conversationId
    return id === undefined ? {} : { 'gen_ai.conversation.id': id }
  }
}
