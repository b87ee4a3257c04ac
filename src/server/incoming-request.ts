import { GatewayError } from './errors.ts'

/** A request as the server reads it, whatever it came by: a web-standard `Request`, or a message of Node's. */
export interface IncomingRequest {
  readonly method: string
  /** Of the address, without the query, with doubled and trailing slashes folded; empty when the address is none. */
  readonly path: string
  readonly query: URLSearchParams
  /** For those who are not of the server: plugins, loaders. */
  readonly headers: Headers
  /** The value of a header, by its name in lower case; null when there is none. */
  header(name: string): string | null
  /**
   * The body. Read once.
   *
   * @param limit Bytes. What turns out to be longer is not read to its end.
   * @throws GatewayError `body_too_large`, or `client_closed` when it never arrived whole
   */
  bytes(limit: number): Promise<Uint8Array>
  /** Calls `leave`, with the reason, when the client goes before it has its whole answer; at once, when it has gone already. */
  onLeave(leave: (reason: unknown) => void): void
}

export const tooLarge = (limit: number): GatewayError =>
  new GatewayError('body_too_large', `the request body is larger than ${limit} bytes`)

export const notWhole = (cause: unknown): GatewayError =>
  new GatewayError('client_closed', 'the request body did not arrive whole', { cause })

/** Doubled and trailing slashes folded. */
export function folded(path: string): string {
  if (!path.includes('//') && !path.endsWith('/')) return path
  return path.replace(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '')
}
