import type { IncomingHttpHeaders } from 'node:http'
import { isObject, parseJSON } from '../json.ts'
import { completeEnvelope, type ErrorKind, GatewayError, type GatewayErrorOptions } from '../server/errors.ts'

const unreachable = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'])
const timeouts = {
  UND_ERR_CONNECT_TIMEOUT: ['upstream_connect_timeout', 'the upstream provider did not accept a connection in time'],
  ETIMEDOUT: ['upstream_connect_timeout', 'the upstream provider did not accept a connection in time'],
  UND_ERR_HEADERS_TIMEOUT: ['upstream_first_token_timeout', 'the upstream provider did not start to answer in time'],
  UND_ERR_BODY_TIMEOUT: ['upstream_idle_timeout', 'the upstream provider stopped answering'],
} as const satisfies Record<string, [ErrorKind, string]>

function timedOut(code: keyof typeof timeouts, cause?: Error): GatewayError {
  const [kind, message] = timeouts[code]
  return new GatewayError(kind, message, { cause })
}

const isTimeout = (code: string): code is keyof typeof timeouts => Object.hasOwn(timeouts, code)

/** A failure of the connection, as the client is to see it. The text of the system's error stays in `cause`. */
export function transportError(cause: Error): GatewayError {
  const code = errorCode(cause)
  if (isTimeout(code)) return timedOut(code, cause)
  if (unreachable.has(code)) {
    return new GatewayError('upstream_unreachable', 'the upstream provider cannot be reached', { cause, retryAfter: 1 })
  }
  return new GatewayError('upstream_connection_lost', 'the connection to the upstream provider was lost', { cause })
}

/** A provider that says nothing, or nothing more. */
export const silent = (kind: 'upstream_first_token_timeout' | 'upstream_idle_timeout'): GatewayError =>
  timedOut(kind === 'upstream_idle_timeout' ? 'UND_ERR_BODY_TIMEOUT' : 'UND_ERR_HEADERS_TIMEOUT')

/** With several addresses tried, Node wraps one error per address. */
function errorCode(error: Error): string {
  if ('code' in error && typeof error.code === 'string') return error.code
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return errorCode(error.errors[0])
  return ''
}

/** A call that its caller aborted; a reason that already is an error of the gateway stays what it is. */
export const abortedCall = (reason: unknown): GatewayError =>
  reason instanceof GatewayError
    ? reason
    : new GatewayError('client_closed', 'the client closed the request', { cause: reason })

/**
 * An upstream's error answer by the gateway's failure table: what the client got wrong passes through with the
 * upstream's own body, what the gateway or the upstream got wrong says so and leaks nothing.
 */
export function upstreamError(status: number, headers: IncomingHttpHeaders, text: string): GatewayError {
  const body = tryParse(text)
  const cause = new Error(`upstream answered ${status}`)
  const retryAfter = parseRetryAfter(headers) ?? retryDelayIn(body)
  const asked = {
    ...(retryAfter === undefined ? {} : { askedWaitMs: Math.max(0, retryAfter * 1000) }),
    ...(headers['x-should-retry'] === 'false' ? { headers: { 'x-should-retry': 'false' } } : {}),
  }
  switch (status) {
    case 401:
    case 402:
    case 403:
    case 407: // of the gateway's own proxy
      return new GatewayError('upstream_auth_error', "the upstream provider refused the gateway's credentials", {
        cause,
        headers: { 'x-should-retry': 'false' },
      })
    case 408:
    case 504:
      return new GatewayError('upstream_timeout', 'the upstream provider timed out', { cause, ...asked })
    case 429:
      return rateLimited(body, { cause, retryAfter: retryAfter ?? 1, ...asked })
    case 503:
    case 529: // Anthropic's "overloaded"
      return new GatewayError('upstream_overloaded', 'the upstream provider is overloaded', {
        cause,
        retryAfter: retryAfter ?? 1,
        ...asked,
      })
  }
  if (status < 400 || status >= 500) {
    return new GatewayError('upstream_error', `the upstream provider failed with status ${status}`, { cause, ...asked })
  }
  return new GatewayError('upstream_rejected', rejection(body) ?? `the upstream provider answered ${status}`, {
    cause,
    status,
    ...passThrough(body),
    // The SDKs retry a conflict, and want to be told when.
    ...(status === 409 ? { retryAfter: retryAfter ?? 1 } : {}),
  })
}

/**
 * An `{"error": …}` event inside a stream. Some providers put the HTTP status there as a numeric `code`; without one
 * nothing says that the request was at fault, so the upstream is.
 */
export function streamErrorEvent(error: unknown): GatewayError {
  const status = isObject(error) ? Number(error.code ?? error.status) : Number.NaN
  if (status >= 400 && status < 600) return upstreamError(status, {}, JSON.stringify({ error }))
  return new GatewayError('upstream_error', 'the upstream provider broke off its answer', {
    cause: new Error('upstream sent an error event'),
  })
}

/** What of the codes of a failed Response is nobody's fault who asked. */
const limits = new Set(['rate_limit_exceeded', 'insufficient_quota'])
const ownFaults = new Set(['server_error', 'internal_error', 'vector_store_timeout', 'server_is_overloaded', 'timeout'])

/** The `error` of a failed Response, or of an event that breaks it off: its `code` is a word. */
export function responseFailure(error: unknown): GatewayError {
  if (!isObject(error) || typeof error.code !== 'string' || !Number.isNaN(Number(error.code))) {
    return streamErrorEvent(error)
  }
  const { code, message, param } = error
  const status = limits.has(code) ? 429 : ownFaults.has(code) ? 500 : 400
  const told = { message, type: 'invalid_request_error', param: param ?? null, code }
  return upstreamError(status, {}, JSON.stringify({ error: told }))
}

/** An account without credit is not mended by a retry; a rate limit is. */
function rateLimited(body: unknown, options: GatewayErrorOptions): GatewayError {
  const code = completeEnvelope(body)?.error.code
  if (code === 'insufficient_quota') {
    const headers = { 'x-should-retry': 'false' }
    return new GatewayError('upstream_quota_exceeded', "the gateway's quota at the upstream provider is used up", {
      ...options,
      headers,
    })
  }
  return new GatewayError('upstream_rate_limited', 'the upstream provider limits the rate; retry later', options)
}

function passThrough(body: unknown): { body?: object } {
  const envelope = completeEnvelope(body)
  return envelope ? { body: envelope } : {}
}

/** The explanation in an error body that is not OpenAI's: vLLM's `message`, FastAPI's `detail`, Ollama's `error`. */
function rejection(body: unknown): string | undefined {
  if (!isObject(body)) return undefined
  const nested = isObject(body.error) ? body.error.message : body.error
  const text = nested ?? body.message ?? body.detail
  return typeof text === 'string' ? text : text === undefined ? undefined : JSON.stringify(text)
}

function tryParse(text: string): unknown {
  try {
    return parseJSON(text)
  } catch {
    return undefined
  }
}

/** Seconds, as Google tells them: in the body, as a detail `{"@type": "…/google.rpc.RetryInfo", "retryDelay": "17s"}`. */
function retryDelayIn(body: unknown): number | undefined {
  const details = isObject(body) && isObject(body.error) ? body.error.details : undefined
  if (!Array.isArray(details)) return undefined
  const delays = details.flatMap((detail: unknown) => (isObject(detail) ? [String(detail.retryDelay)] : []))
  const [, seconds] = delays.map((delay) => /^(\d+(?:\.\d+)?)s$/.exec(delay)).find(Boolean) ?? []
  return seconds === undefined ? undefined : Number(seconds)
}

/** Seconds from `retry-after-ms`, or from `Retry-After` as seconds or as a date (RFC 9110, 10.2.3). */
function parseRetryAfter(headers: IncomingHttpHeaders): number | undefined {
  const milliseconds = Number(headers['retry-after-ms'] ?? Number.NaN)
  if (milliseconds > 0) return milliseconds / 1000
  const value = headers['retry-after']
  if (value === undefined) return undefined
  const seconds = Number(value)
  if (seconds >= 0) return seconds
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : (date - Date.now()) / 1000
}
