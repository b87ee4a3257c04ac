import type { HookEvents, Outcome } from '../hooks/events.ts'
import type { GatewayError } from './errors.ts'
import type { ExchangeFacts } from './exchange-facts.ts'

/** Which exchange an event is of. */
export const subjectOf = ({ requestId, model }: ExchangeFacts): { requestId: string; model?: string } => ({
  requestId,
  ...(model === undefined ? {} : { model }),
})

/** Who answers. */
export const routeOf = (exchange: ExchangeFacts, isAgent: boolean, isTurn: boolean): HookEvents['onRoute'] => {
  const { requestId, route, model = '_other', provider = '_other', conversationId } = exchange
  const turn = isTurn && conversationId !== undefined ? { isTurn, conversationId } : { isTurn }
  return { requestId, route, model, provider, isAgent, ...turn }
}

/** What the model delivered, and what it cost. */
export const completionOf = (exchange: ExchangeFacts, costUsd: number | 'unknown'): HookEvents['onCompletion'] => {
  const { requestId, userId, principal, stream, usage, firstTokenMs, isCopy } = exchange
  const { model = '_other', provider = '_other' } = exchange
  const keyId = principal?.keyId
  return {
    requestId,
    userId,
    ...(keyId === undefined ? {} : { keyId }),
    model,
    provider,
    stream,
    usage,
    costUsd,
    ...(isCopy ? { cached: true } : {}),
    durationMs: exchange.elapsed(),
    ...(firstTokenMs === undefined ? {} : { firstTokenMs }),
  }
}

/** How the request was answered. */
export const responseOf = (
  exchange: ExchangeFacts,
  status: number,
  outcome: Outcome,
  errorCode: string | undefined,
): HookEvents['onResponse'] => {
  const { requestId, request, route, userId, model, provider, target, stream, usage, costUsd, cache } = exchange
  return {
    requestId,
    method: request.method,
    route,
    status,
    outcome,
    userId,
    stream,
    durationMs: exchange.elapsed(),
    receivedMs: exchange.receivedMs,
    ...(errorCode === undefined ? {} : { errorCode }),
    ...(model === undefined ? {} : { model }),
    ...(provider === undefined ? {} : { provider }),
    ...(target === undefined ? {} : { target }),
    ...(usage === undefined ? {} : { usage }),
    ...(costUsd === undefined ? {} : { costUsd }),
    ...(cache === undefined ? {} : { cache: cache.outcome }),
  }
}

/** How what went on after the answer has ended. */
export const backgroundEndOf = (
  exchange: ExchangeFacts,
  failure: GatewayError | undefined,
): HookEvents['onBackgroundEnd'] => {
  const { requestId, route, userId, model, provider, target, usage, costUsd } = exchange
  const isClosed = failure?.kind === 'client_closed'
  return {
    requestId,
    route,
    userId,
    outcome: isClosed ? 'cancelled' : failure ? 'error' : 'ok',
    durationMs: exchange.elapsed(),
    ...(failure && !isClosed ? { errorCode: failure.code ?? failure.type } : {}),
    ...(model === undefined ? {} : { model }),
    ...(provider === undefined ? {} : { provider }),
    ...(target === undefined ? {} : { target }),
    ...(usage === undefined ? {} : { usage }),
    ...(costUsd === undefined ? {} : { costUsd }),
  }
}
