import { GatewayError } from '../server/errors.ts'
import type { CallOptions, LLMClient } from '../types.ts'

/**
 * A client whose every answer, streams to their end, must be there within `ms` milliseconds, or fails with `deadline_exceeded`.
 */
export function withDeadline(client: LLMClient, ms: number): LLMClient {
  const { embed, responses, unavailableMs } = client

  const whole = async <Answer>(call: CallOptions | undefined, ask: (call: CallOptions) => Promise<Answer>) => {
    const deadline = begin(ms, call)
    try {
      return await ask(deadline.call)
    } finally {
      deadline.over()
    }
  }

  const streamed = <Piece>(
    call: CallOptions | undefined,
    ask: (call: CallOptions) => AsyncIterable<Piece>,
  ): AsyncIterableIterator<Piece> => {
    const deadline = begin(ms, call)
    const pieces = ask(deadline.call)[Symbol.asyncIterator]()
    const fail = (error: unknown): never => {
      deadline.over()
      throw error
    }
    return {
      next: () =>
        pieces.next().then((result) => {
          if (result.done) deadline.over()
          return result
        }, fail),
      return: async () => {
        deadline.over()
        return (await pieces.return?.()) ?? { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  return {
    provider: client.provider,
    model: client.model,
    agent: client.agent,
    complete: (request, call) => whole(call, (limited) => client.complete(request, limited)),
    stream: (request, call) => streamed(call, (limited) => client.stream(request, limited)),
    ...(embed ? { embed: (request, call) => whole(call, (limited) => embed.call(client, request, limited)) } : {}),
    ...(responses
      ? {
          responses: {
            create: (request, call) => whole(call, (limited) => responses.create(request, limited)),
            stream: (request, call) => streamed(call, (limited) => responses.stream(request, limited)),
          },
        }
      : {}),
    ...(unavailableMs ? { unavailableMs: () => unavailableMs.call(client) } : {}),
    close: async () => client.close?.(),
  }
}

interface Deadline {
  /** Is aborted when the time is up, and with its caller's. */
  call: CallOptions
  over(): void
}

function begin(ms: number, call: CallOptions = {}): Deadline {
  const { signal } = call
  const controller = new AbortController()
  const timer = setTimeout(() => {
    controller.abort(new GatewayError('deadline_exceeded', `the model did not answer within ${ms} ms`))
  }, ms)
  const onAbort = (): void => {
    clearTimeout(timer)
    controller.abort(signal?.reason)
  }
  if (signal?.aborted) onAbort()
  else signal?.addEventListener('abort', onAbort, { once: true })
  return {
    call: { ...call, signal: controller.signal },
    over() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    },
  }
}
