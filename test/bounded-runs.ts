/**
 * So many runs of a property that asks a server, within half a minute. A failure is made smaller for as long as that, and not for
 * minutes, after which the whole file would be ended and nobody told what had failed; what hangs has failed, too.
 */
export const boundedRuns = (numRuns: number) => ({
  numRuns,
  interruptAfterTimeLimit: 30_000,
  markInterruptAsFailure: true,
})
