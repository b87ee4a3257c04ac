import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { folded, type IncomingRequest } from '../../src/server/incoming-request.ts'
import { NodeRequest } from '../../src/server/node-request.ts'
import { WebRequest } from '../../src/server/web-request.ts'
import { listening } from '../listening.ts'

interface Sent {
  method?: string
  target?: string
  headers?: [name: string, value: string][]
  /** Each is sent once the one before it is read. The last is the end, unless `isCut`. */
  pieces?: string[]
  /** The sender goes before it has sent all. */
  isCut?: boolean
}

/** The request as one implementation has it, and how its client leaves. */
type Make = (t: Test, sent: Sent) => Promise<{ request: IncomingRequest; leave: () => void }>

const overWeb: Make = async (_t, { method = 'POST', target = '/', headers = [], pieces = [], isCut = false }) => {
  const controller = new AbortController()
  async function* sent(): AsyncGenerator<Uint8Array> {
    for (const piece of pieces) yield Buffer.from(piece)
    if (isCut) throw new Error('the connection is gone')
  }
  const body = pieces.length > 0 || isCut ? ReadableStream.from(sent()) : null
  const init = { method, headers, body, duplex: 'half', signal: controller.signal } as RequestInit
  const request = new Request(new URL(target, 'http://localhost'), init)
  return { request: new WebRequest(request), leave: () => controller.abort() }
}

const overNode: Make = async (t, { method = 'POST', target = '/', headers = [], pieces = [], isCut = false }) => {
  const server = createServer()
  const socket = connect(await listening(t, server), '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  const lines = [`${method} ${target} HTTP/1.1`, 'host: localhost', 'transfer-encoding: chunked']
  socket.write(`${[...lines, ...headers.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`)
  const [incoming, outgoing] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  void send(socket, pieces, isCut)
  return { request: new NodeRequest(incoming, outgoing), leave: () => socket.destroy() }
}

async function send(socket: Socket, pieces: string[], isCut: boolean): Promise<void> {
  for (const piece of pieces) {
    socket.write(`${Buffer.byteLength(piece).toString(16)}\r\n${piece}\r\n`)
    await turn()
  }
  // Not before it is on its way.
  if (isCut) socket.end(() => socket.destroy())
  else socket.write('0\r\n\r\n')
}

const textOf = async (request: IncomingRequest, limit = 1000): Promise<string> =>
  Buffer.from(await request.bytes(limit)).toString()

for (const [name, make] of Object.entries({ 'a web-standard Request': overWeb, 'a message of Node': overNode })) {
  t.test(name, async (t) => {
    t.test('is read as it was sent', async (t) => {
      const headers: Sent['headers'] = [
        ['x-one', 'a'],
        ['X-Two', 'b'],
        ['x-two', 'c'],
      ]
      const { request } = await make(t, { method: 'POST', target: '/v1/things?limit=2&after=a%20b', headers })
      t.match(request, { method: 'POST', path: '/v1/things' })
      t.strictSame([...request.query], [['limit', '2'], ['after', 'a b']]) // biome-ignore format: pairs
      t.equal(request.header('x-one'), 'a')
      t.equal(request.header('x-two'), 'b, c')
      t.equal(request.header('x-three'), null)
      t.equal(request.headers.get('X-Two'), 'b, c')
      t.type(request.headers, Headers)
    })

    t.test('has a path without query, folded, and without detours', async (t) => {
      for (const [target, path] of Object.entries({
        '/': '/',
        '/?': '/',
        '/v1/models': '/v1/models',
        '/v1//models///': '/v1/models',
        '/v1/models/?a=//b': '/v1/models',
        '/v1/../health': '/health',
        '/v1/./models/%2e%2E/x': '/v1/x',
        '/v1/models/openai/gpt-4.1': '/v1/models/openai/gpt-4.1',
        '/v1/models/..a/.b/...': '/v1/models/..a/.b/...',
        '/v1/models/a%2Fb:c@d': '/v1/models/a%2Fb:c@d',
        '/v1/models/a"b': '/v1/models/a%22b',
      })) {
        const { request } = await make(t, { method: 'GET', target, ...(make === overNode ? {} : { pieces: [] }) })
        t.equal(request.path, path, target)
      }
    })

    t.test('has a body, in one piece or many, or none', async (t) => {
      t.equal(await textOf((await make(t, { pieces: ['{"a":1}'] })).request), '{"a":1}')
      t.equal(await textOf((await make(t, { pieces: ['{"a"', ':', '1}'] })).request), '{"a":1}')
      t.equal(await textOf((await make(t, {})).request), '')
    })

    t.test('may be read when all of it is there already', async (t) => {
      for (const pieces of [['{"a":1}'], ['{"a"', ':', '1}'], []]) {
        const { request } = await make(t, { pieces })
        await sleep(20)
        t.equal(await textOf(request), pieces.join(''))
      }
      const { request } = await make(t, { pieces: ['12345', '67890', '1'] })
      await sleep(20)
      await t.rejects(request.bytes(10), { status: 413, code: 'body_too_large' })
    })

    t.test('is not read beyond the limit', async (t) => {
      t.equal(await textOf((await make(t, { pieces: ['12345', '67890'] })).request, 10), '1234567890')
      const { request } = await make(t, { pieces: ['12345', '67890', '1'], isCut: true })
      await t.rejects(request.bytes(10), { status: 413, code: 'body_too_large', message: /larger than 10 bytes/ })
    })

    t.test('whose sender goes half-way is no error of the gateway', async (t) => {
      const { request } = await make(t, { pieces: ['{"a"'], isCut: true })
      await t.rejects(request.bytes(1000), { status: 499, code: 'client_closed' })
    })

    t.test('tells when its client leaves, also when that was before', async (t) => {
      const { request, leave } = await make(t, { pieces: ['{}'] })
      const left = new Promise((resolve) => request.onLeave(resolve))
      leave()
      t.ok(await left)
      t.ok(await new Promise((resolve) => request.onLeave(resolve)))
    })
  })
}

t.test('a message of Node', async (t) => {
  t.test('may have the whole address for its target, as for a proxy', async (t) => {
    const { request } = await overNode(t, { target: 'http://gateway.local/v1/models?a=b' })
    t.match(request, { path: '/v1/models' })
    t.equal(request.query.get('a'), 'b')
  })

  t.test('whose address is none has no path', async (t) => {
    for (const target of ['http://', '/v1\\models', '/..\\x', 'nonsense', '*']) {
      const incoming = { method: 'GET', url: target } as IncomingMessage
      t.equal(new NodeRequest(incoming, {} as ServerResponse).path, '', target)
    }
  })

  t.test('that was answered has nobody who leaves', async (t) => {
    const server = createServer()
    const asked = fetch(`http://127.0.0.1:${await listening(t, server)}`, { headers: { connection: 'close' } })
    const [incoming, outgoing] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
    let hasLeft = false
    const request = new NodeRequest(incoming, outgoing)
    request.onLeave(() => {
      hasLeft = true
    })
    outgoing.end('ok')
    await once(outgoing, 'close')
    t.equal(await (await asked).text(), 'ok')
    request.onLeave(() => {
      hasLeft = true
    })
    t.notOk(hasLeft)
  })

  t.test('whose sender has gone before it is read is no error of the gateway', async (t) => {
    const { request, leave } = await overNode(t, { pieces: ['{"a"'], isCut: true })
    leave()
    await new Promise((resolve) => request.onLeave(resolve))
    await t.rejects(request.bytes(1000), { status: 499, code: 'client_closed' })
  })
})

t.test('a path of any length is folded in no time that grows faster', async (t) => {
  t.equal(folded('/'.repeat(100_000)), '/')
  const url = `/${'a/'.repeat(50_000)}"`
  t.match(new NodeRequest({ url } as IncomingMessage, {} as ServerResponse).path, /^\/a\/a\//)
})
