import { StringDecoder } from 'node:string_decoder'
import { createParser, type EventSourceMessage } from 'eventsource-parser'

/**
 * Decodes `text/event-stream` (WHATWG HTML, 9.2) as it arrives: characters and lines may be cut anywhere, lines may end in
 * LF, CRLF or CR, `data:` may span lines, comments are skipped. `onData` gets each event's data.
 */
export function decodeEvents(onData: (data: string) => void): (chunk: Buffer) => void {
  const decoder = new StringDecoder('utf8')
  const parser = createParser({ onEvent: (event: EventSourceMessage) => onData(event.data) })
  return (chunk) => {
    const text = decoder.write(chunk)
    if (text) parser.feed(text)
  }
}
