import { abortedCall } from '../llm/upstream-errors.ts'

/** Settles as the work does, unless the client leaves before: then the work is left behind, or not even begun. */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (!signal) return work()
  if (signal.aborted) throw abortedCall(signal.reason)
  const { promise: left, reject } = Promise.withResolvers<never>()
  const leave = (): void => reject(abortedCall(signal.reason))
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await Promise.race([left, work()])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
