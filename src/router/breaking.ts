import type { CallOptions, LLMClient } from '../types.ts'
import type { Breakers } from './breakers.ts'
import { Passage } from './passage.ts'
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
    whole(ask, request, call) {
      let passage: Passage | undefined
      try {
        passage = enter(request.model, call)
        return followed(ask(), passage)
      } catch (error) {
        passage?.fail(error)
        return Promise.reject(error)
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

/** An answer whose passage is told how it ends. */
const followed = <Answer>(asked: Promise<Answer>, passage: Passage): Promise<Answer> =>
  asked.then(
    (answer) => {
      passage.end()
      return answer
    },
    (error: unknown) => {
      passage.fail(error)
      throw error
    },
  )

/** A stream that fails with its first piece. */
const failed = (error: unknown): AsyncIterable<never> => ({
  [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }),
})
