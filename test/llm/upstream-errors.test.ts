import fc from 'fast-check'
import t from 'tap'
import { errors as undici } from 'undici'
import { GatewayError } from '../../src/index.ts'
import {
  abortedCall,
  responseFailure,
  streamErrorEvent,
  transportError,
  upstreamError,
} from '../../src/llm/upstream-errors.ts'
import { errorAnswer } from '../../src/server/errors.ts'
import { assertSchema } from '../openapi.ts'

const secret = 'org-upstream sk-gateway'
const envelope = (fields: object = {}): string =>
  JSON.stringify({ error: { message: secret, type: 'some_error', param: null, code: null, ...fields } })
const withCode = (code: string): Error => Object.assign(new Error(`${code} ${secret}`), { code })

/** What a client receives, checked against the contract. */
function answered(error: GatewayError) {
  const { status, headers, text } = errorAnswer(error)
  const body = JSON.parse(text)
  assertSchema('ErrorResponse', body)
  return { status, headers, text, error: body.error }
}

t.test("an error of the client's passes through with the upstream's own body", async (t) => {
  for (const status of [400, 404, 409, 413, 415, 422]) {
    const fields = {
      message: 'n must be below 8',
      type: 'invalid_request_error',
      param: 'n',
      code: 'too_many',
      more: [1],
    }
    const answer = answered(upstreamError(status, {}, envelope(fields)))
    t.equal(answer.status, status)
    t.strictSame(answer.error, fields)
  }
})

t.test('an explanation that is no envelope of OpenAI is put into one', async (t) => {
  for (const [text, message] of [
    ['{"object":"error","message":"too long","type":"BadRequestError","code":400}', 'too long'],
    ['{"detail":"not like this"}', 'not like this'],
    ['{"detail":[{"loc":["body","n"],"msg":"bad"}]}', '[{"loc":["body","n"],"msg":"bad"}]'],
    ['{"error":"model does not exist"}', 'model does not exist'],
    ['{"error":{"message":"m"}}', 'm'],
    ['{}', 'the upstream provider answered 422'],
    ['[]', 'the upstream provider answered 422'],
    ['<html>nginx</html>', 'the upstream provider answered 422'],
    ['', 'the upstream provider answered 422'],
  ] as const) {
    const answer = answered(upstreamError(422, {}, text))
    t.equal(answer.status, 422)
    t.match(answer.error, { message, type: 'invalid_request_error', param: null, code: null }, text)
  }
})

t.test("a refusal of the gateway's own key is no fault of the client's, and leaks nothing", async (t) => {
  for (const status of [401, 403]) {
    const answer = answered(upstreamError(status, {}, envelope()))
    t.match(answer, { status: 502, error: { type: 'server_error', code: 'upstream_auth_error' } })
    t.equal(answer.headers['x-should-retry'], 'false')
    t.notMatch(answer.text, /org-upstream|sk-gateway/)
  }
})

t.test('a rate limit stays one', async (t) => {
  t.test('with the time that the upstream names', async (t) => {
    const inTwentySeconds = new Date(Date.now() + 20_500).toUTCString()
    for (const [headers, seconds] of [
      [{}, /^1$/],
      [{ 'retry-after': '7' }, /^7$/],
      [{ 'retry-after': '0' }, /^1$/],
      [{ 'retry-after': '3600' }, /^60$/],
      [{ 'retry-after-ms': '2500' }, /^3$/],
      [{ 'retry-after-ms': '2500', 'retry-after': '9' }, /^3$/],
      [{ 'retry-after-ms': 'soon', 'retry-after': '9' }, /^9$/],
      [{ 'retry-after': inTwentySeconds }, /^(19|20|21)$/],
      [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, /^1$/],
      [{ 'retry-after': 'later' }, /^1$/],
    ] as const) {
      const answer = answered(upstreamError(429, headers, envelope()))
      t.match(answer, { status: 429, error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' } })
      t.match(answer.headers['retry-after'], seconds, JSON.stringify(headers))
      t.notMatch(answer.text, 'org-upstream')
    }
  })

  t.test('with the time that Google names in the body', async (t) => {
    const info = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '17s' }
    const body = {
      error: { code: 429, message: 'quota', status: 'RESOURCE_EXHAUSTED', details: [{ reason: 'x' }, info] },
    }
    t.equal(answered(upstreamError(429, {}, JSON.stringify(body))).headers['retry-after'], '17')
    t.equal(answered(upstreamError(429, { 'retry-after': '3' }, JSON.stringify(body))).headers['retry-after'], '3')
    for (const retryDelay of ['soon', 17, null, {}]) {
      const text = JSON.stringify({ error: { ...body.error, details: [{ retryDelay }, null] } })
      t.equal(answered(upstreamError(429, {}, text)).headers['retry-after'], '1')
    }
  })

  t.test('but a quota that is used up is not mended by a retry', async (t) => {
    const answer = answered(upstreamError(429, {}, envelope({ code: 'insufficient_quota' })))
    t.match(answer, { status: 429, error: { code: 'insufficient_quota' }, headers: { 'x-should-retry': 'false' } })
    t.ok('retry-after' in answer.headers, 'every 429 says when to come back')
    t.notMatch(answer.text, 'org-upstream')
  })
})

t.test('a failure of the upstream is its failure, and leaks nothing', async (t) => {
  for (const [status, sent, code] of [
    [500, 502, 'upstream_error'],
    [502, 502, 'upstream_error'],
    [501, 502, 'upstream_error'],
    [503, 503, 'upstream_overloaded'],
    [529, 503, 'upstream_overloaded'],
    [504, 504, 'upstream_timeout'],
    [408, 504, 'upstream_timeout'],
    [302, 502, 'upstream_error'],
    [304, 502, 'upstream_error'],
  ] as const) {
    const answer = answered(upstreamError(status, { location: secret }, envelope()))
    t.match(answer, { status: sent, error: { type: 'server_error', code } }, String(status))
    t.notMatch(JSON.stringify(answer), /org-upstream|sk-gateway/)
  }
  t.equal(answered(upstreamError(503, { 'retry-after': '4' }, '')).headers['retry-after'], '4')
})

t.test('whatever an upstream answers, the client gets an envelope with a status for it', async (t) => {
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    fc.record({ error: fc.jsonValue() }).map((body) => JSON.stringify(body)),
  )
  const property = fc.property(fc.integer({ min: 300, max: 599 }), text, (status, text) => {
    const answer = answered(upstreamError(status, {}, text))
    return answer.status >= 400 && answer.status < 600 && answer.status !== 401 && answer.status !== 403
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
})

t.test('the connection', async (t) => {
  for (const [cause, status, code] of [
    [withCode('ECONNREFUSED'), 503, 'upstream_unreachable'],
    [withCode('ENOTFOUND'), 503, 'upstream_unreachable'],
    [withCode('EAI_AGAIN'), 503, 'upstream_unreachable'],
    [withCode('EHOSTUNREACH'), 503, 'upstream_unreachable'],
    [new AggregateError([withCode('ECONNREFUSED'), withCode('ECONNREFUSED')]), 503, 'upstream_unreachable'],
    [new undici.ConnectTimeoutError(secret), 504, 'upstream_connect_timeout'],
    [withCode('ETIMEDOUT'), 504, 'upstream_connect_timeout'],
    [new undici.HeadersTimeoutError(secret), 504, 'upstream_first_token_timeout'],
    [new undici.BodyTimeoutError(secret), 504, 'upstream_idle_timeout'],
    [withCode('ECONNRESET'), 502, 'upstream_connection_lost'],
    [new undici.SocketError(secret), 502, 'upstream_connection_lost'],
    [withCode('EPIPE'), 502, 'upstream_connection_lost'],
    [new Error(secret), 502, 'upstream_connection_lost'],
    [new AggregateError([]), 502, 'upstream_connection_lost'],
  ] as const) {
    const error = transportError(cause)
    const answer = answered(error)
    t.match(answer, { status, error: { type: 'server_error', code } }, `${cause.name} ${cause.message}`)
    t.equal(error.cause, cause, 'what really happened is for the log')
    t.notMatch(answer.text, /org-upstream|sk-gateway/)
  }
})

t.test('an error event inside a stream', async (t) => {
  t.test('is judged by the status that it names', async (t) => {
    for (const [event, status, code] of [
      [{ message: 'slow down', code: 429 }, 429, 'rate_limit_exceeded'],
      [{ message: 'slow down', code: '429' }, 429, 'rate_limit_exceeded'],
      [{ message: 'bad key', status: 401 }, 502, 'upstream_auth_error'],
      [{ message: 'busy', code: 503 }, 503, 'upstream_overloaded'],
      [{ message: 'broken', code: 500 }, 502, 'upstream_error'],
    ] as const) {
      t.match(answered(streamErrorEvent(event)), { status, error: { code } }, JSON.stringify(event))
    }
    t.match(answered(streamErrorEvent({ message: 'n is too large', status: 400, param: 'n' })), {
      status: 400,
      error: { message: 'n is too large', param: 'n' },
    })
  })

  t.test('is the failure of the upstream when it names none', async (t) => {
    const events = [{ message: secret }, { message: secret, code: 'server_error' }, { code: 42 }, secret, null, [], 7]
    for (const event of events) {
      const answer = answered(streamErrorEvent(event))
      t.match(answer, { status: 502, error: { type: 'server_error', code: 'upstream_error' } }, JSON.stringify(event))
      t.notMatch(answer.text, 'org-upstream')
    }
  })
})

t.test('the error of a failed response is judged by its code', async (t) => {
  for (const [error, status, code] of [
    [{ code: 'server_error', message: secret }, 502, 'upstream_error'],
    [{ code: 'vector_store_timeout', message: secret }, 502, 'upstream_error'],
    [{ code: 'rate_limit_exceeded', message: secret }, 429, 'rate_limit_exceeded'],
    [{ code: 'insufficient_quota', message: secret }, 429, 'insufficient_quota'],
    [{ code: '503', message: secret }, 503, 'upstream_overloaded'],
    [{ message: secret }, 502, 'upstream_error'],
    [null, 502, 'upstream_error'],
  ] as const) {
    const answer = answered(responseFailure(error))
    t.match(answer, { status, error: { code } }, JSON.stringify(error))
    t.notMatch(answer.text, 'org-upstream')
  }
  t.match(answered(responseFailure({ code: 'image_too_large', message: 'Too large.', param: 'input' })), {
    status: 400,
    error: { type: 'invalid_request_error', code: 'image_too_large', message: 'Too large.', param: 'input' },
  })
})

t.test('a call that was aborted', async (t) => {
  const reason = new Error('left')
  t.match(abortedCall(reason), { kind: 'client_closed', status: 499, cause: reason })
  t.match(abortedCall(undefined), { kind: 'client_closed' })
  const stopping = new GatewayError('shutting_down', 'stopping')
  t.equal(abortedCall(stopping), stopping, 'has the reason that the gateway gave')
})
