/** Per minute, at a time, and in USD; what is left out is not limited. */
export interface KeyLimits {
  requestsPerMinute?: number
  tokensPerMinute?: number
  concurrentRequests?: number
  usdPerDay?: number
  usdPerMonth?: number
}

/** Who sends a request. */
export interface AuthVerifyResult {
  /** Names the owner of everything the request creates. */
  userId: string
  /** Names the key that was presented, where there are several of a user: never the key itself. Default: the user id. */
  keyId?: string
  /** What the key may use. Default: no limits of its own. */
  limits?: KeyLimits
  /**
   * Whatever the plugin knows besides. The gateway reads `models`: a list of the ids and patterns (`openai/*`) that this
   * user may use; absent means all.
   */
  metadata?: Record<string, unknown>
}

/** Decides who may pass. Implement it for JWT, OAuth, or headers forwarded by a proxy. */
export interface AuthPlugin {
  /**
   * Sync or async. Throwing anything answers 401, except a `GatewayError`, which answers what it says: a plugin whose
   * store is down throws a 503, since a client with a good key must not be told that it is bad.
   */
  verify(headers: Headers): AuthVerifyResult | Promise<AuthVerifyResult>
}

/** Models that this user may use; undefined means all. */
export function allowedModels(principal: AuthVerifyResult | null | undefined): readonly string[] | undefined {
  const models = principal?.metadata?.models
  return Array.isArray(models) ? models : undefined
}

/** True when one of the ids or `prefix*` patterns covers the model. */
export function mayUse(allowed: readonly string[] | undefined, model: string): boolean {
  if (!allowed) return true
  return allowed.some((id) => (id.endsWith('*') ? model.startsWith(id.slice(0, -1)) : model === id))
}
