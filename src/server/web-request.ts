import { joined } from '../joined.ts'
import { folded, type IncomingRequest, notWhole, tooLarge } from './incoming-request.ts'

/** A web-standard `Request`, from any runtime. */
export class WebRequest implements IncomingRequest {
  readonly method: string
  readonly path: string
  readonly headers: Headers
  readonly #request: Request

  constructor(request: Request) {
    this.method = request.method
    this.path = pathOf(request.url)
    this.headers = request.headers
    this.#request = request
  }

  get query(): URLSearchParams {
    return new URL(this.#request.url).searchParams
  }

  header(name: string): string | null {
    return this.headers.get(name)
  }

  async bytes(limit: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let size = 0
    try {
      // In pieces: outside HTTP nothing holds a body to its declared length.
      for await (const piece of this.#request.body ?? []) {
        size += piece.byteLength
        if (size > limit) break
        pieces.push(piece)
      }
    } catch (error) {
      throw notWhole(error)
    }
    if (size > limit) throw tooLarge(limit)
    return joined(pieces)
  }

  onLeave(leave: (reason: unknown) => void): void {
    const { signal } = this.#request
    if (signal.aborted) leave(signal.reason)
    else signal.addEventListener('abort', () => leave(signal.reason), { once: true })
  }
}

function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  const query = url.indexOf('?', start)
  return folded(query === -1 ? url.slice(start) : url.slice(start, query))
}
