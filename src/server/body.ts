import { isWithinDepth, parseJSON } from '../json.ts'
import { GatewayError } from './errors.ts'

export interface BodyLimits {
  /** Bytes. Default 10 MiB. */
  bodyLimit: number
  /** How deep arrays and objects may be nested. Default 128. */
  jsonDepth: number
}

export const defaultBodyLimits: BodyLimits = { bodyLimit: 10 * 1024 * 1024, jsonDepth: 128 }

const strictUTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** What is read. */
export interface Incoming {
  readonly request: Request
  /** Set by {@link readJSON}: how long the client took to send the body, from then on. Milliseconds. */
  receivedMs: number
}

/**
 * Reads a request's body as JSON.
 *
 * @param ifEmpty What no body stands for. Default: nothing, and it is refused.
 * @throws GatewayError 400, 413 or 415; `client_closed` when the body never arrived whole
 */
export async function readJSON(
  incoming: Incoming,
  { bodyLimit, jsonDepth }: BodyLimits,
  ifEmpty?: object,
): Promise<unknown> {
  const { request } = incoming
  const type = request.headers.get('content-type')
  if (type && !/^(application\/([\w.-]+\+)?json|text\/plain)\s*(;|$)/i.test(type)) {
    throw new GatewayError('unsupported_media_type', 'send the request body as application/json')
  }
  if (!/^(identity)?$/i.test(request.headers.get('content-encoding') ?? '')) {
    throw new GatewayError('unsupported_media_type', 'compressed request bodies are not supported')
  }
  const startedAt = performance.now()
  const bytes = await readBytes(request, bodyLimit)
  incoming.receivedMs = performance.now() - startedAt
  // Outside HTTP nothing holds a body to its declared length.
  if (bytes.byteLength > bodyLimit) throw tooLarge(bodyLimit)
  const text = decode(bytes)
  if (ifEmpty && text.trim() === '') return ifEmpty
  const value = parse(text)
  if (!isWithinDepth(value, jsonDepth)) {
    throw new GatewayError('invalid_request', `the request body is nested deeper than ${jsonDepth} levels`)
  }
  return value
}

function readBytes(request: Request, limit: number): Promise<ArrayBuffer | Uint8Array> {
  const declared = request.headers.get('content-length')
  if (Number(declared) > limit) throw tooLarge(limit)
  const bytes = declared === null ? readChunks(request, limit) : request.arrayBuffer()
  return bytes.catch((error: unknown) => {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('client_closed', 'the request body did not arrive whole', { cause: error })
  })
}

/** A body of unknown length is counted while it arrives, and refused as soon as it is too long. */
async function readChunks(request: Request, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength
    if (size > limit) throw tooLarge(limit)
    chunks.push(chunk)
  }
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.byteLength
  }
  return bytes
}

function decode(bytes: ArrayBuffer | Uint8Array): string {
  try {
    return strictUTF8.decode(bytes)
  } catch (cause) {
    throw new GatewayError('invalid_request', 'the request body is not valid UTF-8', { cause })
  }
}

function parse(text: string): unknown {
  if (text.trim() === '') throw new GatewayError('invalid_request', 'the request body is empty; send a JSON object')
  try {
    return parseJSON(text)
  } catch (cause) {
    // V8's message quotes the text around the fault, which may be anything a client holds dear.
    const position = cause instanceof Error ? /at position (\d+)/.exec(cause.message)?.[1] : undefined
    const where = position === undefined ? '' : ` (at position ${position})`
    throw new GatewayError('invalid_request', `the request body is not valid JSON${where}`, { cause })
  }
}

const tooLarge = (limit: number): GatewayError =>
  new GatewayError('body_too_large', `the request body is larger than ${limit} bytes`)
