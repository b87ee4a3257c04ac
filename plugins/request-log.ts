import fp from 'fastify-plugin'

const probes = new Set(['/health', '/ready'])

/** One line per request, and one per failure of the gateway or an upstream. Never a key, never what was said. */
export const requestLog = fp(
  async (app) => {
    const { hooks, log } = app
    hooks.on('onResponse', ({ usage, durationMs, ...line }) => {
      const level = probes.has(line.route) ? 'debug' : 'info'
      const tokens = usage && {
        promptTokens: usage.prompt_tokens,
        completionTokens: usage.completion_tokens,
        ...(usage.estimated ? { estimated: true } : {}),
      }
      log[level]({ ...line, durationMs: Math.round(durationMs * 10) / 10, ...tokens }, 'request')
    })
    hooks.on('onAuthFail', ({ requestId, reason }) => log.warn({ requestId, reason }, 'authentication failed'))
    hooks.on('onError', ({ requestId, error }) => log.error({ requestId, error: described(error) }, 'request failed'))
    hooks.on('onListenerError', ({ event, error }) =>
      log.error({ event, error: described(error) }, 'a hook listener failed'),
    )
  },
  { name: 'signalbox-request-log', dependencies: ['signalbox-hooks'] },
)

/** Only what we know an error to hold: providers' own errors carry requests and answers, which do not belong in a log. */
function described(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) }
  const { name: type, message, stack, cause } = error
  const { code, status } = error as { code?: unknown; status?: unknown }
  const known = { type, message, code, status, stack }
  return cause instanceof Error
    ? { ...known, cause: { type: cause.name, message: cause.message, code: codeOf(cause) } }
    : known
}

const codeOf = (error: Error): unknown => ('code' in error ? error.code : undefined)
