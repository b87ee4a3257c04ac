import { GatewayError } from '../server/errors.ts'

/** What a target that takes no requests answers, at once. */
export const unavailable = (waitMs: number): GatewayError =>
  new GatewayError('target_unavailable', 'the model is not available: its provider has failed too often', {
    retryAfter: waitMs / 1000,
  })

export const isUnavailable = (error: unknown): boolean =>
  error instanceof GatewayError && error.kind === 'target_unavailable'
