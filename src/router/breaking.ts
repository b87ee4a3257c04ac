import { GatewayError } from '../server/errors.ts'
import type { CallOptions, LLMClient } from '../types.ts'
import type { Breaker } from './breaker.ts'
import type { Breakers } from './breakers.ts'
import { isProviderFault } from './provider-fault.ts'
import { unavailable } from './unavailable.ts'
import { WatchedStream } from './watched-stream.ts'
import { wrapped } from './wrapped.ts'

/**
 * A client whose provider gets nothing for a while when too much has failed there: whoever asks is told so at once. A client for
 * every model (`*`) has a breaker for each.
 */
export function breaking(client: LLMClient, breakers: Breakers): LLMClient {
  const own = client.model === '*' ? undefined : breakers.named(client.model)

  const enter = (model: string, call: CallOptions | undefined): Passage => {
    const breaker = own ?? breakers.find(model)
    const pass = breaker ? breaker.enter() : 0
    if (pass === undefined) throw unavailable(breaker?.waitMs() ?? 0)
    return new Passage(breaker ?? (() => breakers.of(model)), pass, call?.signal)
  }

  return wrapped(client, {
    async whole(ask, request, call) {
      const passage = enter(request.model, call)
      try {
        const answer = await ask()
        passage.end()
        return answer
      } catch (error) {
        passage.fail(error)
        throw error
      }
    },
    streamed(ask, request, call) {
      try {
        return new WatchedStream(ask, enter(request.model, call))
      } catch (error) {
        return failed(error)
      }
    },
    unavailableMs: () => own?.waitMs(),
  })
}

/** One request that was let through, and what its breaker is told of it. */
export class Passage {
  /** Or how to make it: a name that the provider only refuses is not worth remembering. */
  #breaker: Breaker | (() => Breaker)
  readonly #pass: number
  readonly #signal: AbortSignal | undefined

  constructor(breaker: Breaker | (() => Breaker), pass: number, signal: AbortSignal | undefined) {
    this.#breaker = breaker
    this.#pass = pass
    this.#signal = signal
  }

  /** The first piece of the answer is here. */
  begin(): void {
    if (typeof this.#breaker !== 'function') this.#breaker.alive(this.#pass)
  }

  /** The answer is whole. */
  end(): void {
    this.#made().succeed(this.#pass)
  }

  fail(error: unknown): void {
    if (this.#signal?.aborted) this.leave()
    else if (isProviderFault(error)) this.#made().fail(this.#pass)
    else if (error instanceof GatewayError && error.kind === 'upstream_rejected') this.begin()
    else this.leave()
  }

  /** Nobody waits any more. */
  leave(): void {
    if (typeof this.#breaker !== 'function') this.#breaker.leave(this.#pass)
  }

  #made(): Breaker {
    if (typeof this.#breaker === 'function') this.#breaker = this.#breaker()
    return this.#breaker
  }
}

/** A stream that fails with its first piece. */
const failed = (error: unknown): AsyncIterable<never> => ({
  [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }),
})
