import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import pino from 'pino'
import { admission } from '../plugins/admission.ts'
import { agentLoader } from '../plugins/agent-loader.ts'
import { auth } from '../plugins/auth.ts'
import { conversationLoader } from '../plugins/conversation-loader.ts'
import { cors } from '../plugins/cors.ts'
import { drain } from '../plugins/drain.ts'
import { answerMalformedRequest, answerUnreadable, errors } from '../plugins/errors.ts'
import { health } from '../plugins/health.ts'
import { hooks } from '../plugins/hooks.ts'
import { liveConfig } from '../plugins/live-config.ts'
import { liveParts } from '../plugins/live-parts.ts'
import { type MetricsOptions, metrics } from '../plugins/metrics.ts'
import { modelRouter } from '../plugins/model-router.ts'
import { oaiServer } from '../plugins/oai-server.ts'
import { overload } from '../plugins/overload.ts'
import { rateLimit } from '../plugins/rate-limit.ts'
import { requestLog } from '../plugins/request-log.ts'
import { store } from '../plugins/store.ts'
import { tracing } from '../plugins/tracing.ts'
import { writeTimeout } from '../plugins/write-timeout.ts'
import type { AuthPlugin } from './auth/auth-plugin.ts'
import { BearerKeyAuth } from './auth/bearer-key-auth.ts'
import { milliseconds } from './config/duration.ts'
import { kindsOf, providersOf, targetsOf } from './config/named.ts'
import type { Config } from './config/schema.ts'
import { createCatalog } from './engine/catalog.ts'
import type { Extension } from './extension.ts'
import { logDestination } from './log-destination.ts'
import { TargetSwitch } from './router/target-switch.ts'
import { MemoryPersistence } from './store/memory-persistence.ts'
import { ResponseStore } from './store/response-store.ts'
import type { Target } from './types.ts'

export interface AppOptions {
  config: Config
  /** What the configuration's extension module exports. */
  extension?: Extension
  /** Reads the configuration again, for a reload. Default: it stays as it is. */
  load?: (() => Promise<Config>) | undefined
  /** Default: the extension's, then the keys of the configuration. */
  auth?: AuthPlugin
  /** Default: pino on standard output, at the configured level. */
  logger?: FastifyBaseLogger
}

/** The service: the plugins, in the order in which a request meets them. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, extension = {} } = options
  const { server, conversations, responses } = config
  const keys = config.auth && new BearerKeyAuth({ keys: config.auth.keys ?? [] })
  const decides = options.auth ?? extension.auth ?? keys
  const kinds = kindsOf(config.providers)
  const catalog = createCatalog(config.catalog, kinds)
  const log = options.logger ?? pino({ level: server.logLevel }, logDestination())
  const app = Fastify({
    loggerInstance: log,
    genReqId: () => `req_${crypto.randomUUID()}`,
    frameworkErrors: answerUnreadable,
    schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } },
    clientErrorHandler: answerMalformedRequest,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: milliseconds(server.timeouts.request),
    keepAliveTimeout: milliseconds(server.timeouts.keepAlive),
    // While draining, a kept-alive connection is served once more and then closed, instead of being refused.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    http: {
      maxHeaderSize: server.headerLimit,
      headersTimeout: milliseconds(server.timeouts.headers),
      connectionsCheckingInterval: 1000,
      requireHostHeader: false, // Node would answer that itself, and not in our envelope
    },
  })
  // Node refuses what it does not know with a bare 417; RFC 9110 (10.1.1) lets us ignore it.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
  await app.register(hooks)
  await app.register(liveConfig, { config, load: options.load })
  await app.register(errors)
  await app.register(requestLog)
  await app.register(cors, server.cors)
  await app.register(health)
  await app.register(writeTimeout, { timeoutMs: milliseconds(server.timeouts.write) })
  await app.register(store, config.store)
  const { queueTimeout, ...overloadLimits } = server.overload
  await app.register(overload, { ...overloadLimits, queueTimeoutMs: milliseconds(queueTimeout) })
  if (config.metrics.enabled) await app.register(metrics, metricsOf(config, kinds))
  const { persistence, leases, eventLog, index } = app.store
  const { enabled: isTraced, flushTimeout, ...traced } = config.tracing
  if (isTraced) await app.register(tracing, { ...traced, kinds, flushTimeoutMs: milliseconds(flushTimeout) })
  // Loaded only where it is wanted, like the plugin itself.
  if (config.admin.enabled) {
    const { storedKeys } = await import('../plugins/stored-keys.ts')
    await app.register(storedKeys, { configured: decides, inMemory: config.store.kind === 'memory' })
  }
  await app.register(auth, { auth: app.storedKeys?.auth ?? decides })
  await app.register(rateLimit, { limits: config.limits, leaseTime: config.store.leaseTime })
  const contextWindow = ({ provider, model }: Target) => catalog.find(provider, model)?.contextWindow
  const targetSwitch = config.admin.enabled ? new TargetSwitch() : undefined
  await app.register(modelRouter, {
    ...config,
    ...extension,
    contextWindow,
    targetSwitch,
    // In memory, answers of caches would push out conversations.
    cacheStore: config.store.kind === 'memory' ? new MemoryPersistence({ maxBytes: cacheBytes }) : persistence,
  })
  if (targetSwitch) {
    const { host = server.host, ...rest } = config.admin
    await app.register((await import('../plugins/admin.ts')).admin, {
      ...rest,
      host,
      targetSwitch,
      config: () => app.liveConfig.config,
    })
  }
  await app.register(agentLoader, { loader: extension.agentLoader })
  const { conversationLoader: loader } = extension
  const ttlSeconds = milliseconds(conversations.ttl) / 1000
  await app.register(conversationLoader, loader ? { loader } : { persistence, ttlSeconds })
  await app.register(admission)
  await app.register(oaiServer, {
    prices: catalog,
    hiddenStepsPersistence: persistence,
    leases,
    eventLog,
    completionIndex: index,
    // In memory they have a place of their own: they are many, and would push out conversations.
    responseStore: new ResponseStore({
      ttlSeconds: milliseconds(responses.ttl) / 1000,
      ...(config.store.kind === 'memory' ? {} : { persistence }),
    }),
    conversationTtlSeconds: ttlSeconds,
    lockTimeoutMs: lockTimeoutOf(config),
    loaderTimeoutMs: milliseconds(conversations.loaderTimeout),
    limits: { bodyLimit: server.bodyLimit, jsonDepth: server.jsonDepth },
    keepAliveMs: milliseconds(server.keepAlive),
  })
  await app.register(liveParts, { keys: decides === keys ? keys : undefined, kinds })
  await app.register(drain, { timeoutMs: milliseconds(server.drainTimeout) })
  return app
}

/** Only the admin API has schemas, and compilers of its own: those that Fastify brings need not be loaded. */
const noCompiler = (): never => {
  throw new Error('there is no schema to be compiled')
}

/** What all answers of caches take, where they are in memory. */
const cacheBytes = 64 * 1024 * 1024

/** A turn that has waited in vain must learn it before its stream is kept alive, and so begun. */
const lockTimeoutOf = ({ server, conversations }: Config): number =>
  conversations.lockTimeout === undefined
    ? Math.min(10_000, (milliseconds(server.keepAlive) * 2) / 3)
    : milliseconds(conversations.lockTimeout)

const metricsOf = (config: Config, kinds: Readonly<Record<string, string>>): MetricsOptions => {
  const { port, host = config.server.host, users } = config.metrics
  const named = { targets: targetsOf(config), models: providersOf(config), kinds }
  return { port, host, ...named, ...(users.enabled ? { topUsers: users.top } : {}) }
}
