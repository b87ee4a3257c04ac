import { isObject } from '../json.ts'

/** Every error the gateway can raise: its HTTP status, and the `type` and `code` of OpenAI's envelope. Declared once, here. */
const catalogue = {
  invalid_request: { status: 400, type: 'invalid_request_error', code: null },
  unsupported: { status: 400, type: 'invalid_request_error', code: 'unsupported' },
  invalid_api_key: { status: 401, type: 'authentication_error', code: 'invalid_api_key' },
  admin_key_required: { status: 403, type: 'permission_error', code: 'admin_key_required' },
  model_not_allowed: { status: 403, type: 'permission_error', code: 'model_not_allowed' },
  model_not_found: { status: 404, type: 'not_found_error', code: 'model_not_found' },
  previous_response_not_found: { status: 400, type: 'invalid_request_error', code: 'previous_response_not_found' },
  not_found: { status: 404, type: 'not_found_error', code: 'not_found' },
  method_not_allowed: { status: 405, type: 'invalid_request_error', code: 'method_not_allowed' },
  request_timeout: { status: 408, type: 'invalid_request_error', code: 'request_timeout' },
  conversation_locked: { status: 409, type: 'invalid_request_error', code: 'conversation_locked' },
  key_revoked: { status: 409, type: 'invalid_request_error', code: 'key_revoked' },
  body_too_large: { status: 413, type: 'invalid_request_error', code: 'body_too_large' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', code: 'unsupported_media_type' },
  header_too_large: { status: 431, type: 'invalid_request_error', code: 'header_too_large' },
  /** nginx's number for a client that left before it was answered; nobody receives it, logs and metrics show it. */
  client_closed: { status: 499, type: 'invalid_request_error', code: 'client_closed' },
  upstream_rejected: { status: 400, type: 'invalid_request_error', code: null },
  upstream_rate_limited: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  upstream_quota_exceeded: { status: 429, type: 'rate_limit_error', code: 'insufficient_quota' },
  /** Of OpenAI's types: what there was too much of. */
  requests_limited: { status: 429, type: 'requests', code: 'rate_limit_exceeded' },
  tokens_limited: { status: 429, type: 'tokens', code: 'rate_limit_exceeded' },
  concurrency_limited: { status: 429, type: 'requests', code: 'concurrency_limit_exceeded' },
  /** The code by which clients know that waiting does not help. */
  budget_exceeded: { status: 429, type: 'insufficient_quota', code: 'insufficient_quota' },
  internal_error: { status: 500, type: 'server_error', code: 'internal_error' },
  upstream_auth_error: { status: 502, type: 'server_error', code: 'upstream_auth_error' },
  upstream_error: { status: 502, type: 'server_error', code: 'upstream_error' },
  upstream_connection_lost: { status: 502, type: 'server_error', code: 'upstream_connection_lost' },
  upstream_malformed: { status: 502, type: 'server_error', code: 'upstream_malformed' },
  upstream_truncated: { status: 502, type: 'server_error', code: 'upstream_truncated' },
  agent_loader_failed: { status: 502, type: 'server_error', code: 'agent_loader_failed' },
  overloaded: { status: 503, type: 'server_error', code: 'overloaded' },
  agent_loader_timeout: { status: 503, type: 'server_error', code: 'agent_loader_timeout' },
  response_interrupted: { status: 503, type: 'server_error', code: 'response_interrupted' },
  store_unavailable: { status: 503, type: 'server_error', code: 'store_unavailable' },
  upstream_unreachable: { status: 503, type: 'server_error', code: 'upstream_unreachable' },
  /** A breaker is open, or an operator has taken the target out: it was not asked. */
  target_unavailable: { status: 503, type: 'server_error', code: 'target_unavailable' },
  upstream_overloaded: { status: 503, type: 'server_error', code: 'upstream_overloaded' },
  target_drained: { status: 503, type: 'server_error', code: 'target_drained' },
  no_target_available: { status: 503, type: 'server_error', code: 'no_target_available' },
  shutting_down: { status: 503, type: 'server_error', code: 'shutting_down' },
  deadline_exceeded: { status: 504, type: 'server_error', code: 'deadline_exceeded' },
  upstream_connect_timeout: { status: 504, type: 'server_error', code: 'upstream_connect_timeout' },
  upstream_first_token_timeout: { status: 504, type: 'server_error', code: 'upstream_first_token_timeout' },
  upstream_idle_timeout: { status: 504, type: 'server_error', code: 'upstream_idle_timeout' },
  upstream_timeout: { status: 504, type: 'server_error', code: 'upstream_timeout' },
} as const satisfies Record<string, { status: number; type: string; code: string | null }>

export type ErrorKind = keyof typeof catalogue

/** What may stand as an error's code in logs and metrics: its code, or its type where it has none. */
export const errorCodes: ReadonlySet<string> = new Set(Object.values(catalogue).map(({ code, type }) => code ?? type))

/** OpenAI's error envelope: all four keys are always there. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null }
}

export interface GatewayErrorOptions {
  /** The field of the request that is wrong, as `messages[0].role`. */
  param?: string
  /** What really happened: for logs, never for clients. */
  cause?: unknown
  headers?: Record<string, string>
  /** Seconds after which a retry makes sense; sent as `Retry-After`, held between 1 and 60 (the SDKs ignore more). */
  retryAfter?: number
  /** Milliseconds that an upstream itself has asked to wait for; clients are told `retryAfter`. */
  askedWaitMs?: number | undefined
  /** Overrides the catalogue's status: for answers of an upstream that pass through. */
  status?: number
  /** Replaces the envelope: for answers of an upstream that pass through. */
  body?: object
}

/** An error with everything a client is to learn of it. */
export class GatewayError extends Error {
  readonly kind: ErrorKind
  readonly status: number
  readonly type: string
  readonly code: string | null
  readonly param: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly askedWaitMs: number | undefined
  readonly #body: object | undefined

  constructor(kind: ErrorKind, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'GatewayError'
    this.kind = kind
    this.status = options.status ?? catalogue[kind].status
    this.type = catalogue[kind].type
    this.code = catalogue[kind].code
    this.param = options.param ?? null
    this.headers =
      options.retryAfter === undefined
        ? (options.headers ?? {})
        : { ...options.headers, 'retry-after': String(Math.min(60, Math.max(1, Math.ceil(options.retryAfter)))) }
    this.askedWaitMs = options.askedWaitMs
    this.#body = options.body
  }

  toBody(): ErrorBody | object {
    const { message, type, param, code } = this
    return this.#body ?? { error: { message, type, param, code } }
  }
}

/**
 * What a client is told of any failure. Anything that is not a {@link GatewayError} is a bug of the gateway: 500, no
 * detail, and `x-should-retry: false`, since a retry would meet the same bug.
 */
export function toGatewayError(error: unknown, requestId: string): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('internal_error', `the gateway failed; please report the request id ${requestId}`, {
    cause: error,
    headers: { 'x-should-retry': 'false' },
  })
}

/** An error as an HTTP answer. */
export function errorAnswer(error: GatewayError): { status: number; headers: Record<string, string>; text: string } {
  const headers = { 'content-type': 'application/json', ...error.headers }
  return { status: error.status, headers, text: JSON.stringify(error.toBody()) }
}

/**
 * An upstream's own error body, completed to OpenAI's envelope if it nearly is one; undefined if it is something else.
 * Some servers leave out `param` or `code`, or put a number there, which the SDKs and our promise do not expect.
 */
export function completeEnvelope(body: unknown): ErrorBody | undefined {
  if (!isObject(body) || !isObject(body.error) || typeof body.error.message !== 'string') return undefined
  const { message, type, param, code } = body.error
  const completed = {
    message,
    type: typeof type === 'string' ? type : 'invalid_request_error',
    param: typeof param === 'string' ? param : null,
    code: typeof code === 'string' || typeof code === 'number' ? String(code) : null,
  }
  return { ...body, error: { ...body.error, ...completed } }
}

/** Only what we know an error to hold: providers' own errors carry requests and answers, which do not belong in a log. */
export function loggable(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) }
  const { name: type, message, stack, cause } = error
  const { code, status } = error as { code?: unknown; status?: unknown }
  const known = { type, message, code, status, stack }
  return cause instanceof Error
    ? { ...known, cause: { type: cause.name, message: cause.message, code: codeOf(cause) } }
    : known
}

const codeOf = (error: Error): unknown => ('code' in error ? error.code : undefined)
