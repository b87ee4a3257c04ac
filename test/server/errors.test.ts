import t from 'tap'
import { type ErrorKind, GatewayError } from '../../src/index.ts'
import { completeEnvelope, errorAnswer, toGatewayError } from '../../src/server/errors.ts'
import { assertSchema } from '../openapi.ts'

/** Status, type and code of every kind, as clients see them. A new kind does not compile until it is listed here. */
const promised: Record<ErrorKind, [status: number, type: string, code: string | null]> = {
  invalid_request: [400, 'invalid_request_error', null],
  unsupported: [400, 'invalid_request_error', 'unsupported'],
  invalid_api_key: [401, 'authentication_error', 'invalid_api_key'],
  admin_key_required: [403, 'permission_error', 'admin_key_required'],
  model_not_allowed: [403, 'permission_error', 'model_not_allowed'],
  model_not_found: [404, 'not_found_error', 'model_not_found'],
  previous_response_not_found: [400, 'invalid_request_error', 'previous_response_not_found'],
  not_found: [404, 'not_found_error', 'not_found'],
  method_not_allowed: [405, 'invalid_request_error', 'method_not_allowed'],
  request_timeout: [408, 'invalid_request_error', 'request_timeout'],
  conversation_locked: [409, 'invalid_request_error', 'conversation_locked'],
  key_revoked: [409, 'invalid_request_error', 'key_revoked'],
  body_too_large: [413, 'invalid_request_error', 'body_too_large'],
  unsupported_media_type: [415, 'invalid_request_error', 'unsupported_media_type'],
  header_too_large: [431, 'invalid_request_error', 'header_too_large'],
  client_closed: [499, 'invalid_request_error', 'client_closed'],
  upstream_rejected: [400, 'invalid_request_error', null],
  upstream_rate_limited: [429, 'rate_limit_error', 'rate_limit_exceeded'],
  upstream_quota_exceeded: [429, 'rate_limit_error', 'insufficient_quota'],
  requests_limited: [429, 'requests', 'rate_limit_exceeded'],
  tokens_limited: [429, 'tokens', 'rate_limit_exceeded'],
  concurrency_limited: [429, 'requests', 'concurrency_limit_exceeded'],
  budget_exceeded: [429, 'insufficient_quota', 'insufficient_quota'],
  internal_error: [500, 'server_error', 'internal_error'],
  upstream_auth_error: [502, 'server_error', 'upstream_auth_error'],
  upstream_error: [502, 'server_error', 'upstream_error'],
  upstream_connection_lost: [502, 'server_error', 'upstream_connection_lost'],
  upstream_malformed: [502, 'server_error', 'upstream_malformed'],
  upstream_truncated: [502, 'server_error', 'upstream_truncated'],
  agent_loader_failed: [502, 'server_error', 'agent_loader_failed'],
  overloaded: [503, 'server_error', 'overloaded'],
  agent_loader_timeout: [503, 'server_error', 'agent_loader_timeout'],
  response_interrupted: [503, 'server_error', 'response_interrupted'],
  store_unavailable: [503, 'server_error', 'store_unavailable'],
  upstream_unreachable: [503, 'server_error', 'upstream_unreachable'],
  target_unavailable: [503, 'server_error', 'target_unavailable'],
  upstream_overloaded: [503, 'server_error', 'upstream_overloaded'],
  target_drained: [503, 'server_error', 'target_drained'],
  no_target_available: [503, 'server_error', 'no_target_available'],
  shutting_down: [503, 'server_error', 'shutting_down'],
  deadline_exceeded: [504, 'server_error', 'deadline_exceeded'],
  upstream_connect_timeout: [504, 'server_error', 'upstream_connect_timeout'],
  upstream_first_token_timeout: [504, 'server_error', 'upstream_first_token_timeout'],
  upstream_idle_timeout: [504, 'server_error', 'upstream_idle_timeout'],
  upstream_timeout: [504, 'server_error', 'upstream_timeout'],
}

t.test('every kind of error is an OpenAI envelope with all four keys', async (t) => {
  for (const kind of Object.keys(promised) as ErrorKind[]) {
    const [status, type, code] = promised[kind]
    const answer = errorAnswer(new GatewayError(kind, 'what went wrong'))
    t.equal(answer.status, status, kind)
    t.equal(answer.headers['content-type'], 'application/json')
    const body = JSON.parse(answer.text)
    t.strictSame(body, { error: { message: 'what went wrong', type, param: null, code } }, kind)
    t.doesNotThrow(() => assertSchema('ErrorResponse', body), kind)
  }
})

t.test('an error names the field that is wrong', async (t) => {
  const error = new GatewayError('invalid_request', 'no', { param: 'messages[0].role' })
  t.match(error.toBody(), { error: { param: 'messages[0].role' } })
})

t.test('Retry-After is whole seconds from 1 to 60, as the SDKs honour them', async (t) => {
  const retryAfter = (seconds: number) =>
    new GatewayError('upstream_rate_limited', 'later', { retryAfter: seconds, headers: { 'x-other': 'kept' } }).headers
  for (const [seconds, sent] of [
    [-5, '1'],
    [0, '1'],
    [0.2, '1'],
    [1.01, '2'],
    [59, '59'],
    [60, '60'],
    [61, '60'],
    [86_400, '60'],
    [Number.POSITIVE_INFINITY, '60'],
  ] as const) {
    t.strictSame(retryAfter(seconds), { 'x-other': 'kept', 'retry-after': sent }, `${seconds} s`)
  }
  t.notOk('retry-after' in new GatewayError('upstream_rate_limited', 'no time is known').headers)
})

t.test('an answer of an upstream that passes through keeps its own status, headers and body', async (t) => {
  const body = { error: { message: 'theirs', type: 'their_type', param: 'n', code: 'their_code' }, more: 1 }
  const error = new GatewayError('upstream_rejected', 'ours', { status: 422, body, headers: { 'x-theirs': '1' } })
  const answer = errorAnswer(error)
  t.equal(answer.status, 422)
  t.equal(answer.headers['x-theirs'], '1')
  t.strictSame(JSON.parse(answer.text), body)
})

t.test('anything that is not a GatewayError is a bug: 500, no detail, the request id', async (t) => {
  class Custom extends Error {}
  for (const bug of [new TypeError('secret detail'), new Custom('secret detail'), 'secret detail', undefined, null]) {
    const error = toGatewayError(bug, 'req_42')
    t.match(error, { kind: 'internal_error', status: 500, cause: bug })
    t.equal(error.headers['x-should-retry'], 'false')
    const { text } = errorAnswer(error)
    t.match(text, 'req_42')
    t.notMatch(text, 'secret')
    assertSchema('ErrorResponse', JSON.parse(text))
  }
  const known = new GatewayError('not_found', 'no such thing')
  t.equal(toGatewayError(known, 'req_42'), known)
})

t.test('the cause stays out of the answer', async (t) => {
  const cause = new Error('secret detail')
  const error = new GatewayError('upstream_unreachable', 'cannot be reached', { cause })
  t.equal(error.cause, cause)
  t.notMatch(JSON.stringify(errorAnswer(error)), 'secret')
})

t.test("an upstream's error body is completed to the envelope", async (t) => {
  t.strictSame(completeEnvelope({ error: { message: 'm' } }), {
    error: { message: 'm', type: 'invalid_request_error', param: null, code: null },
  })

  t.test('and otherwise stays as it is', async (t) => {
    const whole = { error: { message: 'm', type: 't', param: 'p', code: 'c', inner: { a: 1 } }, request_id: 'r' }
    t.strictSame(completeEnvelope(whole), whole)
  })

  t.test('so that it is one, whatever its fields are', async (t) => {
    for (const error of [
      { message: 'm', type: null, param: null, code: null },
      { message: 'vLLM and OpenRouter send a number', type: 'BadRequestError', param: null, code: 400 },
      { message: 'm', type: 7, param: ['a'], code: {} },
    ]) {
      const completed = completeEnvelope({ error })
      t.equal(completed?.error.message, error.message)
      t.doesNotThrow(() => assertSchema('ErrorResponse', completed), JSON.stringify(error))
    }
  })

  t.test('unless it is nothing like one', async (t) => {
    for (const body of [
      undefined,
      null,
      'text',
      [],
      {},
      { error: 'text' },
      { error: { message: 1 } },
      { detail: 'm' },
    ]) {
      t.equal(completeEnvelope(body), undefined, JSON.stringify(body) ?? 'undefined')
    }
  })
})
