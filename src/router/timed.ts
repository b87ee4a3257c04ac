import type { CallOptions, LLMClient } from '../types.ts'
import { wrapped } from './wrapped.ts'

type CallTimeouts = NonNullable<CallOptions['timeouts']>

/** A client whose calls have timeouts of their own, instead of its provider's. A call that brings some keeps them. */
export function timed(client: LLMClient, timeouts: CallTimeouts): LLMClient {
  const within = (call: CallOptions | undefined): CallOptions => ({
    ...call,
    timeouts: { ...timeouts, ...call?.timeouts },
  })
  return wrapped(client, {
    whole: (ask, _request, call) => ask(within(call)),
    streamed: (ask, _request, call) => ask(within(call)),
  })
}
