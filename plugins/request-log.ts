import fp from 'fastify-plugin'
import type { HookEvents } from '../src/hooks/events.ts'
import { loggable } from '../src/server/errors.ts'

const probes = new Set(['/health', '/ready', '/metrics'])

/** Of a client that sends its body at leisure. */
const slowMs = 100

/** Levels of a log that has no lines of requests, not even of refused ones. */
const withoutRequests = new Set(['error', 'fatal', 'silent'])

/** In one copy, since there is one for every request: what is undefined is not written. */
const madeOf = <End extends HookEvents['onResponse'] | HookEvents['onBackgroundEnd']>(end: End) => ({
  ...end,
  durationMs: Math.round(end.durationMs * 10) / 10,
  receivedMs: 'receivedMs' in end && end.receivedMs >= slowMs ? Math.round(end.receivedMs) : undefined,
  usage: undefined,
  promptTokens: end.usage?.prompt_tokens,
  completionTokens: end.usage?.completion_tokens,
  estimated: end.usage?.estimated || undefined,
})

/** One line per request, and one per failure of the gateway or an upstream. Never a key, never what was said. */
export const requestLog = fp(
  async (app) => {
    const { hooks, log } = app
    /** Of a request, with where it is to be found among the traces. */
    const traced = <Line extends { requestId: string }>(line: Line): Line => {
      const ids = app.tracing?.idsOf(line.requestId)
      return ids ? { ...line, ...ids } : line
    }
    /** Why authentication refused a request, until that is over. */
    const refused = new Map<string, string>()
    hooks.on('onAuthFail', ({ requestId, reason }) => refused.set(requestId, reason))
    hooks.on('onResponse', (response) => {
      const reason = refused.size > 0 ? refused.get(response.requestId) : undefined
      if (reason !== undefined) refused.delete(response.requestId)
      if (withoutRequests.has(log.level)) return
      const line = traced(madeOf(response))
      if (reason !== undefined) log.warn({ ...line, reason }, 'request')
      else log[probes.has(response.route) ? 'debug' : 'info'](line, 'request')
    })
    hooks.on('onBackgroundEnd', (end) => log.info(traced(madeOf(end)), 'made in the background'))
    hooks.on('onWarning', ({ error, ...line }) =>
      log.warn(
        { ...traced(line), ...(error === undefined ? {} : { error: loggable(error) }) },
        'served with a warning',
      ),
    )
    hooks.on('onFallback', (line) => log.info(traced(line), 'fell back to another target'))
    hooks.on('onRetry', (line) => log.info(traced(line), 'a provider has failed and is asked again'))
    hooks.on('onRetryBudgetSpent', (line) => log.debug(traced(line), 'too many retries: none is made'))
    hooks.on('onBreaker', (line) =>
      log[line.state === 'open' ? 'warn' : 'info'](line, `the breaker of a target is ${line.state}`),
    )
    // Its reason may quote what was said.
    hooks.on('onGuardrail', ({ reason: _, ...line }) => log.warn(traced(line), 'a guardrail stopped a turn'))
    hooks.on('onWriteStall', (line) => log.warn(line, 'a client read nothing of its answer, and was dropped'))
    hooks.on('onTool', (line) => log[line.outcome === 'ok' ? 'debug' : 'info'](traced(line), 'tool'))
    hooks.on('onAdmin', (line) => log.info(traced(line), 'audit'))
    hooks.on('onError', ({ requestId, error }) =>
      log.error(traced({ requestId, error: loggable(error) }), 'request failed'),
    )
    hooks.on('onListenerError', ({ event, error }) =>
      log.error({ event, error: loggable(error) }, 'a hook listener failed'),
    )
  },
  { name: 'signalbox-request-log', dependencies: ['signalbox-hooks'] },
)
