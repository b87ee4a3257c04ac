import type { GatewayError } from '../server/errors.ts'
import type { ResponseEvent, ResponseObject } from './response-types.ts'

/**
 * Makes a Response, and the events that tell of it, from the pieces of a provider's answer. Call `start` (for a background
 * response `queue` first), `add` for every piece, then one of `finish`, `fail` and `cancel`; each answers the events that are due.
 * After the end, nothing happens any more.
 */
export interface ResponseMaker<Piece> {
  readonly id: string
  /** The response as far as it has come: a copy, which does not grow. */
  readonly response: ResponseObject
  /** The number that the next event will have. */
  readonly sequence: number
  /** Why the response has failed, if it has. */
  readonly failure: GatewayError | undefined
  /** A background response has been taken in and waits for its turn. */
  queue(): ResponseEvent[]
  start(): ResponseEvent[]
  /** Never the event that ends the response: that is for `finish`. */
  add(piece: Piece): ResponseEvent[]
  /** The upstream has said all it had to say. If it has not said why it ended, its answer is not whole. */
  finish(): ResponseEvent[]
  fail(error: GatewayError): ResponseEvent[]
  /** The API has no event for it; `response.incomplete` is the one that ends a stream without an error. */
  cancel(): ResponseEvent[]
}
