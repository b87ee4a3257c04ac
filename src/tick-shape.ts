import { executionAsyncResource } from 'node:async_hooks'

let kept: object | undefined

/**
 * To be imported before anything else of the process. Keeps one of the objects that `process.nextTick` makes. V8 forgets what these look
 * like when it collects garbage while there is none, and never makes them in optimized code again: each of the dozen ticks of a
 * request is then a walk through V8's runtime, 5 us of CPU a request for the rest of the process's life (measured with `npm run
 * bench`). The garbage collection of the start is such a time.
 */
process.nextTick(() => {
  kept = executionAsyncResource()
})

/** What is kept, once the first tick is over. */
export const keptTick = (): object | undefined => kept
