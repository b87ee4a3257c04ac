import {
  APICallError,
  InvalidArgumentError,
  InvalidPromptError,
  LoadAPIKeyError,
  LoadSettingError,
  NoSuchModelError,
  NoSuchProviderReferenceError,
  TooManyEmbeddingValuesForCallError,
  UnsupportedFunctionalityError,
} from '@ai-sdk/provider'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import { streamErrorEvent, upstreamError } from './upstream-errors.ts'

/** What the AI SDK throws when a request cannot be said in the provider's own format. */
const impossible = [
  InvalidArgumentError,
  InvalidPromptError,
  NoSuchProviderReferenceError,
  TooManyEmbeddingValuesForCallError,
  UnsupportedFunctionalityError,
]

/** What the AI SDK throws, or sends as an `error` part of a stream, by the gateway's failure table. */
export function sdkError(error: unknown): GatewayError {
  const known = gatewayErrorIn(error)
  if (known) return blamed(known)
  if (APICallError.isInstance(error) && error.statusCode !== undefined && error.statusCode >= 400) {
    return upstreamError(error.statusCode, error.responseHeaders ?? {}, error.responseBody ?? '')
  }
  if (impossible.some((type) => type.isInstance(error)) && error instanceof Error) {
    return new GatewayError('invalid_request', error.message, { cause: error })
  }
  if (NoSuchModelError.isInstance(error)) {
    return new GatewayError('unsupported', error.message, { param: 'model', cause: error })
  }
  if (LoadAPIKeyError.isInstance(error) || LoadSettingError.isInstance(error)) {
    return new GatewayError('upstream_auth_error', "the gateway's credentials for the provider are incomplete", {
      cause: error,
      headers: { 'x-should-retry': 'false' },
    })
  }
  if (isObject(error) && !(error instanceof Error) && 'statusCode' in error) {
    return streamErrorEvent({ message: error.message, type: error.type, code: error.statusCode })
  }
  return new GatewayError('upstream_malformed', 'the upstream provider sent an answer that cannot be understood', {
    cause: error,
  })
}

/** The AI SDK wraps what its `fetch` fails with, here a `GatewayError`, in errors of its own. */
function gatewayErrorIn(error: unknown): GatewayError | undefined {
  for (let each = error; each instanceof Error; each = each.cause) if (each instanceof GatewayError) return each
  return undefined
}

/** What no client can mend, though the provider says 400: a key that Google does not know, an account of Anthropic's without credit. */
function blamed(error: GatewayError): GatewayError {
  const { error: explanation } = error.toBody() as { error?: { details?: unknown; message?: unknown } }
  const details: unknown[] = Array.isArray(explanation?.details) ? explanation.details : []
  if (details.some((detail) => isObject(detail) && detail.reason === 'API_KEY_INVALID')) {
    return upstreamError(401, {}, '')
  }
  if (
    /^Your credit balance is too low|^You have reached your specified .*usage limits/.test(`${explanation?.message}`)
  ) {
    return upstreamError(429, {}, '{"error":{"message":"","code":"insufficient_quota"}}')
  }
  return error
}
