import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Answer } from '../../src/server/answer.ts'
import { sendEvents } from '../../src/server/send-answer.ts'
import { EventStream, type EventStreamOptions } from '../../src/server/sse.ts'
import { listening } from '../listening.ts'

interface Item {
  text: string
}

const streamOf = (items: AsyncIterator<Item>, options: Partial<EventStreamOptions<Item>> = {}): EventStream<Item> =>
  new EventStream<Item>(items, {
    keepAliveMs: 60_000,
    encode: (item) => item,
    onDone: () => '',
    onError: () => ({ error: 'broke off' }),
    onCancel: () => {},
    ...options,
  })

/** A server that answers with these items, and a client that has asked it and not read yet. */
async function serve(t: Test, items: AsyncIterator<Item>, options: Partial<EventStreamOptions<Item>> = {}) {
  const log: string[] = []
  const events = streamOf(items, {
    onDone() {
      log.push('done')
      return ''
    },
    onCancel: (reason) => log.push(`cancel: ${reason}`),
    ...options,
  })
  const sent = Promise.withResolvers<void>()
  const server = createServer((_request, outgoing) => {
    sendEvents(events, new Answer(201, { 'x-mine': 'yes' }), outgoing).then(sent.resolve, sent.reject)
  })
  const port = await listening(t, server)
  const [response] = (await once(get({ port, host: '127.0.0.1' }), 'response')) as [IncomingMessage]
  return { log, response, sent: sent.promise }
}

/** Items without an end; counts how many were asked for, and whether they were closed. */
function endless(text: string) {
  const items = {
    asked: 0,
    closed: 0,
    async next(): Promise<IteratorResult<Item>> {
      items.asked++
      return { done: false, value: { text } }
    },
    async return(): Promise<IteratorResult<Item>> {
      items.closed++
      return { done: true, value: undefined }
    },
  }
  return items
}

const silent = (): AsyncIterator<Item> => ({ next: () => new Promise(() => {}) })

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

t.test('the head, every event and the end arrive', async (t) => {
  async function* items(): AsyncGenerator<Item> {
    yield { text: 'é 漢字 👩‍👩‍👧' }
    yield { text: '2' }
  }
  const { log, response, sent } = await serve(t, items())
  t.equal(response.statusCode, 201)
  t.equal(response.headers['x-mine'], 'yes')
  const text = Buffer.concat(await response.toArray()).toString()
  t.equal(text, 'data: {"text":"é 漢字 👩‍👩‍👧"}\n\ndata: {"text":"2"}\n\ndata: [DONE]\n\n')
  await sent
  t.strictSame(log, ['done'], 'and a client that goes after the end has not left')
})

/** What is on the wire after the head, of an answer of two events to each of these requests. */
async function bodiesOf(
  t: Test,
  requests: string[],
  prepare: (outgoing: ServerResponse) => void = () => {},
): Promise<string> {
  async function* items(): AsyncGenerator<Item> {
    yield { text: 'é 漢字' }
    await sleep(20)
    yield { text: '2' }
  }
  const server = createServer((_request, outgoing) => {
    prepare(outgoing)
    void sendEvents(streamOf(items()), new Answer(200, {}), outgoing)
  })
  const socket = connect(await listening(t, server), '127.0.0.1')
  socket.write(requests.join(''))
  const text = Buffer.concat(await socket.toArray()).toString()
  return text.replace(/HTTP\/1\.1 200 OK\r\n(?:[\w-]+: .*\r\n)+\r\n/g, '')
}

const first = 'data: {"text":"é 漢字"}\n\n'
const chunked = `${Buffer.byteLength(first).toString(16)}\r\n${first}\r\n14\r\ndata: {"text":"2"}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n`

t.test('each event is a chunk, and the connection can be used again', async (t) => {
  const request = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
  const last = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
  t.equal(await bodiesOf(t, [request, last]), chunked.repeat(2))
})

t.test('whoever stands between sees the events, and no chunks', async (t) => {
  const seen: unknown[] = []
  const request = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
  const body = await bodiesOf(t, [request], (outgoing) => {
    const write = outgoing.write.bind(outgoing) as (text: unknown) => boolean
    outgoing.write = (text: unknown): boolean => {
      seen.push(text)
      return write(text)
    }
  })
  t.equal(body, chunked)
  t.strictSame(seen, [first, 'data: {"text":"2"}\n\n', 'data: [DONE]\n\n'])
})

t.test('a client of HTTP/1.0 gets the events, and nothing between them', async (t) => {
  const body = await bodiesOf(t, ['GET / HTTP/1.0\r\n\r\n'])
  t.equal(body, `${first}data: {"text":"2"}\n\ndata: [DONE]\n\n`)
})

t.test('an answer to HEAD has no events', async (t) => {
  t.equal(await bodiesOf(t, ['HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n']), '')
})

t.test('the head does not wait for the first event', async (t) => {
  const { response } = await serve(t, silent())
  t.equal(response.statusCode, 201)
})

t.test('comments go out while nothing else does', async (t) => {
  const { response } = await serve(t, silent(), { keepAliveMs: 20 })
  const [first] = await once(response, 'data')
  const [second] = await once(response, 'data')
  t.equal(`${first}${second}`, ': keep-alive\n\n: keep-alive\n\n')
})

t.test('a client that does not read stops the items, and goes on with them', async (t) => {
  const items = endless('x'.repeat(10_000))
  const { response } = await serve(t, items, { keepAliveMs: 10 })
  let before = -1
  await until(() => {
    const stopped = before === items.asked && items.asked > 0
    before = items.asked
    return stopped
  })
  await sleep(100)
  t.equal(items.asked, before, 'nothing is asked for while there is no room')
  response.resume()
  await until(() => items.asked > before + 100)
  t.pass('reading makes room')
})

t.test('a client that leaves closes the items, whatever they are at', async (t) => {
  for (const text of ['short', 'x'.repeat(10_000)]) {
    const items = endless(text)
    if (text === 'short') items.next = () => new Promise(() => {})
    const { log, response } = await serve(t, items)
    await sleep(50)
    response.destroy()
    await until(() => items.closed > 0)
    await sleep(20)
    t.equal(items.closed, 1)
    t.strictSame(log, ['cancel: the client has left'])
  }
})

t.test('a client that has left before the head gets none', async (t) => {
  const items = endless('x')
  const cancelled: unknown[] = []
  const events = new EventStream<Item>(items, {
    keepAliveMs: 60_000,
    encode: (item) => item,
    onDone: () => '',
    onError: () => ({}),
    onCancel: (reason) => cancelled.push(reason),
  })
  await sendEvents(events, new Answer(200, {}), { destroyed: true } as ServerResponse)
  t.strictSame(cancelled, ['the client has left'])
  t.equal(items.asked, 0)
  t.equal(items.closed, 1)
})
