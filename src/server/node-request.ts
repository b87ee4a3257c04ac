import type { IncomingMessage, ServerResponse } from 'node:http'
import { joined } from '../joined.ts'
import { folded, type IncomingRequest, notWhole, tooLarge } from './incoming-request.ts'
import { webHeaders } from './web-headers.ts'

/** A path that a URL leaves as it is: nothing to be escaped, and no `.` or `..` between its slashes. */
const plainPath = /^(?:\/(?!(?:\.|%2e){1,2}(?:\/|$))[\w!$&'()*+,;=:@%.~-]*)+$/i

const empty = new Uint8Array()

/** A message of Node's, read from there at once: a `Request` made of it would cost more than all that is asked of it. */
export class NodeRequest implements IncomingRequest {
  readonly method: string
  readonly path: string
  readonly #incoming: IncomingMessage
  readonly #outgoing: ServerResponse
  readonly #search: string
  #headers: Headers | undefined

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    const { method = 'GET', url = '/' } = incoming
    const query = url.indexOf('?')
    const path = query === -1 ? url : url.slice(0, query)
    this.method = method
    this.#incoming = incoming
    this.#outgoing = outgoing
    if (plainPath.test(path)) {
      this.path = folded(path)
      this.#search = query === -1 ? '' : url.slice(query)
    } else {
      const whole = parsed(url)
      this.path = whole ? folded(whole.pathname) : ''
      this.#search = whole?.search ?? ''
    }
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#search)
  }

  get headers(): Headers {
    this.#headers ??= webHeaders(this.#incoming.headers)
    return this.#headers
  }

  header(name: string): string | null {
    const value = this.#incoming.headers[name]
    return (Array.isArray(value) ? value.join(', ') : value) ?? null
  }

  bytes(limit: number): Promise<Uint8Array> {
    const incoming = this.#incoming
    if (incoming.destroyed) return Promise.reject(notWhole(incoming.errored))
    return incoming.complete && !incoming.readableFlowing ? this.#buffered(limit) : this.#arriving(limit)
  }

  /** Nearly always: a body that came with its head is here when the key of its request has been checked. */
  async #buffered(limit: number): Promise<Uint8Array> {
    const body: Buffer | null = this.#incoming.read()
    if (body === null) return empty
    if (body.length > limit) throw tooLarge(limit)
    return body
  }

  #arriving(limit: number): Promise<Uint8Array> {
    const incoming = this.#incoming
    return new Promise((resolve, reject) => {
      const pieces: Buffer[] = []
      let size = 0
      const onData = (piece: Buffer): void => {
        size += piece.length
        if (size > limit) fail(tooLarge(limit))
        else pieces.push(piece)
      }
      const onEnd = (): void => {
        release()
        resolve(joined(pieces))
      }
      const onClose = (): void => fail(notWhole(incoming.errored))
      const fail = (error: unknown): void => {
        release()
        // Node reads what is left of it, and forgets it, once it is answered.
        incoming.pause()
        reject(error)
      }
      const release = (): void => {
        incoming.off('data', onData).off('end', onEnd).off('close', onClose)
      }
      incoming.on('data', onData).on('end', onEnd).on('close', onClose)
    })
  }

  onLeave(leave: (reason: unknown) => void): void {
    const outgoing = this.#outgoing
    const onClose = (): void => {
      if (!outgoing.writableFinished) leave(new Error('the connection was closed'))
    }
    if (outgoing.closed) onClose()
    else outgoing.on('close', onClose)
  }
}

function parsed(url: string): URL | null {
  // A URL takes a backslash for a slash; whoever let this pass may have seen none.
  if (url.split('?', 1)[0]?.includes('\\')) return null
  return URL.parse(url.startsWith('/') ? `http://localhost${url}` : url)
}
