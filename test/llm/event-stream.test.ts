import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { decodeEvents } from '../../src/llm/event-stream.ts'

/** The data of the events in these bytes, fed in these pieces. */
function decode(...pieces: (string | Uint8Array)[]): string[] {
  const events: string[] = []
  const feed = decodeEvents((data) => events.push(data), t.fail)
  for (const piece of pieces) feed(Buffer.from(piece as string))
  return events
}

t.test('an event ends with an empty line', async (t) => {
  t.strictSame(decode('data: a\n\ndata: b\n\n'), ['a', 'b'])
  t.strictSame(decode('data: a\n'), [], 'one that is not over is no event')
  t.strictSame(decode('data: a\n\ndata: b'), ['a'])
  t.strictSame(decode('\n\n\ndata: a\n\n\n\n'), ['a'], 'more empty lines are nothing')
})

t.test('an event is told as soon as it is over', async (t) => {
  const events: string[] = []
  const feed = decodeEvents((data) => events.push(data), t.fail)
  feed(Buffer.from('data: a\n'))
  t.strictSame(events, [])
  feed(Buffer.from('\n'))
  t.strictSame(events, ['a'])
  feed(Buffer.from('data: b\r\n\r\n'))
  t.strictSame(events, ['a', 'b'])
})

t.test('lines end in LF, CRLF or CR', async (t) => {
  t.strictSame(decode('data: a\r\n\r\ndata: b\r\n\r\n'), ['a', 'b'])
  t.strictSame(decode('data: a\r\rdata: b\r\r', 'data: c\n\n'), ['a', 'b', 'c'])
  t.strictSame(decode('data: a\r\n\ndata: b\n\r\ndata: c\r\n\r\n'), ['a', 'b', 'c'])
})

t.test('one blank after the colon is no data, everything else is', async (t) => {
  t.strictSame(decode('data:a\n\n'), ['a'])
  t.strictSame(decode('data:  a \n\n'), [' a '])
  t.strictSame(decode('data: {"a": "b: c"}\n\n'), ['{"a": "b: c"}'])
})

t.test('data may span lines', async (t) => {
  t.strictSame(decode('data: {"a":\ndata: 1}\n\n'), ['{"a":\n1}'])
  t.strictSame(decode('data: a\r\ndata:\r\ndata: b\r\n\r\n'), ['a\n\nb'])
})

t.test('comments and other fields are no data', async (t) => {
  t.strictSame(decode(': keep-alive\n\ndata: a\n: between\ndata: b\n\n:\n\n'), ['a\nb'])
  t.strictSame(decode('event: message\nid: 7\nretry: 100\ndata: a\n\n'), ['a'])
  t.strictSame(decode('nonsense\ndatas: x\ndata: a\n\n'), ['a'])
  t.strictSame(decode('id: 7\n\n'), [], 'an event without data is none')
})

t.test('a byte order mark at the very beginning is skipped', async (t) => {
  t.strictSame(decode('\uFEFFdata: a\n\n'), ['a'])
  t.strictSame(decode(Buffer.from([0xef]), Buffer.from([0xbb]), Buffer.from([0xbf]), 'data: a\n\n'), ['a'])
  t.strictSame(decode('data: \uFEFFa\n\n'), ['\uFEFFa'])
})

t.test('a character may be cut anywhere', async (t) => {
  const text = 'é 漢 😀 👩‍👩‍👧'
  const bytes = Buffer.from(`data: ${text}\n\n`)
  for (let cut = 0; cut <= bytes.length; cut++) {
    t.strictSame(decode(bytes.subarray(0, cut), bytes.subarray(cut)), [text], `cut at ${cut}`)
  }
  t.strictSame(decode(...Array.from(bytes, (byte) => Uint8Array.of(byte))), [text], 'byte by byte')
})

t.test('a line may be long, and there may be many events in one piece', async (t) => {
  const long = 'x'.repeat(1_000_000)
  t.strictSame(decode('data: ', long.slice(0, 500_000), long.slice(500_000), '\n\n'), [long])
  t.equal(decode('data: a\n\n'.repeat(10_000)).length, 10_000)
})

t.test('cutting the bytes anywhere never changes the events', async (t) => {
  const piece = fc.constantFrom(
    ...[
      'data:',
      'data: ',
      'data: {"a":1}',
      'event: x',
      ': comment',
      'id: 7',
      '\n',
      '\r\n',
      '\r',
      '\n\n',
      '\r\n\r\n',
      '\r\r',
    ],
    ...['é', '漢字', '😀', '[DONE]', 'd', 'data', ':', ' '],
  )
  const stream = fc.array(piece, { maxLength: 40 }).map((pieces) => Buffer.from(`${pieces.join('')}\n\ndata: end\n\n`))
  const property = fc.property(stream, fc.array(fc.nat(), { maxLength: 12 }), (bytes, seeds) => {
    const cuts = seeds.map((seed) => seed % (bytes.length + 1)).sort((a, b) => a - b)
    const pieces = [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index] ?? bytes.length))
    deepEqual(decode(...pieces), decode(bytes))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('an event that never ends is given up, once', async (t) => {
  const events: string[] = []
  let overflows = 0
  const decode = decodeEvents(
    (data) => events.push(data),
    () => {
      overflows++
    },
  )
  decode(Buffer.from('data: whole\n\ndata: '))
  const piece = Buffer.alloc(1024 * 1024, 'x')
  for (let sent = 0; sent < 20; sent++) decode(piece)
  decode(Buffer.from('\n\ndata: later\n\n'))
  t.strictSame(events, ['whole'])
  t.equal(overflows, 1)
})
