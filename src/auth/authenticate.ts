import type { HookBus } from '../hooks/hook-bus.ts'
import { GatewayError } from '../server/errors.ts'
import type { AuthVerifyResult } from './auth-plugin.ts'

/** Runs a verification. What it throws becomes a 401 and an `onAuthFail`, except a `GatewayError`, which stands. */
export async function authenticate(
  verify: () => AuthVerifyResult | Promise<AuthVerifyResult>,
  hooks: HookBus,
  requestId: string,
): Promise<AuthVerifyResult> {
  try {
    const result: AuthVerifyResult | undefined = await verify()
    // A plugin in JavaScript may forget to answer; nobody is let in by a mistake.
    if (typeof result?.userId !== 'string') throw new Error('the auth plugin named no user')
    const models = result.metadata?.models
    if (models !== undefined && !(Array.isArray(models) && models.every((id) => typeof id === 'string'))) {
      throw new Error('the auth plugin named models that are no list of ids')
    }
    const limits = Object.values(result.limits ?? {})
    if (!limits.every((cap) => cap === undefined || (typeof cap === 'number' && cap > 0))) {
      throw new Error('the auth plugin named limits that are no positive numbers')
    }
    return result
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw refuse(error, hooks, requestId)
  }
}

/** The 401 for a failed verification. The plugin's own words stay in the hook: they may say too much. */
export function refuse(reason: unknown, hooks: HookBus, requestId: string): GatewayError {
  hooks.emit('onAuthFail', { requestId, reason: reason instanceof Error ? reason.message : String(reason) })
  return new GatewayError(
    'invalid_api_key',
    'incorrect or missing API key; send one as the header Authorization: Bearer <key>',
    { headers: { 'www-authenticate': 'Bearer' }, cause: reason },
  )
}
