import type { ResponseError } from 'openai/resources/responses/responses'
import { isObject } from '../json.ts'
import type { GatewayError } from '../server/errors.ts'
import { closingEvents, cutOff } from './closing-events.ts'
import type { EventBody, ResponseEvent, ResponseObject } from './response-types.ts'

/** What a client is told: the upstream's own words where they pass through. */
interface Told {
  message: string
  code: string | null
  param: string | null
}

function told(error: GatewayError): Told {
  const body = error.toBody()
  const { message, code, param } = 'error' in body && isObject(body.error) ? body.error : error
  return {
    message: typeof message === 'string' ? message : error.message,
    code: typeof code === 'string' ? code : null,
    param: typeof param === 'string' ? param : null,
  }
}

/** A stored response knows a handful of codes only. */
function codeOf(status: number): ResponseError['code'] {
  if (status === 429) return 'rate_limit_exceeded'
  return status >= 400 && status < 500 ? 'invalid_prompt' : 'server_error'
}

/** The error as a response holds it. */
export const responseError = (error: GatewayError): ResponseError => ({
  code: codeOf(error.status),
  message: told(error).message,
})

/** The event on which the SDKs raise. Flat: the `type` is the event's, not the error's. */
export const errorEvent = (error: GatewayError): EventBody => ({ type: 'error', ...told(error) })

/**
 * Ends a response whose process is gone, from what is left of it: its last snapshot, or `foldEvents` of its log.
 *
 * @param next The sequence number of the event that would have followed.
 */
export function abandoned(
  response: ResponseObject,
  error: GatewayError,
  next: number,
): { response: ResponseObject; events: ResponseEvent[] } {
  const failed: ResponseObject = {
    ...response,
    status: 'failed',
    error: responseError(error),
    output: response.output.map(cutOff),
  }
  const end: EventBody[] = [errorEvent(error), { type: 'response.failed', response: failed }]
  const events = [...closingEvents(response.output), ...end]
  return { response: failed, events: events.map((event, n) => numbered(event, next + n)) }
}

/** As {@link abandoned}, of one that its client does not want any more. */
export function calledOff(
  response: ResponseObject,
  next: number,
): { response: ResponseObject; events: ResponseEvent[] } {
  const cancelled: ResponseObject = { ...response, status: 'cancelled', output: response.output.map(cutOff) }
  const events = [...closingEvents(response.output), { type: 'response.incomplete' as const, response: cancelled }]
  return { response: cancelled, events: events.map((event, n) => numbered(event, next + n)) }
}

/** Gives an event its place in the stream. */
export const numbered = (event: EventBody, sequence_number: number): ResponseEvent => ({ ...event, sequence_number })
