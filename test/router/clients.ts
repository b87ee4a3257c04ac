import type { CallOptions, ChatRequest, ErrorKind, LLMClient } from '../../src/index.ts'
import { createDemo, GatewayError } from '../../src/index.ts'

export const request: ChatRequest = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }

/** A target under the test's control, which answers as the demo model does. */
export interface Fake {
  client: LLMClient
  /** How often it was asked. */
  asked: number
  /** Makes it fail from now on; nothing: it answers again. */
  fail(kind?: ErrorKind, retryAfter?: number): void
  /** Makes it unavailable for this time; nothing: it takes requests again. */
  close(ms?: number): void
}

export function fake(name: string, { model = 'small' }: { model?: string } = {}): Fake {
  const demo = createDemo({ pace: 0 })
  let failure: (() => GatewayError) | undefined
  let waitMs: number | undefined
  const asked = async (): Promise<void> => {
    self.asked++
    if (failure) throw failure()
  }
  const self: Fake = {
    asked: 0,
    fail(kind, retryAfter) {
      failure = kind && (() => new GatewayError(kind, `${name} failed`, retryAfter === undefined ? {} : { retryAfter }))
    },
    close(ms) {
      waitMs = ms
    },
    client: {
      provider: name,
      model,
      async complete(request, call) {
        await asked()
        return demo.complete(request, call)
      },
      async *stream(request, call) {
        await asked()
        yield* demo.stream(request, call)
      },
      unavailableMs: () => waitMs,
    },
  }
  return self
}

/** Who was chosen, in order, for a call of these options. */
export function listening(options: CallOptions = {}): { call: CallOptions; chosen: string[]; fallbacks: string[] } {
  const chosen: string[] = []
  const fallbacks: string[] = []
  const call: CallOptions = {
    ...options,
    onTarget: ({ provider }) => void chosen.push(provider),
    onFallback: ({ from, to, reason }) => void fallbacks.push(`${from.provider} > ${to.provider}: ${reason}`),
  }
  return { call, chosen, fallbacks }
}

/** What it fails with; undefined when it does not. */
export const failureOf = (work: Promise<unknown> | (() => Promise<unknown>)): Promise<unknown> =>
  (typeof work === 'function' ? work() : work).then(
    () => undefined,
    (error: unknown) => error,
  )

/** Reads a stream to its end; the number of its pieces. */
export async function readAll(stream: AsyncIterable<unknown>): Promise<number> {
  let pieces = 0
  for await (const _ of stream) pieces++
  return pieces
}
