import type { Outcome } from '../hooks/events.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import { toJSONText } from '../source.ts'
import type { CacheReport, CallOptions } from '../types.ts'
import { Answer } from './answer.ts'
import { Bill, type Prices } from './bill.ts'
import { errorAnswer, type GatewayError, toGatewayError } from './errors.ts'
import { callOf } from './exchange-call.ts'
import { backgroundEndOf, completionOf, responseOf, routeOf, subjectOf } from './exchange-events.ts'
import { ExchangeFacts } from './exchange-facts.ts'
import type { IncomingRequest } from './incoming-request.ts'
import { servedBy, servedHeaders } from './served-headers.ts'
import type { EventStream } from './sse.ts'
import { Warnings, warningHeader } from './warnings.ts'

export interface ExchangeOptions {
  requestId: string
  /** Default: now. */
  startedAt?: number | undefined
  hooks: HookBus
  /** Those that its answer will have in any case. They become its own, to add to. */
  headers: Record<string, string>
  /** Default: none, and every cost is unknown. */
  prices?: Prices | undefined
  onEnd?: (exchange: Exchange) => void
  /** Hears of what goes on after the answer. */
  keepFor?: ((work: Promise<unknown>) => void) | undefined
}

/** One request and its answer, from arrival to last byte: it gives the answer, and tells the hooks of it. */
export class Exchange extends ExchangeFacts {
  /** Among the open exchanges; theirs to set. */
  place = 0

  readonly #hooks: HookBus
  readonly #headers: Record<string, string>
  readonly #warnings = new Warnings()
  readonly #onEnd: ((exchange: Exchange) => void) | undefined
  readonly #keepFor: ExchangeOptions['keepFor']
  #controller: AbortController | undefined
  #isCacheTold = false
  #isRouted = false
  #ended = false
  #isOutlived = false
  #isEndTold = false
  #over: ((costUsd: number | 'unknown' | undefined) => void) | undefined

  constructor(
    request: IncomingRequest,
    { requestId, startedAt, hooks, headers, prices, onEnd, keepFor }: ExchangeOptions,
  ) {
    super(request, requestId, startedAt ?? performance.now(), new Bill(prices))
    this.#hooks = hooks
    this.#headers = headers
    this.#onEnd = onEnd
    this.#keepFor = keepFor
  }

  /** Options for the upstream calls of this exchange. */
  get call(): CallOptions {
    return callOf(this, this.#hooks, this.#abortable().signal)
  }

  /** Tells the client, and the hooks, of something that was not done as it was asked. `cause` is for the hooks only. */
  warn(warning: string, cause?: unknown): void {
    if (!this.#warnings.add(warning)) return
    this.#hooks.emit('onWarning', {
      ...subjectOf(this),
      ...(this.provider === undefined ? {} : { provider: this.provider }),
      warning,
      ...(cause === undefined ? {} : { error: cause }),
    })
  }

  /** A header of the answer, if that has not begun. */
  addHeader(name: string, value: string): void {
    this.#headers[name] = value
  }

  /** The last word of a cache counts. */
  noteCache(report: CacheReport): void {
    this.cache = report
    this.addHeader(cacheHeader, report.outcome === 'hit' || report.outcome === 'shared' ? 'hit' : 'miss')
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Stops the work on this request; a client that is still there is told the reason. */
  abort(reason: unknown): void {
    this.#abortable().abort(reason)
  }

  /** A whole answer. Ends the exchange. */
  json(status: number, body: object): Answer {
    const text = toJSONText(body)
    this.end(status, 'ok')
    return this.#respond(status, text, { 'content-type': 'application/json', ...this.#served() })
  }

  /** An answer without a body. Ends the exchange. */
  empty(status: number, headers?: Readonly<Record<string, string>>): Answer {
    this.end(status, 'ok')
    return this.#respond(status, null, headers)
  }

  /** A failure in OpenAI's envelope. Ends the exchange. */
  fail(error: unknown): Answer {
    const failure = this.noteFailure(error)
    this.end(failure.status, failure.kind === 'client_closed' ? 'client_closed' : 'error', failure.code ?? failure.type)
    const { status, headers, text } = errorAnswer(failure)
    return this.#respond(status, text, { ...headers, ...this.#served(this.attempts > 0) })
  }

  /** The head of an event stream. The exchange goes on until {@link end}. */
  eventStream(events: EventStream<unknown>): Answer {
    this.#hooks.emit('onStream', { requestId: this.requestId, route: this.route })
    const headers = this.#answerHeaders({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      ...this.#served(),
    })
    return new Answer(200, headers, events)
  }

  /** What the client has not been told yet, in quotes and commas, as far as a header goes; empty when there is nothing. */
  takeWarnings(): string {
    return this.#warnings.take()
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
    this.#hooks.emit('onRoute', routeOf(this, isAgent, isTurn))
  }

  /** Reports what the model delivered, and what it cost. */
  complete(): void {
    const costUsd = this.isCopy ? 0 : this.bill.total(this.usage, this.askedTarget)
    this.costUsd = costUsd
    this.#tellCache()
    this.#hooks.emit('onCompletion', completionOf(this, costUsd))
  }

  /** The request is over. Only the first call counts. */
  end(status: number, outcome: Outcome, errorCode?: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd?.(this)
    this.#tellCache()
    if (!this.#isOutlived) this.#settle()
    this.#hooks.emit('onResponse', responseOf(this, status, outcome, errorCode))
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
    this.#hooks.emit('onBackgroundEnd', backgroundEndOf(this, failure))
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
    over?.(this.costUsd)
  }

  #tellCache(): void {
    if (!this.cache || this.#isCacheTold) return
    this.#isCacheTold = true
    this.#hooks.emit('onCache', { ...subjectOf(this), outcome: this.cache.outcome })
  }

  /** Of a model's answer: how often a provider was asked for it so far, and, unless nobody was, who has served. */
  #served(isTarget = true): Record<string, string> {
    if (!this.#isRouted || this.isAhead) return {}
    return servedHeaders(this.attempts, isTarget ? servedBy(this) : undefined)
  }

  /** Aborts when the client leaves, or by {@link abort}. Made when first needed: requests for models or health never do. */
  #abortable(): AbortController {
    if (this.#controller) return this.#controller
    const controller = new AbortController()
    this.#controller = controller
    this.request.onLeave((reason) => controller.abort(reason))
    return controller
  }

  #respond(status: number, body: string | null, headers?: Readonly<Record<string, string>>): Answer {
    return new Answer(status, this.#answerHeaders(headers), body)
  }

  #answerHeaders(own: Readonly<Record<string, string>> | undefined): Record<string, string> {
    const headers = Object.assign(this.#headers, own)
    if (!this.#warnings.areTold) headers[warningHeader] = this.takeWarnings()
    headers['x-request-id'] = this.requestId
    headers['openai-processing-ms'] = String(Math.round(this.elapsed()))
    return headers
  }
}

/** Tells the client whether its answer was there already. */
const cacheHeader = 'x-signalbox-cache'
