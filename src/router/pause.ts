import { abortedCall } from '../llm/upstream-errors.ts'

/** A time of waiting that ends early: with an error when the call is aborted, without one by {@link end}. */
export class Pause {
  /** Rejects with the `GatewayError` of the abort. */
  readonly over: Promise<void>
  readonly end: () => void

  constructor(ms: number, signal: AbortSignal | undefined) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.over = promise
    const settle = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    const onAbort = (): void => {
      settle()
      reject(abortedCall(signal?.reason))
    }
    this.end = () => {
      settle()
      resolve()
    }
    const timer = setTimeout(this.end, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted) onAbort()
  }
}
