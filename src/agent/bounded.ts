/** Somebody else's code took too long. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** A timer for longer would go off at once. */
const longestTimerMs = 2 ** 31 - 1

/** What the work comes to, unless it takes longer: then it is left to itself. */
export async function bounded<T>(ms: number, work: () => Promise<T> | T): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const giveUp = (): void => reject(new TimeoutError(`it took longer than ${ms} ms`))
  const timer = setTimeout(giveUp, Math.min(ms, longestTimerMs))
  try {
    return await Promise.race([(async () => work())(), late])
  } finally {
    clearTimeout(timer)
  }
}
