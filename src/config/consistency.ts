import { BearerKeyAuth } from '../auth/bearer-key-auth.ts'
import type { Environment } from '../env.ts'
import { resolveLLM } from '../llm/create-llm.ts'
import { parseRedisUrl } from '../store/redis-url.ts'
import type { ApiKeyConfig } from './auth-schema.ts'
import { milliseconds } from './duration.ts'
import { impossibleAdmin } from './impossible-admin.ts'
import { impossibleAgents } from './impossible-agents.ts'
import type { ProviderConfig } from './provider-schema.ts'
import type { Config } from './schema.ts'

/** What types cannot say of the sections that are well formed. An ill-formed one is undefined, and among `illFormed`. */
export function* inconsistencies(config: Partial<Config>, illFormed: ReadonlySet<string>): Generator<string> {
  const { server, auth, providers, models } = config
  if (server?.cors.credentials && server.cors.origins.includes('*')) {
    yield 'server.cors.credentials: browsers refuse it together with the origin "*"; list the origins'
  }
  if (server) yield* impossibleDurations(server)
  for (const [name, provider] of Object.entries(providers ?? {})) {
    const { apiKey, apiKeyFile } = provider
    if (apiKey !== undefined && apiKeyFile !== undefined) yield `providers.${name}: give either apiKey or apiKeyFile`
    yield* impossibleTimes(`providers.${name}`, provider)
    const { window, openFor } = provider.breaker ?? {}
    yield* outOfRange(`providers.${name}.breaker`, { window, openFor }, 1)
  }
  for (const [id, model] of Object.entries(models ?? {})) yield* impossibleTimes(`models.${id}`, model)
  if (auth) yield* unusableKeys(auth)
  yield* impossibleAdmin(config)
  if (config.conversations) yield* impossibleWaits(config.conversations, server)
  if (config.responses && milliseconds(config.responses.ttl) < 1) {
    yield `responses.ttl: must be longer than ${config.responses.ttl}`
  }
  if (config.store) yield* impossibleStore(config.store)
  for (const [name, { prices = {} }] of Object.entries(config.catalog ?? {})) {
    if (!/^[^/]+\/./.test(name)) yield `catalog.${name}: must be named provider/model`
    if (name.endsWith('*')) yield `catalog.${name}: must be one model, not a wildcard`
    if (prices.input === undefined && (prices.cachedInput ?? prices.cacheWrite) !== undefined) {
      yield `catalog.${name}.prices: a price of cached tokens needs prices.input`
    }
  }
  if (!providers) return
  const known = Object.keys(providers)
  for (const name of known) {
    if (name.includes('/')) yield `providers.${name}: a provider's name must not contain "/"`
  }
  for (const [id, { targets, cache, deadline }] of Object.entries(models ?? {})) {
    if (cache && milliseconds(cache.ttl) < 1) yield `models.${id}.cache.ttl: must be longer than ${cache.ttl}`
    if (deadline !== undefined) yield* outOfRange(`models.${id}`, { deadline }, 1)
    for (const [index, { model }] of targets.entries()) {
      const path = `models.${id}.targets.${index}.model`
      const provider = model.slice(0, model.indexOf('/'))
      if (!known.includes(provider)) {
        yield `${path}: provider "${provider}" is not configured; configured are: ${known.join(', ') || 'none'}`
      }
      if (model.endsWith('/*') !== id.endsWith('*')) {
        yield `${path}: "${model}" and "${id}" must both be wildcards or neither`
      }
    }
    if (targets.every(({ weight }) => weight === 0)) yield `models.${id}.targets: at least one weight must be above 0`
  }
  yield* impossibleAgents(config, illFormed)
}

function* impossibleStore(store: Config['store']): Generator<string> {
  const { kind, directory, url, connectTimeout, commandTimeout, leaseTime } = store
  if ((kind === 'file') !== (directory !== undefined)) yield 'store: kind "file" and a directory go together'
  if ((kind === 'redis') !== (url !== undefined)) yield 'store: kind "redis" and a url go together'
  yield* outOfRange('store', { connectTimeout, commandTimeout, leaseTime }, 1)
  try {
    if (url !== undefined) parseRedisUrl(url)
  } catch (error) {
    yield `store.url: ${error instanceof Error ? error.message : String(error)}`
  }
}

function* impossibleWaits(
  { lockTimeout, loaderTimeout, ttl }: Config['conversations'],
  server: Config['server'] | undefined,
): Generator<string> {
  if (lockTimeout !== undefined) yield* outOfRange('conversations', { lockTimeout }, 0)
  if (lockTimeout !== undefined && server && milliseconds(lockTimeout) >= milliseconds(server.keepAlive)) {
    yield `conversations.lockTimeout: must be shorter than server.keepAlive (${server.keepAlive}): once a stream is kept alive there is no 409`
  }
  yield* outOfRange('conversations', { loaderTimeout }, 1)
  if (milliseconds(ttl) < 1) yield `conversations.ttl: must be longer than ${ttl}`
}

function* impossibleDurations(server: Config['server']): Generator<string> {
  const { keepAlive, drainDelay, drainTimeout, timeouts } = server
  yield* outOfRange('server', { keepAlive }, 1)
  yield* outOfRange('server', { drainDelay, drainTimeout }, 0)
  yield* outOfRange('server.timeouts', timeouts, 1)
  if (milliseconds(timeouts.headers) > milliseconds(timeouts.request)) {
    yield 'server.timeouts.headers: must not be longer than server.timeouts.request'
  }
}

/** What a timer of the runtime can hold: a longer one would fire at once. */
const longestTimer = 2 ** 31 - 1

function* impossibleTimes(
  path: string,
  { timeouts = {}, retries: { baseDelay, maxDelay, deadline } = {} }: Pick<ProviderConfig, 'timeouts' | 'retries'>,
): Generator<string> {
  yield* outOfRange(`${path}.timeouts`, timeouts, 1)
  yield* outOfRange(`${path}.retries`, { baseDelay, maxDelay, deadline }, 0)
}

function* outOfRange(
  path: string,
  durations: Readonly<Record<string, string | undefined>>,
  least: number,
): Generator<string> {
  for (const [name, duration] of Object.entries(durations)) {
    if (duration === undefined) continue
    const value = milliseconds(duration)
    if (value < least) yield `${path}.${name}: must be longer than ${duration}`
    if (value > longestTimer) yield `${path}.${name}: must be at most 24 days`
  }
}

/** Keys that are none, or that are there twice. */
export function* unusableKeys({ keys = [], keyFiles }: NonNullable<Config['auth']>): Generator<string> {
  if (keys.length === 0 && !keyFiles) yield 'auth: give keys or keyFiles'
  const ambiguous = [...ambiguousKeys(keys, 'auth.keys')]
  yield* ambiguous
  if (ambiguous.length > 0) return
  try {
    new BearerKeyAuth({ keys })
  } catch (error) {
    yield `auth.keys: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** `path`: of the list. */
export function* ambiguousKeys(keys: readonly ApiKeyConfig[], path: string): Generator<string> {
  for (const [index, { key, sha256, notBefore, expiresAt }] of keys.entries()) {
    if ((key === undefined) === (sha256 === undefined)) yield `${path}.${index}: give either key or sha256`
    for (const [name, time] of Object.entries({ notBefore, expiresAt })) {
      if (time !== undefined && Number.isNaN(Date.parse(time))) yield `${path}.${index}.${name}: there is no such time`
    }
  }
}

/** Providers that cannot be called: without a key, without an address, of an unknown kind. */
export function* unusableProviders(providers: Config['providers'] = {}, env: Environment): Generator<string> {
  for (const [name, { timeouts: _timeouts, retries: _retries, breaker: _breaker, ...provider }] of Object.entries(
    providers,
  )) {
    try {
      resolveLLM({ model: `${name}/*`, ...provider }, env)
    } catch (error) {
      yield `providers.${name}: ${error instanceof Error ? error.message : String(error)}`
    }
  }
}
