import { Conversations } from '../agent/conversations.ts'
import { HiddenSteps } from '../agent/hidden-steps.ts'
import type { AuthPlugin, AuthVerifyResult } from '../auth/auth-plugin.ts'
import { authenticate } from '../auth/authenticate.ts'
import { CompletionRecords } from '../completions/completion-records.ts'
import { HookBus } from '../hooks/hook-bus.ts'
import { ConversationRecords } from '../responses/conversation-records.ts'
import { ResponseRecords } from '../responses/response-records.ts'
import { ModelRouter, type ServerEntry } from '../router/model-router.ts'
import { MemoryEventLog } from '../store/memory-event-log.ts'
import { MemoryPersistence } from '../store/memory-persistence.ts'
import { PersistedIndex } from '../store/persisted-index.ts'
import { ResponseStore } from '../store/response-store.ts'
import type { Answer } from './answer.ts'
import { BackgroundRuns } from './background-runs.ts'
import type { Prices } from './bill.ts'
import { defaultBodyLimits } from './body.ts'
import { createChatCompletion } from './chat.ts'
import type { ServerContext } from './context.ts'
import {
  addItems,
  createConversation,
  deleteConversation,
  deleteItem,
  listItems,
  retrieveConversation,
  retrieveItem,
  updateConversation,
} from './conversations.ts'
import { createEmbeddings } from './embeddings.ts'
import { GatewayError } from './errors.ts'
import { Exchange } from './exchange.ts'
import { health, ready } from './health.ts'
import type { IncomingRequest } from './incoming-request.ts'
import { type Listener, listen } from './listen.ts'
import { listModels, retrieveModel } from './models.ts'
import { OpenExchanges } from './open-exchanges.ts'
import { corsHeaders, preflight } from './preflight.ts'
import { Readiness } from './readiness.ts'
import { createResponse } from './responses.ts'
import { type RouteMatch, RouteTable } from './route-table.ts'
import type { HandleContext, OaiServerOptions } from './server-options.ts'
import { Settling } from './settling.ts'
import {
  deleteCompletion,
  listCompletionMessages,
  listCompletions,
  retrieveCompletion,
  updateCompletion,
} from './stored-completions.ts'
import { cancelResponse, deleteResponse, listInputItems, retrieveResponse } from './stored-responses.ts'
import { WebRequest } from './web-request.ts'

/** How long a client that was told of the end may take to read it. */
const lastWordsMs = 1000

/** The OpenAI-compatible server: any registered client behind OpenAI's API. Web-standard; it needs no framework. */
export class OaiServer {
  readonly hooks: HookBus
  readonly responseStore: ResponseStore
  readonly router: ModelRouter
  readonly #auth: AuthPlugin | undefined
  #context: ServerContext
  readonly #port: number
  readonly #hostname: string
  readonly #headers: Readonly<Record<string, string>>
  #prices: Prices | undefined
  readonly #open = new OpenExchanges()
  readonly #onEnd = (exchange: Exchange): void => {
    this.#open.remove(exchange)
    if (this.#settling.size > 0) for (const settling of this.#settling) settling.ended(exchange)
  }
  /** Those who wait for what was open at some time. Mostly nobody. */
  readonly #settling = new Set<Settling>()
  #listener: Promise<Listener> | undefined
  #stopping: Promise<void> | undefined

  readonly #routes = new RouteTable([
    ['GET', '/health', health, 'open'],
    ['GET', '/ready', ready, 'open'],
    ['GET', '/v1/models', listModels],
    ['GET', '/v1/models/{id}', retrieveModel],
    ['POST', '/v1/chat/completions', createChatCompletion],
    ['GET', '/v1/chat/completions', listCompletions],
    ['GET', '/v1/chat/completions/{id}', retrieveCompletion],
    ['POST', '/v1/chat/completions/{id}', updateCompletion],
    ['DELETE', '/v1/chat/completions/{id}', deleteCompletion],
    ['GET', '/v1/chat/completions/{id}/messages', listCompletionMessages],
    ['POST', '/v1/embeddings', createEmbeddings],
    ['POST', '/v1/responses', createResponse],
    ['GET', '/v1/responses/{id}', retrieveResponse],
    ['DELETE', '/v1/responses/{id}', deleteResponse],
    ['GET', '/v1/responses/{id}/input_items', listInputItems],
    ['POST', '/v1/responses/{id}/cancel', cancelResponse],
    ['POST', '/v1/conversations', createConversation],
    ['GET', '/v1/conversations/{conversation_id}', retrieveConversation],
    ['POST', '/v1/conversations/{conversation_id}', updateConversation],
    ['DELETE', '/v1/conversations/{conversation_id}', deleteConversation],
    ['GET', '/v1/conversations/{conversation_id}/items', listItems],
    ['POST', '/v1/conversations/{conversation_id}/items', addItems],
    ['GET', '/v1/conversations/{conversation_id}/items/{item_id}', retrieveItem],
    ['DELETE', '/v1/conversations/{conversation_id}/items/{item_id}', deleteItem],
  ])

  constructor(options: OaiServerOptions = {}) {
    this.hooks = options.hooks ?? new HookBus()
    this.router = options.router ?? new ModelRouter()
    this.responseStore =
      options.responseStore ??
      new ResponseStore(options.responseStorePersistence ? { persistence: options.responseStorePersistence } : {})
    this.#auth = options.auth
    this.#port = options.port ?? 4000
    this.#hostname = options.hostname ?? '127.0.0.1'
    this.#headers = options.cors === false ? {} : corsHeaders
    this.#prices = options.prices
    const { conversationLoader: loader, loaderTimeoutMs = 5000, lockTimeoutMs, leases } = options
    this.#context = {
      agentLoader: options.agentLoader,
      loaderTimeoutMs,
      conversations: loader && new Conversations({ loader, loaderTimeoutMs, lockTimeoutMs, leases }),
      hiddenSteps: new HiddenSteps(options.hiddenStepsPersistence ?? new MemoryPersistence({ maxEntries: 1000 }), {
        timeoutMs: loaderTimeoutMs,
      }),
      responses: new ResponseRecords(this.responseStore, loaderTimeoutMs),
      conversationRecords: new ConversationRecords(this.responseStore, {
        leases,
        lockTimeoutMs,
        timeoutMs: loaderTimeoutMs,
        ttlSeconds: options.conversationTtlSeconds,
      }),
      completions: new CompletionRecords({
        store: this.responseStore,
        index: options.completionIndex ?? new PersistedIndex(new MemoryPersistence()),
        timeoutMs: loaderTimeoutMs,
      }),
      eventLog: options.eventLog ?? new MemoryEventLog(),
      backgroundRuns: new BackgroundRuns(),
      router: this.router.routes,
      hooks: this.hooks,
      readiness: options.readiness ?? new Readiness(),
      limiter: options.limiter,
      limits: { ...defaultBodyLimits, ...options.limits },
      keepAliveMs: options.keepAliveMs ?? 15_000,
      streamChunkChars: options.streamChunkChars ?? 40,
    }
    for (const entry of options.entries ?? []) this.register(entry)
  }

  /** @throws Error when the model is already registered */
  register(entry: ServerEntry): void {
    this.router.register(entry)
  }

  /** Takes a model out of service; returns false when there was none. Requests under way finish. */
  unregister(model: string): boolean {
    return this.router.unregister(model) !== undefined
  }

  /** Changes how requests are served from now on. Those under way go on as they began. */
  configure({ prices, limits }: Pick<OaiServerOptions, 'prices' | 'limits'>): void {
    if (prices) this.#prices = prices
    if (limits) this.#context = { ...this.#context, limits: { ...this.#context.limits, ...limits } }
  }

  /** Resolves when everything that is open now is over: requests, streams, and what is made in the background. */
  async settledSoFar(): Promise<void> {
    const settling = new Settling(this.#open.all())
    this.#settling.add(settling)
    await settling.over
    this.#settling.delete(settling)
    // What they have left to be made in the background was begun before they ended.
    await this.#context.backgroundRuns.settledSoFar()
  }

  /** Answers one request. Never rejects: whatever fails is answered in OpenAI's error envelope. */
  async handle(request: Request, context?: HandleContext): Promise<Response> {
    return (await this.answer(new WebRequest(request), context)).toResponse()
  }

  /** As {@link handle}, for a host whose requests and answers are none of the web's: that they were made so would cost it dearly. */
  async answer(request: IncomingRequest, context: HandleContext = {}): Promise<Answer> {
    const exchange = new Exchange(request, {
      requestId: context.requestId ?? `req_${crypto.randomUUID()}`,
      startedAt: context.startedAt,
      hooks: this.hooks,
      headers: { ...this.#headers, ...context.headers },
      prices: this.#prices,
      onEnd: this.#onEnd,
      keepFor: context.keepFor,
    })
    this.#open.add(exchange)
    const settings = this.#settings()
    const { requestId, path, startedAt } = exchange
    this.hooks.emit('onRequest', {
      requestId,
      method: request.method,
      path,
      startedAt,
      header: (name) => request.header(name),
    })
    try {
      const { endpoint, open } = this.#match(exchange)
      // Before 404 and 405: what exists here is nobody's business who has no key.
      if (context.principal !== undefined) exchange.principal = context.principal
      else if (this.#auth && !open) exchange.principal = await this.#authenticate(exchange, this.#auth)
      return await endpoint(exchange, settings)
    } catch (error) {
      return exchange.fail(error)
    }
  }

  /** Requests that are not over yet, streams included, and responses that are made in the background. */
  get openRequests(): number {
    return this.#open.size + this.#context.backgroundRuns.size
  }

  /** Breaks off every open request, and what is made in the background; who waits is told that the gateway is shutting down. */
  abortOpenRequests(): void {
    const reason = new GatewayError('shutting_down', 'the gateway is shutting down', { retryAfter: 1 })
    for (const exchange of this.#open.all()) exchange.abort(reason)
    this.#context.backgroundRuns.abort(reason)
  }

  /** Resolves when nothing is made in the background any more. */
  backgroundSettled(): Promise<void> {
    return this.#context.backgroundRuns.settled()
  }

  /**
   * After `ms` milliseconds breaks off what is still open, and a second later calls `closeAll`, for the connections of
   * clients that do not take that in. Returns a function that calls it off.
   */
  breakOffAfter(ms: number, closeAll: () => void): () => void {
    const breakOff = setTimeout(() => this.abortOpenRequests(), ms)
    const cut = setTimeout(closeAll, ms + lastWordsMs)
    return () => {
      clearTimeout(breakOff)
      clearTimeout(cut)
    }
  }

  /** Listens on `hostname:port`, on Node as on Bun. Resolves with the address. */
  async start(): Promise<{ hostname: string; port: number; url: string }> {
    this.#listener ??= listen(this, this.#port, this.#hostname)
    const { port } = await this.#listener.catch((error: unknown) => {
      this.#listener = undefined
      throw error
    })
    return { hostname: this.#hostname, port, url: `http://${this.#hostname}:${port}` }
  }

  /**
   * Stops listening and waits for open requests and what is made in the background, at most `drainMs` milliseconds (default 60 000); then breaks off the
   * rest, and a second later closes the connections of clients that do not take that in. It is final: `/ready` stays 503.
   */
  stop(options: { drainMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(options).finally(() => {
      this.#stopping = undefined
    })
    return this.#stopping
  }

  async #stop({ drainMs = 60_000 }: { drainMs?: number }): Promise<void> {
    this.#context.readiness.drain()
    const listener = await this.#listener
    this.#listener = undefined
    const callOff = this.breakOffAfter(drainMs, () => listener?.closeAll())
    try {
      await Promise.all([listener?.close(), this.backgroundSettled()])
    } finally {
      callOff()
    }
  }

  /** What a request that arrives now is served with, from begin to end. */
  #settings(): ServerContext {
    const { routes } = this.router
    if (this.#context.router !== routes) this.#context = { ...this.#context, router: routes }
    return this.#context
  }

  #match(exchange: Exchange): RouteMatch {
    const { request, path } = exchange
    if (path === '') throw new GatewayError('invalid_request', 'the request has an invalid URL')
    if (request.method === 'OPTIONS') return preflight
    const match = this.#routes.match(request.method, path)
    exchange.route = match.route
    exchange.parameters = match.parameters
    return match
  }

  #authenticate({ request, requestId }: Exchange, auth: AuthPlugin): Promise<AuthVerifyResult> {
    return authenticate(() => auth.verify(request.headers), this.hooks, requestId)
  }
}
