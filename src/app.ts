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
import { type MetricsOptions, metrics } from '../plugins/metrics.ts'
import { modelRouter } from '../plugins/model-router.ts'
import { oaiServer } from '../plugins/oai-server.ts'
import { overload } from '../plugins/overload.ts'
import { requestLog } from '../plugins/request-log.ts'
import { store } from '../plugins/store.ts'
import { tracing } from '../plugins/tracing.ts'
import { writeTimeout } from '../plugins/write-timeout.ts'
import type { AuthPlugin } from './auth/auth-plugin.ts'
import { BearerKeyAuth } from './auth/bearer-key-auth.ts'
import { type Config, milliseconds } from './config/schema.ts'
import { createCatalog } from './engine/catalog.ts'
import type { Extension } from './extension.ts'
import { ResponseStore } from './store/response-store.ts'
import type { Target } from './types.ts'

export interface AppOptions {
  config: Config
  /** What the configuration's extension module exports. */
  extension?: Extension
  /** Default: the extension's, then the keys of the configuration. */
  auth?: AuthPlugin
  /** Default: pino on standard output, at the configured level. */
  logger?: FastifyBaseLogger
}

/** The service: the plugins, in the order in which a request meets them. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, extension = {} } = options
  const { server, conversations, responses } = config
  const keys = config.auth && new BearerKeyAuth(config.auth)
  const kinds = kindsOf(config.providers)
  const catalog = createCatalog(config.catalog, kinds)
  // In order and at once: a buffered last line would hold up the end of a process whose reader has gone.
  const log = options.logger ?? pino({ level: server.logLevel }, pino.destination({ dest: 1, sync: true }))
  const app = Fastify({
    loggerInstance: log,
    genReqId: () => `req_${crypto.randomUUID()}`,
    frameworkErrors: answerUnreadable,
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
  await app.register(errors)
  await app.register(requestLog)
  await app.register(cors, server.cors)
  await app.register(health)
  await app.register(writeTimeout, { timeoutMs: milliseconds(server.timeouts.write) })
  await app.register(store, config.store)
  const { queueTimeout, ...overloadLimits } = server.overload
  await app.register(overload, { ...overloadLimits, queueTimeoutMs: milliseconds(queueTimeout) })
  if (config.metrics.enabled) await app.register(metrics, metricsOf(config))
  const { persistence, leases, eventLog, index } = app.store
  const { enabled: isTraced, flushTimeout, ...traced } = config.tracing
  if (isTraced) await app.register(tracing, { ...traced, kinds, flushTimeoutMs: milliseconds(flushTimeout) })
  await app.register(auth, { auth: options.auth ?? extension.auth ?? keys })
  const contextWindow = ({ provider, model }: Target) => catalog.find(provider, model)?.contextWindow
  await app.register(modelRouter, { ...config, ...extension, contextWindow })
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
  await app.register(drain, { timeoutMs: milliseconds(server.drainTimeout) })
  return app
}

/** A turn that has waited in vain must learn it before its stream is kept alive, and so begun. */
const lockTimeoutOf = ({ server, conversations }: Config): number =>
  conversations.lockTimeout === undefined
    ? Math.min(10_000, (milliseconds(server.keepAlive) * 2) / 3)
    : milliseconds(conversations.lockTimeout)

const metricsOf = ({ metrics: { port, host, users }, server, models = {}, agents }: Config): MetricsOptions => ({
  port,
  host: host ?? server.host,
  targets: [
    ...Object.values(models).flatMap(({ targets }) => targets.map(({ model }) => model)),
    ...Object.values(agents).map(({ model }) => model),
  ],
  ...(users.enabled ? { topUsers: users.top } : {}),
})

/** What providers with names of their own are, for those who know providers by their usual names. */
const kindsOf = (providers: Config['providers']): Record<string, string> =>
  Object.fromEntries(Object.entries(providers).flatMap(([name, { kind }]) => (kind ? [[name, kind]] : [])))
