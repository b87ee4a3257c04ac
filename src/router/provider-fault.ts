import { type ErrorKind, GatewayError } from '../server/errors.ts'

/** What a provider, or the way to it, is to blame for. */
const faults: ReadonlySet<ErrorKind> = new Set([
  'upstream_error',
  'upstream_connection_lost',
  'upstream_truncated',
  'upstream_unreachable',
  'upstream_overloaded',
  'upstream_connect_timeout',
  'upstream_first_token_timeout',
  'upstream_idle_timeout',
  'upstream_timeout',
])

/** Its provider has failed: it is down, broken or too slow. A refusal, a limit and a client that left are no such thing. */
export const isProviderFault = (error: unknown): boolean => error instanceof GatewayError && faults.has(error.kind)

/** It may well succeed when it is asked once more. */
export const isRetryable = (error: unknown): error is GatewayError =>
  error instanceof GatewayError &&
  (faults.has(error.kind) || error.kind === 'upstream_rate_limited') &&
  error.headers['x-should-retry'] !== 'false'
