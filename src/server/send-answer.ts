import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Answer } from './answer.ts'
import { type EventSink, EventStream } from './sse.ts'

/** How long a client that was answered goes on sending what nobody will read, in milliseconds. */
const longestRestMs = 1000

/** Sends an answer as Node's response. An answer that cannot be sent breaks the connection off. */
export function sendAnswer(answer: Answer, outgoing: ServerResponse): void {
  const { status, headers, body } = answer
  try {
    // Undefined where there is no connection, as in Fastify's `inject`.
    if (outgoing.req.complete === false) outgoing.once('finish', () => endSoon(outgoing.req))
    if (body instanceof EventStream) {
      sendEvents(body, answer, outgoing).catch(() => outgoing.destroy())
    } else {
      outgoing.writeHead(status, headers).end(body)
    }
  } catch {
    // Of a header that no message can have.
    outgoing.destroy()
  }
}

/** Node takes what is left of a body from its client, for as long as that sends, to use the connection again. */
function endSoon(incoming: IncomingMessage): void {
  if (incoming.complete) return
  const timer = setTimeout(() => incoming.socket.destroySoon(), longestRestMs)
  incoming.once('close', () => clearTimeout(timer))
}

/**
 * Sends an answer of events, head first. (The web stream of a body would cost a microsecond or two an event.) What waits already goes
 * out in one packet: Node holds back what is written within one turn.
 */
export async function sendEvents(
  events: EventStream<unknown>,
  { status, headers }: Pick<Answer, 'status' | 'headers'>,
  outgoing: ServerResponse,
): Promise<void> {
  const onClose = (): void => void events.cancel('the client has left')
  if (outgoing.destroyed) {
    onClose()
    return
  }
  outgoing.once('close', onClose)
  const sink: EventSink = {
    get full() {
      return outgoing.writableNeedDrain
    },
    room() {
      if (!outgoing.writableNeedDrain) return undefined
      return new Promise((resolve) => outgoing.once('drain', resolve))
    },
    write: (text) => void outgoing.write(isChunked ? chunkOf(text) : text),
    end() {
      outgoing.off('close', onClose)
      if (isChunked) outgoing.write(lastChunk)
      outgoing.end()
    },
  }
  outgoing.writeHead(status, headers)
  const isChunked = takesChunks(outgoing)
  outgoing.flushHeaders()
  await events.send(sink)
}

/**
 * Takes over the chunked coding (RFC 9112, 7.1) of an answer whose head is made, where it has one: HTTP/1.0 knows of none. Node writes
 * each chunk in four pieces, which takes as long again as all that is done to make an event.
 */
function takesChunks(outgoing: ServerResponse): boolean {
  // Whoever stands between (to compress it, or Fastify's `inject`) takes what is written for the body itself.
  if (!outgoing.chunkedEncoding || outgoing.write !== ServerResponse.prototype.write) return false
  outgoing.chunkedEncoding = false
  return true
}

/** `text` is not empty: that would be the last one. */
const chunkOf = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

const lastChunk = '0\r\n\r\n'
