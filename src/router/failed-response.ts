import { isObject } from '../json.ts'
import { responseFailure } from '../llm/upstream-errors.ts'
import type { GatewayError } from '../server/errors.ts'
import type { ProviderEvent, ProviderResponse } from '../types.ts'

/** What a provider answers that has taken a request for a response, and could not make it: it says so in a response. */
export const faultOfResponse = ({ status, error }: ProviderResponse): GatewayError | undefined =>
  status === 'failed' ? responseFailure(error) : undefined

/** The same as the event that ends a stream. */
export const faultOfEvent = ({ type, response }: ProviderEvent): GatewayError | undefined =>
  type === 'response.failed' ? responseFailure(isObject(response) ? response.error : undefined) : undefined
