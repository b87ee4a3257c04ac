import {
  type Attributes,
  type Context,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { HookEvents } from '../hooks/events.ts'
import type { StoreReport } from '../types.ts'
import {
  attemptAttributes,
  attemptEndAttributes,
  hasFailed,
  knownMethod,
  requestAttributes,
  responseAttributes,
} from './attributes.ts'
import { inputMessages, outputMessages } from './messages.ts'
import { providerName } from './provider-name.ts'

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

/** A span that others have for their parent. */
interface Scope {
  span: Span
  context: Context
}

/** Of one request. A store that is asked again and again, by a client that follows a response, is not shown each time. */
const mostStoreSpans = 100

/**
 * The spans of one request. Below the server's are the provider's attempts; an agent's are below its step, which is below the
 * agent. What is told when it is over becomes a span that lies in the past.
 */
export class RequestSpans {
  readonly requestId: string
  /** Whether anybody will see them: of a trace that is not sampled only the ids go on. */
  readonly isRecorded: boolean
  readonly #options: RequestSpansOptions
  /** All times of a request are taken from one clock, finer than the wall's: they can be compared. */
  readonly #epoch = Date.now() - performance.now()
  readonly #server: Scope
  readonly #attempts = new Map<number, Scope>()
  #agent: Scope | undefined
  #step: Scope | undefined
  /** When the last thing within the agent's step was over. */
  #busyUntil = 0
  #route: HookEvents['onRoute'] | undefined
  #storeSpans = 0
  #isOver = false

  /** @param parent What the request's own headers say of the trace that it belongs to. */
  constructor(request: HookEvents['onRequest'], parent: Context, options: RequestSpansOptions) {
    this.#options = options
    const name = knownMethod(request.method)
    const attributes = requestAttributes(request)
    this.#server = this.#open(name === '_OTHER' ? 'HTTP' : name, { kind: SpanKind.SERVER, attributes }, parent)
    this.requestId = request.requestId
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
    const attributes = attemptAttributes(event, this.#providerName(target.provider))
    Object.assign(attributes, this.#conversation())
    const parent = (this.#step ?? this.#openAgent() ?? this.#server).context
    const scope = this.#open(`${operation} ${target.model}`, { kind: SpanKind.CLIENT, attributes }, parent)
    this.#attempts.set(attempt, scope)
    if (this.#options.content) {
      keepAnswer()
      const said = inputMessages(request())
      if (said !== undefined) scope.span.setAttribute('gen_ai.input.messages', said)
    }
    return scope.context
  }

  onFirstToken({ attempt }: HookEvents['onFirstToken']): void {
    this.#attempts.get(attempt)?.span.addEvent('gen_ai.first_token', this.#now())
  }

  onAttemptEnd(event: HookEvents['onAttemptEnd']): void {
    const { attempt, outcome, answer } = event
    const span = this.#attempts.get(attempt)?.span
    if (!span) return
    this.#attempts.delete(attempt)
    span.setAttributes(attemptEndAttributes(event))
    const said = answer && outputMessages(answer())
    if (said !== undefined) span.setAttribute('gen_ai.output.messages', said)
    if (outcome === 'error') span.setStatus({ code: SpanStatusCode.ERROR })
    this.#busyUntil = this.#now()
    span.end(this.#busyUntil)
    if (this.#isOver && outcome !== 'ok') this.endRun()
  }

  onStep({ step }: HookEvents['onStep']): void {
    this.#endStep()
    const parent = (this.#openAgent() ?? this.#server).context
    this.#step = this.#open(`step ${step}`, { attributes: { 'signalbox.agent.step': step } }, parent)
  }

  onTool({ tool, outcome, durationMs }: HookEvents['onTool']): void {
    const attributes: Attributes = {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': tool,
      'gen_ai.tool.type': 'function',
    }
    this.#past(`execute_tool ${tool}`, attributes, outcome, durationMs, this.#step ?? this.#agent)
    this.#busyUntil = this.#now()
  }

  onGuardrail({ guardrail, stage, reason }: HookEvents['onGuardrail']): void {
    const told = this.#options.content ? { 'signalbox.guardrail.reason': reason } : {}
    const attributes = { 'signalbox.guardrail.name': guardrail, 'signalbox.guardrail.stage': stage, ...told }
    this.#server.span.addEvent('signalbox.guardrail.stop', attributes, this.#now())
  }

  onConversation({ operation, outcome, durationMs }: HookEvents['onConversation']): void {
    const attributes = { ...this.#conversation(), 'signalbox.conversation.operation': operation }
    this.#past(`conversation ${operation}`, attributes, outcome, durationMs)
  }

  onStore({ part, operation, outcome, durationMs }: StoreReport): void {
    // One for each piece of a stream that is kept: of these only the failure is worth a span.
    if (part === 'events' && outcome === 'ok') return
    if (this.#storeSpans++ >= mostStoreSpans) return
    const attributes = { 'signalbox.store.part': part, 'signalbox.store.operation': operation }
    this.#past(`store ${part} ${operation}`, attributes, outcome, durationMs)
  }

  onResponse(response: HookEvents['onResponse']): void {
    const { span } = this.#server
    this.#isOver = true
    // What goes on without its client, or learns only now that it has left, ends the run itself.
    if (this.#attempts.size === 0) this.endRun()
    if (response.route !== '_other') span.updateName(`${knownMethod(response.method)} ${response.route}`)
    span.setAttributes(responseAttributes(response))
    if (hasFailed(response)) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end(this.#now())
  }

  /** An agent's run is over, if there was one. */
  endRun(): void {
    this.#endStep()
    this.#agent?.span.end(this.#busyUntil || this.#now())
    this.#agent = undefined
  }

  /** It went on after its request: this is its end. */
  onLateEnd(): void {
    if (this.#isOver) this.endRun()
  }

  /** Nobody will tell the end any more. */
  abandon(): void {
    for (const { span } of this.#attempts.values()) span.end(this.#now())
    this.#attempts.clear()
    this.endRun()
    if (!this.#isOver) this.#server.span.end(this.#now())
    this.#isOver = true
  }

  /** Begun with the first thing that an agent does, so that the wait for its conversation is not a part of it. */
  #openAgent(): Scope | undefined {
    if (this.#agent || !this.#route?.isAgent) return this.#agent
    const { model, provider } = this.#route
    const attributes: Attributes = {
      'gen_ai.operation.name': 'invoke_agent',
      'gen_ai.provider.name': this.#providerName(provider),
      'gen_ai.agent.name': model,
      ...this.#conversation(),
    }
    this.#agent = this.#open(`invoke_agent ${model}`, { attributes }, this.#server.context)
    return this.#agent
  }

  #endStep(): void {
    this.#step?.span.end(this.#busyUntil || this.#now())
    this.#step = undefined
  }

  #conversation(): Attributes {
    const id = this.#route?.conversationId
    return id === undefined ? {} : { 'gen_ai.conversation.id': id }
  }

  #providerName(provider: string): string {
    return providerName(provider, this.#options.kinds)
  }

  /** Something that is over already. Any outcome but `ok` is its `error.type`. */
  #past(name: string, attributes: Attributes, outcome: string, durationMs: number, parent: Scope = this.#server): void {
    const end = this.#now()
    const { span } = this.#open(name, { attributes }, parent.context, end - durationMs)
    if (outcome === 'aborted') span.setAttribute('signalbox.outcome', outcome)
    else if (outcome !== 'ok') span.setAttribute('error.type', outcome).setStatus({ code: SpanStatusCode.ERROR })
    span.end(end)
  }

  #open(
    name: string,
    options: { kind?: SpanKind; attributes: Attributes },
    parent: Context,
    startTime = this.#now(),
  ): Scope {
    const span = this.#options.tracer.startSpan(name, { ...options, startTime }, parent)
    return { span, context: trace.setSpan(parent, span) }
  }

  /** In milliseconds since 1970. */
  #now(): number {
    return this.#epoch + performance.now()
  }
}
