/** Somebody else's code took too long. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** What the work comes to, unless it takes longer: then it is left to itself. */
export async function bounded<T>(ms: number, work: () => Promise<T> | T): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new TimeoutError(`it took longer than ${ms} ms`)), ms)
  try {
    return await Promise.race([(async () => work())(), late])
  } finally {
    clearTimeout(timer)
  }
}
