import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { eventResponse } from '../../src/server/event-response.ts'
import { nodeListener } from '../../src/server/node-listener.ts'
import { EventStream } from '../../src/server/sse.ts'

async function* items(): AsyncGenerator<object> {
  yield { n: 1 }
}

t.test('events, other answers, and what fails', async (t) => {
  const events = new EventStream(items(), {
    keepAliveMs: 60_000,
    encode: (item) => item,
    onDone: () => '',
    onError: () => ({}),
    onCancel: () => {},
  })
  const handler = async ({ url }: Request): Promise<Response> => {
    if (url.endsWith('/events')) return eventResponse(events, { status: 200, headers: { 'x-kind': 'events' } })
    // Of the kind that no header can hold; nobody's to see, but the connection must not stay open for ever.
    if (url.endsWith('/broken')) return eventResponse(events, { headers: { 'x-kind': 'a\u0001b' } })
    return new Response('plain', { status: 202 })
  }
  const server = createServer(nodeListener(handler, 'localhost'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const streamed = await fetch(`${base}/events`)
  t.equal(streamed.headers.get('x-kind'), 'events')
  t.equal(streamed.headers.get('x-hono-already-sent'), null)
  t.equal(await streamed.text(), 'data: {"n":1}\n\ndata: [DONE]\n\n')
  const plain = await fetch(`${base}/plain`)
  t.equal(plain.status, 202)
  t.equal(await plain.text(), 'plain')
  await t.rejects(fetch(`${base}/broken`))
})
