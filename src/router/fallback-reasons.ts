import { type ErrorKind, GatewayError } from '../server/errors.ts'
import type { FallbackReason } from '../types.ts'

/** After which failures another target is asked, unless the operator says otherwise. */
export const usualReasons: readonly FallbackReason[] = [
  'server_error',
  'connection',
  'timeout',
  'first_token_timeout',
  'rate_limit',
]

const reasons: Partial<Record<ErrorKind, FallbackReason>> = {
  upstream_error: 'server_error',
  upstream_malformed: 'server_error',
  upstream_truncated: 'server_error',
  upstream_overloaded: 'server_error',
  upstream_unreachable: 'connection',
  upstream_connection_lost: 'connection',
  upstream_connect_timeout: 'timeout',
  upstream_idle_timeout: 'timeout',
  upstream_timeout: 'timeout',
  upstream_first_token_timeout: 'first_token_timeout',
  upstream_rate_limited: 'rate_limit',
  upstream_quota_exceeded: 'rate_limit',
  upstream_auth_error: 'auth',
  no_target_available: 'unavailable',
  target_drained: 'unavailable',
  target_unavailable: 'unavailable',
}

/** Why another target could do better; undefined for what the client got wrong, and for what is a fault of the gateway's. */
export function reasonOf(error: unknown): FallbackReason | undefined {
  if (!(error instanceof GatewayError)) return undefined
  if (error.kind === 'upstream_rejected') return isTooLong(error) ? 'context_length' : undefined
  return reasons[error.kind]
}

/** OpenAI has a code for it; others have words: Anthropic, Google, Bedrock, Mistral, vLLM, in this order. */
const tooLong =
  /prompt is too long|input token count .*exceeds|input is too long|too large for model with|maximum (context|model) length/i

function isTooLong(error: GatewayError): boolean {
  const { error: told } = error.toBody() as { error?: { code?: unknown; message?: unknown } }
  return told?.code === 'context_length_exceeded' || tooLong.test(`${told?.message ?? error.message}`)
}
