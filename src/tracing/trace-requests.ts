import {
  type Context,
  createContextKey,
  propagation,
  ROOT_CONTEXT,
  type TextMapGetter,
  type Tracer,
} from '@opentelemetry/api'
import type { HookEvents } from '../hooks/events.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import type { RequestContexts } from './request-contexts.ts'
import { RequestSpans, type TraceIds } from './request-spans.ts'

export interface TraceRequestsOptions {
  tracer: Tracer
  contexts: RequestContexts
  /** Hand the trace on to providers. Default true. */
  propagate?: boolean | undefined
  /** Write down what was said to a model, and what it answered. Default false. */
  content?: boolean | undefined
  /** What providers with names of their own are, as in the configuration. */
  kinds?: Readonly<Record<string, string>> | undefined
}

/** Asked for by machines every few seconds: nobody looks for these among the traces. */
const probes = new Set(['/health', '/ready', '/metrics'])

/** As many requests as a process can have open. Those that never end are given up for newer ones. */
const mostRequests = 20_000

const spansKey = createContextKey('the spans of the request')

type Header = NonNullable<HookEvents['onRequest']['header']>
const getter: TextMapGetter<Header> = { get: (header, name) => header(name) ?? undefined, keys: () => [] }

/**
 * Makes spans of what the hooks tell of each request. What they tell of the store names no request: it belongs to the one in
 * whose context it was asked, and to none outside of all.
 */
export function traceRequests(
  hooks: HookBus,
  options: TraceRequestsOptions,
): (requestId: string) => TraceIds | undefined {
  const { tracer, contexts, propagate = true, content = false, kinds = {} } = options
  const spansOptions = { tracer, content, kinds }
  const requests = new Map<string, RequestSpans>()

  const current = (): RequestSpans | undefined => contexts.active().getValue(spansKey) as RequestSpans | undefined

  /** What is made in the background goes on, in the request's context, when the request is over. */
  const find = ({ requestId }: { requestId: string }): RequestSpans | undefined => {
    const open = requests.get(requestId)
    if (open) return open
    const spans = current()
    return spans?.requestId === requestId ? spans : undefined
  }
  const recording = (event: { requestId: string }): RequestSpans | undefined => {
    const spans = find(event)
    return spans?.isRecorded ? spans : undefined
  }
  const inject = (context: Context, headers: Record<string, string>): void => {
    if (propagate) propagation.inject(context, headers)
  }

  hooks.on('onRequest', (request) => {
    if (probes.has(request.path)) return contexts.enter(ROOT_CONTEXT)
    const extracted = request.header ? propagation.extract(ROOT_CONTEXT, request.header, getter) : ROOT_CONTEXT
    // What callers tell each other is none of a provider's business.
    const parent = propagation.getBaggage(extracted) ? propagation.deleteBaggage(extracted) : extracted
    const spans = new RequestSpans(request, parent, spansOptions)
    if (requests.size >= mostRequests) forgetOldest(requests)
    requests.set(request.requestId, spans)
    contexts.enter(spans.context.setValue(spansKey, spans))
  })
  hooks.on('onAttempt', (event) => {
    const spans = find(event)
    if (spans) inject(spans.isRecorded ? spans.onAttempt(event) : spans.context, event.headers)
  })
  hooks.on('onAttemptEnd', (event) => {
    const spans = recording(event)
    spans?.onAttemptEnd(event)
    if (spans?.isDone) requests.delete(event.requestId)
  })
  hooks.on('onResponse', (event) => {
    const spans = find(event)
    if (spans?.isRecorded) spans.onResponse(event)
    // Those who hear of the end after this one may want to know its ids.
    if (!spans?.isRecorded || spans.isDone) queueMicrotask(() => requests.delete(event.requestId))
  })
  hooks.on('onRoute', (event) => recording(event)?.onRoute(event))
  hooks.on('onFirstToken', (event) => recording(event)?.onFirstToken(event))
  hooks.on('onFallback', (event) => recording(event)?.onFallback(event))
  hooks.on('onRetry', (event) => recording(event)?.onRetry(event))
  hooks.on('onStep', (event) => recording(event)?.onStep(event))
  hooks.on('onTool', (event) => recording(event)?.onTool(event))
  hooks.on('onGuardrail', (event) => recording(event)?.onGuardrail(event))
  hooks.on('onRateLimited', (event) => recording(event)?.onRateLimited(event))
  hooks.on('onConversation', (event) => recording(event)?.onConversation(event))
  hooks.on('onCompletion', (event) => recording(event)?.onLateEnd())
  hooks.on('onError', (event) => recording(event)?.onLateEnd())
  hooks.on('onStore', (report) => {
    const spans = current()
    if (spans?.isRecorded) spans.onStore(report)
  })

  return (requestId) => find({ requestId })?.ids
}

function forgetOldest(requests: Map<string, RequestSpans>): void {
  for (const [requestId, spans] of requests) {
    requests.delete(requestId)
    spans.abandon()
    return
  }
}
