import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import type { ChatRequest } from '../types.ts'
import { GatewayError } from './errors.ts'
import type { IncomingRequest } from './incoming-request.ts'

export const conversationHeader = 'x-conversation-id'

const longest = 256

/**
 * Which conversation a request is a turn of, by the first that names one: the header, `metadata.conversation_id`.
 *
 * @throws GatewayError `invalid_request` for a name that cannot be one
 */
export function namedConversation(
  request: IncomingRequest,
  { metadata }: Pick<ChatRequest, 'metadata'>,
): string | undefined {
  const header = request.header(conversationHeader)
  if (header !== null) return valid(fromHeader(header), conversationHeader)
  const named: unknown = metadata && 'conversation_id' in metadata ? metadata.conversation_id : undefined
  return named === undefined || named === null ? undefined : valid(named, 'metadata.conversation_id')
}

/** Agents have a conversation in any case: of the `user`, or a new one. */
export const agentConversation = ({ user }: Pick<ChatRequest, 'user'>): string =>
  user && isValid(user) ? user : `conv_${randomUUID().replaceAll('-', '')}`

/** @throws GatewayError `invalid_request` for a `user` that no conversation can be named by */
export function assertNaming({ user }: Pick<ChatRequest, 'user'>): void {
  if (user) valid(user, 'user')
}

const isValid = (id: unknown): id is string =>
  typeof id === 'string' && id !== '' && id.length <= longest && id.isWellFormed() && !/\p{Cc}/u.test(id)

function valid(id: unknown, param: string): string {
  if (isValid(id)) return id
  const message = `invalid value for '${param}': must be a text of 1 to ${longest} characters, none of them a control character`
  throw new GatewayError('invalid_request', message, { param })
}

// A header holds ASCII only: spaces and other characters are percent-encoded there, in both directions. What looks as if it
// were (and any number of 25 before it) gets a 25 more, and loses it again: no two names have one header.

export const toHeader = (id: string): string =>
  id.replace(/%(?=(?:25)*(?:20|[89a-f][\da-f]))/gi, '%25').replace(/[^\x21-\x7e]+/gu, encodeURIComponent)

function fromHeader(bytes: string): string {
  const utf8 = Buffer.from(bytes, 'latin1')
  const text = isUtf8(utf8) ? utf8.toString() : bytes
  try {
    return text.replace(/%25(?=(?:25)*(?:20|[89a-f][\da-f]))|(?:%20|%[89a-f][\da-f])+/gi, decodeURIComponent)
  } catch {
    return text
  }
}
