import { environment } from '../env.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import { RequestContexts } from './request-contexts.ts'
import type { TraceIds } from './request-spans.ts'
import { type SDKOptions, startSDK } from './sdk.ts'
import { type TraceRequestsOptions, traceRequests } from './trace-requests.ts'

export type TracingOptions = Pick<TraceRequestsOptions, 'propagate' | 'content' | 'kinds'> &
  Pick<SDKOptions, 'onWarning'>

/** Traces that are being made. */
export interface Tracing {
  /** Where a request is to be found, until shortly after its end. */
  idsOf(requestId: string): TraceIds | undefined
  /** Sends what is left, for at most that many milliseconds, and stops. */
  close(timeoutMs: number): Promise<void>
}

/** Traces what the hooks tell, and exports it as the `OTEL_*` variables of the process say. */
export async function startTracing(hooks: HookBus, { onWarning, ...options }: TracingOptions): Promise<Tracing> {
  const contexts = new RequestContexts()
  const { tracer, close } = await startSDK({ contexts, env: environment(), onWarning })
  return { idsOf: traceRequests(hooks, { ...options, tracer, contexts }), close }
}
