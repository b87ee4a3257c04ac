import { GatewayError } from '../server/errors.ts'

export const invalid = (param: string, message: string): GatewayError =>
  new GatewayError('invalid_request', message, { param })

/** For what chat completions have no words for. */
export const unsupported = (param: string, message: string): GatewayError =>
  new GatewayError('unsupported', message, { param })
