import { StringDecoder } from 'node:string_decoder'
import { createParser, type EventSourceMessage } from 'eventsource-parser'

/** No event of a model is this long; one that is would fill the memory of a gateway that waits for its end. */
const longestEvent = 16 * 1024 * 1024

/**
 * Decodes `text/event-stream` (WHATWG HTML, 9.2) as it arrives: characters and lines may be cut anywhere, lines may end in
 * LF, CRLF or CR, `data:` may span lines, comments are skipped. `onData` gets each event's data and name; `onOverflow` is called,
 * and nothing more is decoded, when an event does not end within 16 MiB.
 */
export function decodeEvents(
  onData: (data: string, name: string | undefined) => void,
  onOverflow: () => void,
): (chunk: Buffer) => void {
  const decoder = new StringDecoder('utf8')
  let overflown = false
  const parser = createParser({
    maxBufferSize: longestEvent,
    onEvent: (event: EventSourceMessage) => onData(event.data, event.event),
    onError({ type }) {
      if (type !== 'max-buffer-size-exceeded') return
      overflown = true
      onOverflow()
    },
  })
  return (chunk) => {
    const text = decoder.write(chunk)
    if (text && !overflown) parser.feed(text)
  }
}
