import type { AuthVerifyResult } from '../auth/auth-plugin.ts'
import type { CompletionUsage, Outcome } from '../hooks/events.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import { toJSONText } from '../source.ts'
import { nameOf } from '../target.ts'
import type { AttemptObserver, AttemptStart, CacheReport, CallOptions, Target } from '../types.ts'
import { Bill, type Prices } from './bill.ts'
import { errorAnswer, type GatewayError, toGatewayError } from './errors.ts'
import { eventResponse } from './event-response.ts'
import { pathOf } from './path-of.ts'
import { servedHeaders } from './served-headers.ts'
import type { EventStream } from './sse.ts'
import { toWarningHeader, warningHeader } from './warning-header.ts'

export interface ExchangeOptions {
  requestId: string
  /** Default: now. */
  startedAt?: number | undefined
  hooks: HookBus
  /** Headers on every answer. */
  headers: Readonly<Record<string, string>>
  /** Default: none, and every cost is unknown. */
  prices?: Prices | undefined
  onEnd?: (exchange: Exchange) => void
  /** Hears of what goes on after the answer. */
  keepFor?: ((work: Promise<unknown>) => void) | undefined
}

/** One request and its answer, from arrival to last byte: who, what, how long, how it ended. */
export class Exchange {
  readonly request: Request
  readonly requestId: string
  /** Of the request's arrival, as `performance.now()`. */
  readonly startedAt: number
  /** The address without query, with doubled and trailing slashes folded. */
  readonly path: string
  /** The template of the matched route. */
  route = '_other'
  /** What the parameters of the route matched, decoded. */
  parameters: readonly string[] = []
  principal: AuthVerifyResult | null = null
  model: string | undefined
  provider: string | undefined
  /** `provider/model` of the target that served, where the model's entry has several. */
  target: string | undefined
  /** Whom the model's entry asks, where it has only one target. */
  askedTarget: Target | undefined
  conversationId: string | undefined
  /** Of a response that goes on from others: the first of them. */
  threadId: string | undefined
  /** The head of the answer goes out before it is known who will have served. */
  isAhead = false
  stream = false
  /** A guardrail has ended the turn. */
  stopped = false
  usage: CompletionUsage | undefined
  firstTokenMs: number | undefined
  /** Among the open exchanges; theirs to set. */
  place = 0

  readonly #hooks: HookBus
  /** What each step of a run cost. */
  readonly bill: Bill
  #headers: Readonly<Record<string, string>>
  readonly #warnings: string[] = []
  #heard: Set<string> | undefined
  readonly #onEnd: ((exchange: Exchange) => void) | undefined
  readonly #keepFor: ExchangeOptions['keepFor']
  #controller: AbortController | undefined
  #costUsd: number | 'unknown' | undefined
  #attempts = 0
  #cache: CacheReport | undefined
  #isCacheTold = false
  #isRouted = false
  #ended = false
  #isOutlived = false
  #isEndTold = false
  #over: ((costUsd: number | 'unknown' | undefined) => void) | undefined

  constructor(request: Request, { requestId, startedAt, hooks, headers, prices, onEnd, keepFor }: ExchangeOptions) {
    this.request = request
    this.requestId = requestId
    this.startedAt = startedAt ?? performance.now()
    this.path = pathOf(request.url)
    this.#hooks = hooks
    this.#headers = headers
    this.bill = new Bill(prices)
    this.#onEnd = onEnd
    this.#keepFor = keepFor
  }

  /** Options for the upstream calls of this exchange. */
  get call(): CallOptions {
    return {
      signal: this.#abortable().signal,
      requestId: this.requestId,
      userId: this.userId,
      ...(this.conversationId === undefined ? {} : { conversationId: this.conversationId }),
      ...(this.threadId === undefined ? {} : { threadId: this.threadId }),
      onTarget: ({ provider, model }) => {
        this.provider = provider
        this.target = nameOf({ provider, model })
        this.askedTarget = { provider, model }
      },
      onFallback: ({ from, to, reason }) =>
        this.#hooks.emit('onFallback', { ...this.#subject(), from: nameOf(from), to: nameOf(to), reason }),
      onAsk: (request) => {
        this.bill.open = request
      },
      onWarning: (warning, cause) => this.warn(warning, cause),
      onUsage: (usage, target) => this.bill.add(usage, target),
      onAttempt: (start) => this.#observe(start),
      cacheControl: () => this.request.headers.get('cache-control'),
      onCache: (report) => {
        this.#cache = report
        this.addHeader(cacheHeader, report.outcome === 'hit' || report.outcome === 'shared' ? 'hit' : 'miss')
      },
      onRetry: (retry) => this.#hooks.emit('onRetry', { ...this.#subject(), ...retry }),
      onRetryBudgetSpent: (retry) => this.#hooks.emit('onRetryBudgetSpent', { ...this.#subject(), ...retry }),
      onStep: (step) => this.#hooks.emit('onStep', { ...this.#subject(), step }),
      onConversation: (report) => this.#hooks.emit('onConversation', { ...this.#subject(), ...report }),
      onTool: (report) => this.#hooks.emit('onTool', { ...this.#subject(), ...report }),
      onGuardrail: (report) => {
        this.stopped = true
        this.#hooks.emit('onGuardrail', { ...this.#subject(), ...report })
      },
    }
  }

  /** `null` for nobody. */
  get userId(): string | null {
    return this.principal?.userId ?? null
  }

  /** The first of the route's parameters. */
  get parameter(): string {
    return this.parameters[0] ?? ''
  }

  /** Of the address. */
  get query(): URLSearchParams {
    return new URL(this.request.url).searchParams
  }

  /** Tells the client, and the hooks, of something that was not done as it was asked. `cause` is for the hooks only. */
  warn(warning: string, cause?: unknown): void {
    // Each once: every step of a run has the same to say.
    this.#heard ??= new Set()
    if (this.#heard.has(warning)) return
    this.#heard.add(warning)
    this.#warnings.push(warning)
    const provider = this.provider === undefined ? {} : { provider: this.provider }
    this.#hooks.emit('onWarning', {
      ...this.#subject(),
      ...provider,
      warning,
      ...(cause === undefined ? {} : { error: cause }),
    })
  }

  /** A header of the answer, if that has not begun. */
  addHeader(name: string, value: string): void {
    this.#headers = { ...this.#headers, [name]: value }
  }

  /** Its answer was there already: nobody bills it. */
  get isCopy(): boolean {
    return this.#cache?.isBilled === false
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Stops the work on this request; a client that is still there is told the reason. */
  abort(reason: unknown): void {
    this.#abortable().abort(reason)
  }

  /** A whole answer. Ends the exchange. */
  json(status: number, body: object): Response {
    const text = toJSONText(body)
    this.end(status, 'ok')
    return this.#respond(status, text, { 'content-type': 'application/json', ...this.#served() })
  }

  /** An answer without a body. Ends the exchange. */
  empty(status: number, headers?: Readonly<Record<string, string>>): Response {
    this.end(status, 'ok')
    return this.#respond(status, null, headers)
  }

  /** A failure in OpenAI's envelope. Ends the exchange. */
  fail(error: unknown): Response {
    const failure = this.noteFailure(error)
    this.end(failure.status, failure.kind === 'client_closed' ? 'client_closed' : 'error', failure.code ?? failure.type)
    const { status, headers, text } = errorAnswer(failure)
    return this.#respond(status, text, { ...headers, ...this.#served(this.#attempts > 0) })
  }

  /** The head of an event stream. The exchange goes on until {@link end}. */
  eventStream(events: EventStream<unknown>): Response {
    this.#hooks.emit('onStream', { requestId: this.requestId, route: this.route })
    return eventResponse(events, {
      status: 200,
      headers: this.#answerHeaders({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        'x-accel-buffering': 'no',
        ...this.#served(),
      }),
    })
  }

  /** What the client has not been told yet, in quotes and commas, as far as a header goes; empty when there is nothing. */
  takeWarnings(): string {
    return toWarningHeader(this.#warnings.splice(0))
  }

  /** What clients are told of a failure; what they are not told goes to the hooks. */
  noteFailure(error: unknown): GatewayError {
    const failure = toGatewayError(error, this.requestId)
    if (failure.status >= 500) {
      this.#hooks.emit('onError', {
        requestId: this.requestId,
        error: failure.kind === 'internal_error' ? error : failure,
      })
    }
    return failure
  }

  /** Tells who answers. */
  routed(isAgent = false, isTurn = false): void {
    this.#isRouted = true
    const { requestId, route, model = '_other', provider = '_other', conversationId } = this
    const turn = isTurn && conversationId !== undefined ? { isTurn, conversationId } : { isTurn }
    this.#hooks.emit('onRoute', { requestId, route, model, provider, isAgent, ...turn })
  }

  /** Reports what the model delivered, and what it cost. */
  complete(): void {
    const { requestId, userId, model = '_other', provider = '_other', stream, usage, firstTokenMs } = this
    const cached = this.isCopy
    const costUsd = cached ? 0 : this.bill.total(usage, this.askedTarget)
    const keyId = this.principal?.keyId
    this.#costUsd = costUsd
    this.#tellCache()
    this.#hooks.emit('onCompletion', {
      requestId,
      userId,
      ...(keyId === undefined ? {} : { keyId }),
      model,
      provider,
      stream,
      usage,
      costUsd,
      ...(cached ? { cached } : {}),
      durationMs: this.elapsed(),
      ...(firstTokenMs === undefined ? {} : { firstTokenMs }),
    })
  }

  /** The request is over. Only the first call counts. */
  end(status: number, outcome: Outcome, errorCode?: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd?.(this)
    this.#tellCache()
    if (!this.#isOutlived) this.#settle()
    const { requestId, request, route, userId, model, provider, target, stream, usage } = this
    this.#hooks.emit('onResponse', {
      requestId,
      method: request.method,
      route,
      status,
      outcome,
      userId,
      stream,
      durationMs: this.elapsed(),
      ...(errorCode === undefined ? {} : { errorCode }),
      ...(model === undefined ? {} : { model }),
      ...(provider === undefined ? {} : { provider }),
      ...(target === undefined ? {} : { target }),
      ...(usage === undefined ? {} : { usage }),
      ...(this.#costUsd === undefined ? {} : { costUsd: this.#costUsd }),
      ...(this.#cache === undefined ? {} : { cache: this.#cache.outcome }),
    })
  }

  /** A stream that has begun is broken off by a failure. */
  endBroken({ kind, status, code, type }: GatewayError): void {
    const blamed = status < 500 ? 'stream_refused' : 'stream_error'
    this.end(200, kind === 'client_closed' ? 'client_closed' : blamed, code ?? type)
  }

  /** All that was asked for is made, or has failed: the end of a stream, or, where the answer was over before, of what went on. */
  made(failure?: GatewayError): void {
    if (this.#ended) this.#endedLater(failure)
    else if (failure) this.endBroken(failure)
    else this.end(200, 'ok')
  }

  #endedLater(failure: GatewayError | undefined): void {
    if (!this.#isOutlived || this.#isEndTold) return
    this.#isEndTold = true
    const { requestId, route, userId, model, provider, target, usage } = this
    const isClosed = failure?.kind === 'client_closed'
    this.#hooks.emit('onBackgroundEnd', {
      requestId,
      route,
      userId,
      outcome: isClosed ? 'cancelled' : failure ? 'error' : 'ok',
      durationMs: this.elapsed(),
      ...(failure && !isClosed ? { errorCode: failure.code ?? failure.type } : {}),
      ...(model === undefined ? {} : { model }),
      ...(provider === undefined ? {} : { provider }),
      ...(target === undefined ? {} : { target }),
      ...(usage === undefined ? {} : { usage }),
      ...(this.#costUsd === undefined ? {} : { costUsd: this.#costUsd }),
    })
  }

  /** What is to be done when the work on it is over, whoever still waits for it. Given what it cost; undefined when no model has answered. */
  onceOver(settle: (costUsd: number | 'unknown' | undefined) => void): void {
    this.#over = settle
    if (this.#ended && !this.#isOutlived) this.#settle()
  }

  /** The work on it goes on until then, also when its client has its answer, or has left. */
  outlivedBy(work: Promise<unknown>): void {
    this.#isOutlived = true
    this.#keepFor?.(work)
    const settle = (): void => this.#settle()
    work.then(settle, settle)
  }

  #settle(): void {
    const over = this.#over
    this.#over = undefined
    over?.(this.#costUsd)
  }

  /** Milliseconds since arrival. */
  elapsed(): number {
    return performance.now() - this.startedAt
  }

  #observe(start: AttemptStart): AttemptObserver | undefined {
    const hooks = this.#hooks
    const number = this.#attempts++
    if (!attemptEvents.some((name) => hooks.listens(name))) return undefined
    const attempt = { ...this.#subject(), attempt: number }
    const headers: Record<string, string> = {}
    let keepsAnswer = false
    const keepAnswer = (): void => {
      keepsAnswer = true
    }
    hooks.emit('onAttempt', { ...attempt, ...start, headers, keepAnswer })
    return {
      headers,
      keepsAnswer,
      onFirstToken: () => hooks.emit('onFirstToken', { ...attempt, target: start.target }),
      onEnd: (end) => hooks.emit('onAttemptEnd', { ...attempt, ...start, ...end }),
    }
  }

  #tellCache(): void {
    if (!this.#cache || this.#isCacheTold) return
    this.#isCacheTold = true
    this.#hooks.emit('onCache', { ...this.#subject(), outcome: this.#cache.outcome })
  }

  /** Of a model's answer: how often a provider was asked for it so far, and, unless nobody was, who has served. */
  #served(isTarget = true): Record<string, string> {
    if (!this.#isRouted || this.isAhead) return {}
    return servedHeaders(this.#attempts, isTarget ? this.#servedBy : undefined)
  }

  get #servedBy(): string | undefined {
    if (this.target !== undefined || !this.askedTarget) return this.target
    // Of several, nobody was asked.
    const { provider, model } = this.askedTarget
    return provider === 'mixed' || model === 'mixed' ? undefined : nameOf(this.askedTarget)
  }

  #subject(): { requestId: string; model?: string } {
    return { requestId: this.requestId, ...(this.model === undefined ? {} : { model: this.model }) }
  }

  /** Aborts when the client leaves, or by {@link abort}. Made when first needed: requests for models or health never do. */
  #abortable(): AbortController {
    if (this.#controller) return this.#controller
    const controller = new AbortController()
    const { signal } = this.request
    if (signal.aborted) controller.abort(signal.reason)
    else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
    this.#controller = controller
    return controller
  }

  #respond(status: number, body: string | null, headers?: Readonly<Record<string, string>>): Response {
    return new Response(body, { status, headers: this.#answerHeaders(headers) })
  }

  #answerHeaders(headers: Readonly<Record<string, string>> | undefined): Record<string, string> {
    return {
      ...this.#headers,
      ...headers,
      ...(this.#warnings.length > 0 ? { [warningHeader]: this.takeWarnings() } : {}),
      'x-request-id': this.requestId,
      'openai-processing-ms': String(Math.round(this.elapsed())),
    }
  }
}

const attemptEvents = ['onAttempt', 'onFirstToken', 'onAttemptEnd'] as const

/** Tells the client whether its answer was there already. */
const cacheHeader = 'x-signalbox-cache'
