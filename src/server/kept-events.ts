import { EventsGoneError } from '../store/event-log.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'

/** How often who waits for events looks whether anybody still makes them, in milliseconds. */
export const lookMs = 5000

export interface EventSource {
  /** In the log. */
  key: string
  /** What the client is told when some of the events are not there. */
  gone(): GatewayError | Promise<GatewayError>
}

/** Events as they are kept, from a number on; an empty batch whenever nothing has come for `idleMs`. @throws GatewayError */
export async function* readEvents(
  { call: { signal } }: Exchange,
  { eventLog }: ServerContext,
  { key, gone }: EventSource,
  from: number,
  idleMs: number,
): AsyncGenerator<readonly object[]> {
  try {
    yield* eventLog.read(key, from, { idleMs, signal })
  } catch (error) {
    if (error instanceof EventsGoneError) throw await gone()
    if (error instanceof GatewayError) throw error
    if (signal?.aborted) throw new GatewayError('client_closed', 'the client closed the request', { cause: error })
    throw new GatewayError('store_unavailable', 'the events cannot be read', { cause: error, retryAfter: 1 })
  }
}
