import { bounded } from '../agent/bounded.ts'
import { GatewayError } from '../server/errors.ts'

/** What the work on a store comes to. @throws GatewayError `store_unavailable` when it fails, or takes longer than this */
export async function withinReach<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
  try {
    return await bounded(timeoutMs, work)
  } catch (cause) {
    throw new GatewayError('store_unavailable', 'the store of responses cannot be reached', { cause, retryAfter: 1 })
  }
}
