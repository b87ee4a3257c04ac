import type { AuthVerifyResult } from '../auth/auth-plugin.ts'
import type { CompletionUsage } from '../hooks/events.ts'
import type { CacheReport, Target } from '../types.ts'
import type { Bill } from './bill.ts'
import type { IncomingRequest } from './incoming-request.ts'

/** What is known of one request and its answer: who, what, how long, at what cost. */
export class ExchangeFacts {
  readonly request: IncomingRequest
  readonly requestId: string
  /** Of the request's arrival, as `performance.now()`. */
  readonly startedAt: number
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
  /** How long the client took to send the body, once it was read. */
  receivedMs = 0
  /** How often a provider was asked. */
  attempts = 0
  /** How it fares with a cache, if there is one. */
  cache: CacheReport | undefined
  /** Undefined until a model has answered. */
  costUsd: number | 'unknown' | undefined
  /** What each step of a run cost. */
  readonly bill: Bill

  constructor(request: IncomingRequest, requestId: string, startedAt: number, bill: Bill) {
    this.request = request
    this.requestId = requestId
    this.startedAt = startedAt
    this.bill = bill
  }

  /** `null` for nobody. */
  get userId(): string | null {
    return this.principal?.userId ?? null
  }

  /** The first of the route's parameters. */
  get parameter(): string {
    return this.parameters[0] ?? ''
  }

  get path(): string {
    return this.request.path
  }

  get query(): URLSearchParams {
    return this.request.query
  }

  /** Its answer was there already: nobody bills it. */
  get isCopy(): boolean {
    return this.cache?.isBilled === false
  }

  /** Milliseconds since arrival. */
  elapsed(): number {
    return performance.now() - this.startedAt
  }
}
