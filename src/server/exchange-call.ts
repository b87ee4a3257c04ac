import type { HookBus } from '../hooks/hook-bus.ts'
import { nameOf } from '../target.ts'
import type { AttemptObserver, AttemptStart, CacheReport, CallOptions } from '../types.ts'
import { subjectOf } from './exchange-events.ts'
import type { ExchangeFacts } from './exchange-facts.ts'

/** An exchange, as its upstream calls know it. */
interface Caller extends ExchangeFacts {
  warn(warning: string, cause?: unknown): void
  noteCache(report: CacheReport): void
}

/** Options for the upstream calls of an exchange: what goes on there, it and the hooks hear. */
export const callOf = (exchange: Caller, hooks: HookBus, signal: AbortSignal): CallOptions => ({
  signal,
  requestId: exchange.requestId,
  userId: exchange.userId,
  ...(exchange.conversationId === undefined ? {} : { conversationId: exchange.conversationId }),
  ...(exchange.threadId === undefined ? {} : { threadId: exchange.threadId }),
  onTarget: ({ provider, model }) => {
    exchange.provider = provider
    exchange.target = nameOf({ provider, model })
    exchange.askedTarget = { provider, model }
  },
  onFallback: ({ from, to, reason }) =>
    hooks.emit('onFallback', { ...subjectOf(exchange), from: nameOf(from), to: nameOf(to), reason }),
  onAsk: (request) => {
    exchange.bill.open = request
  },
  onWarning: (warning, cause) => exchange.warn(warning, cause),
  onUsage: (usage, target) => exchange.bill.add(usage, target),
  onAttempt: (start) => observerOf(exchange, hooks, exchange.attempts++, start),
  cacheControl: () => exchange.request.header('cache-control'),
  onCache: (report) => exchange.noteCache(report),
  onRetry: (retry) => hooks.emit('onRetry', { ...subjectOf(exchange), ...retry }),
  onRetryBudgetSpent: (retry) => hooks.emit('onRetryBudgetSpent', { ...subjectOf(exchange), ...retry }),
  onStep: (step) => hooks.emit('onStep', { ...subjectOf(exchange), step }),
  onConversation: (report) => hooks.emit('onConversation', { ...subjectOf(exchange), ...report }),
  onTool: (report) => hooks.emit('onTool', { ...subjectOf(exchange), ...report }),
  onGuardrail: (report) => {
    exchange.stopped = true
    hooks.emit('onGuardrail', { ...subjectOf(exchange), ...report })
  },
})

const attemptEvents = ['onAttempt', 'onFirstToken', 'onAttemptEnd'] as const

function observerOf(
  exchange: ExchangeFacts,
  hooks: HookBus,
  number: number,
  start: AttemptStart,
): AttemptObserver | undefined {
  if (!attemptEvents.some((name) => hooks.listens(name))) return undefined
  const attempt = { ...subjectOf(exchange), attempt: number }
  const headers: Record<string, string> = {}
  let keepsAnswer = false
  const keepAnswer = (): void => {
    keepsAnswer = true
  }
  hooks.emit('onAttempt', { ...attempt, ...start, headers, keepAnswer })
  return {
    headers,
    keepsAnswer,
    onFirstToken: () => hooks.emit('onFirstToken', { ...attempt, target: start.target }),
    onEnd: (end) => hooks.emit('onAttemptEnd', { ...attempt, ...start, ...end }),
  }
}
