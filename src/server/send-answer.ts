import type { IncomingMessage, ServerResponse } from 'node:http'
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
    write: (text) => void outgoing.write(text),
    end() {
      outgoing.off('close', onClose)
      outgoing.end()
    },
  }
  outgoing.writeHead(status, headers)
  outgoing.flushHeaders()
  await events.send(sink)
}
