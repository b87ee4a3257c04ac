import type { LLMClient } from '../types.ts'
import { RetriedStream } from './retried-stream.ts'
import { Retries, Retry, type RetryOptions } from './retry.ts'
import { wrapped } from './wrapped.ts'

/**
 * A client that asks again when its provider has failed: full jitter, or as long as the provider says. Never once the first piece
 * of a stream is here, never for what the client got wrong, never when nobody waits any more, nor while another target can be asked instead.
 */
export function retrying(client: LLMClient, options: RetryOptions = {}): LLMClient {
  const { budget } = options
  const rules = new Retries(client, options)
  // What is sent away at once makes no room for retries.
  const count = (): void => {
    if (client.unavailableMs?.() === undefined) budget?.request()
  }
  return wrapped(client, {
    whole(ask, request, call) {
      count()
      const startedAt = performance.now()
      return ask().catch((error: unknown) => askAgain(ask, error, new Retry(rules, request, call, startedAt)))
    },
    streamed(ask, request, call) {
      count()
      return new RetriedStream(ask, new Retry(rules, request, call, performance.now()))
    },
  })
}

async function askAgain<Answer>(ask: () => Promise<Answer>, failure: unknown, retry: Retry): Promise<Answer> {
  for (let error = failure; ; ) {
    await retry.after(error).over
    try {
      return await ask()
    } catch (next) {
      error = retry.blame(next, error)
    }
  }
}
