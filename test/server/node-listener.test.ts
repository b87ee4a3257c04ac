import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Answer } from '../../src/server/answer.ts'
import type { IncomingRequest } from '../../src/server/incoming-request.ts'
import { nodeListener } from '../../src/server/node-listener.ts'
import { EventStream } from '../../src/server/sse.ts'
import { listening } from '../listening.ts'

async function* items(): AsyncGenerator<object> {
  yield { n: 1 }
}

const events = (): EventStream<object> =>
  new EventStream(items(), {
    keepAliveMs: 60_000,
    encode: (item) => item,
    onDone: () => '',
    onError: () => ({}),
    onCancel: () => {},
  })

const serve = (t: Test, answer: (request: IncomingRequest) => Promise<Answer>): Promise<number> =>
  listening(t, createServer(nodeListener(answer)))

t.test('events, other answers, and what fails', async (t) => {
  const port = await serve(t, async ({ path }) => {
    if (path === '/events') return new Answer(200, { 'x-kind': 'events' }, events())
    // Of the kind that no header can hold; nobody's to see, but the connection must not stay open for ever.
    if (path === '/broken') return new Answer(200, { 'x-kind': 'a\u0001b' }, events())
    if (path === '/broken-text') return new Answer(200, { 'x-kind': 'a\u0001b' }, 'text')
    if (path === '/empty') return new Answer(204, { 'x-kind': 'empty' })
    return new Answer(202, { 'x-kind': 'text' }, 'plain ✓')
  })
  const base = `http://127.0.0.1:${port}`

  const streamed = await fetch(`${base}/events`)
  t.equal(streamed.headers.get('x-kind'), 'events')
  t.equal(await streamed.text(), 'data: {"n":1}\n\ndata: [DONE]\n\n')
  const plain = await fetch(`${base}/plain`)
  t.equal(plain.status, 202)
  t.equal(plain.headers.get('content-length'), '9')
  t.equal(await plain.text(), 'plain ✓')
  const head = await fetch(`${base}/plain`, { method: 'HEAD' })
  t.equal(head.headers.get('content-length'), '9')
  t.equal(await head.text(), '')
  const empty = await fetch(`${base}/empty`)
  t.match(empty, { status: 204 })
  t.equal(empty.headers.get('content-length'), null)
  await t.rejects(fetch(`${base}/broken`))
  await t.rejects(fetch(`${base}/broken-text`))
})

t.test('an answer may be made into a Response', async (t) => {
  const plain = new Answer(202, { 'x-kind': 'text' }, 'plain').toResponse()
  t.match(plain, { status: 202 })
  t.equal(plain.headers.get('x-kind'), 'text')
  t.equal(await plain.text(), 'plain')
  t.equal(await new Answer(200, {}, events()).toResponse().text(), 'data: {"n":1}\n\ndata: [DONE]\n\n')
  t.equal(new Answer(204, {}).toResponse().body, null)
})

t.test('what an answered client still sends is read for a second only', async (t) => {
  const port = await serve(t, async () => new Answer(413, {}, 'too large'))
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n')
  let sent = 0
  const sending = setInterval(() => {
    sent++
    socket.write('x'.repeat(1000))
  }, 5)
  t.teardown(() => clearInterval(sending))
  const [head] = await once(socket, 'data')
  t.match(String(head), /^HTTP\/1.1 413 /)
  await once(socket, 'close')
  t.ok(sent > 10, `it was read for a while: ${sent} pieces`)
})

t.test('an answer that takes longer than that is not cut, whatever its client still sends', async (t) => {
  async function* slowly(): AsyncGenerator<object> {
    yield { n: 1 }
    await sleep(1500)
    yield { n: 2 }
  }
  const slow = new EventStream(slowly(), {
    keepAliveMs: 60_000,
    encode: (item) => item,
    onDone: () => '',
    onError: () => ({}),
    onCancel: () => {},
  })
  const port = await serve(t, async () => new Answer(200, {}, slow))
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n12')
  let text = ''
  for await (const piece of socket) text += piece
  t.match(text, /"n":2\}/)
  t.match(text, /\[DONE\]/)
})
