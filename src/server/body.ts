import { isWithinDepth, parseJSON } from '../json.ts'
import { GatewayError } from './errors.ts'
import { type IncomingRequest, tooLarge } from './incoming-request.ts'

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
  readonly request: IncomingRequest
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
  const type = request.header('content-type')
  if (type && !/^(application\/([\w.-]+\+)?json|text\/plain)\s*(;|$)/i.test(type)) {
    throw new GatewayError('unsupported_media_type', 'send the request body as application/json')
  }
  if (!/^(identity)?$/i.test(request.header('content-encoding') ?? '')) {
    throw new GatewayError('unsupported_media_type', 'compressed request bodies are not supported')
  }
  if (Number(request.header('content-length')) > bodyLimit) throw tooLarge(bodyLimit)
  const startedAt = performance.now()
  const bytes = await request.bytes(bodyLimit)
  incoming.receivedMs = performance.now() - startedAt
  const text = decode(bytes)
  if (ifEmpty && text.trim() === '') return ifEmpty
  const value = parse(text)
  if (!isWithinDepth(value, jsonDepth)) {
    throw new GatewayError('invalid_request', `the request body is nested deeper than ${jsonDepth} levels`)
  }
  return value
}

function decode(bytes: Uint8Array): string {
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
