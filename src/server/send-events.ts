import type { ServerResponse } from 'node:http'
import type { EventSink, EventStream } from './sse.ts'

/**
 * Sends an answer of events straight to Node's response, head first. (The web stream of a body would cost a microsecond or two
 * an event.) What waits already goes out in one packet: Node holds back what is written within one turn.
 */
export async function sendEvents(
  events: EventStream<unknown>,
  answer: Response,
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
  outgoing.writeHead(answer.status, Object.fromEntries(answer.headers))
  outgoing.flushHeaders()
  await events.send(sink)
}
