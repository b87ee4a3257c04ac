import { once } from 'node:events'
import { request as send } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { dataOf } from './gateway.ts'
import { assertSchema } from './openapi.ts'
import { type GatewayProcess, runGateway, runSignalbox } from './process.ts'
import { type Behaviour, completion, gated, hang, pacedFlood, startUpstream } from './upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

/** Settings of `server`: how it is to stop. */
interface Stopping {
  drainDelay?: string
  drainTimeout?: string
}

/**
 * A gateway in front of the upstream, which has forgotten everything before. Its models are `up/*`, and idle connections
 * stay open for as long as they like.
 */
async function gatewayThat(t: Test, { drainDelay = '0ms', drainTimeout = '60s' }: Stopping): Promise<GatewayProcess> {
  upstream.reset()
  const cwd = t.testdir({
    'signalbox.yaml': `
      server:
        drainDelay: ${drainDelay}
        drainTimeout: ${drainTimeout}
        timeouts: { keepAlive: 1h }
      providers: { up: { baseURL: '${upstream.baseURL}' } }
    `,
  })
  const gateway = await runGateway(t, { cwd })
  t.equal((await anew(`${gateway.url}/ready`)).status, 200, 'it is ready')
  return gateway
}

const ask = { model: 'up/m', messages: [{ role: 'user' as const, content: 'Hello there' }] }

/** A chat call over a connection that stays open after it. */
const chat = ({ url }: GatewayProcess, body: object = {}): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...ask, ...body }),
  })

/** A request over a new connection, that is closed after it: its status, and its body. */
async function anew(url: string): Promise<{ status: number | undefined; body: string }> {
  const request = send(url, { agent: false }).end()
  const [response] = await once(request, 'response')
  return { status: response.statusCode, body: await text(response) }
}

/** Resolves when the gateway takes no more connections. */
async function refusesConnections({ port }: GatewayProcess): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
    } catch {
      return
    }
    socket.destroy()
    await sleep(20)
  }
}

/** A bare connection. `answers` resolves when this many have begun to arrive, `all` when the gateway has ended it. */
async function bareConnection(t: Test, { port }: GatewayProcess) {
  const socket: Socket = connect(port, '127.0.0.1')
  t.teardown(() => void socket.destroy())
  await once(socket, 'connect')
  let received = ''
  socket.setEncoding('utf8').on('data', (data: string) => {
    received += data
  })
  const ended = once(socket, 'end')
  ended.catch(() => undefined)
  return {
    write: (bytes: string) => void socket.write(bytes),
    async answers(n: number): Promise<string> {
      while (received.split('HTTP/1.1 200').length <= n) {
        if (socket.readableEnded) throw new Error(`the connection ended before ${n} answers: ${received}`)
        await Promise.race([once(socket, 'data'), ended])
      }
      return received
    },
    async all(): Promise<string> {
      await ended
      return received
    },
  }
}

/** Behaviour of the upstream: answers when released. */
function held(): { behaviour: Behaviour; release(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return {
    async behaviour(request, exchange) {
      await promise
      await completion()(request, exchange)
    },
    release: resolve,
  }
}

t.test('SIGTERM: what is open finishes whole, while readiness tells the cluster to send no more', async (t) => {
  const gateway = await gatewayThat(t, { drainDelay: '2s' })
  const stream = gated(['one', ' two', ' three'])
  const call = held()

  upstream.next(stream.behaviour)
  stream.release(2)
  const streaming = await chat(gateway, { stream: true })
  upstream.next(call.behaviour)
  const calling = chat(gateway)
  await upstream.request(1)

  gateway.process.kill('SIGTERM')
  await gateway.process.says(/Shutting down/)

  t.test('for the drain delay it still serves new connections', async (t) => {
    const ready = await anew(`${gateway.url}/ready`)
    t.equal(ready.status, 503)
    t.match(JSON.parse(ready.body), { status: 'not_ready', reasons: { shutdown: /shutting down/ } })
    t.equal((await anew(`${gateway.url}/health`)).status, 200, 'it is alive all the same')
    const late = await chat(gateway)
    t.equal(late.status, 200)
    assertSchema('CreateChatCompletionResponse', await late.json())
  })

  t.test('then it takes no more connections, and still finishes what is open', async (t) => {
    await refusesConnections(gateway)
    call.release()
    const called = await calling
    t.equal(called.status, 200)
    const answer = await called.json()
    assertSchema('CreateChatCompletionResponse', answer)
    t.match(answer, { choices: [{ message: { content: 'You said: Hello there' } }] })

    stream.release(10)
    const data = dataOf(await streaming.text())
    t.equal(data.pop(), '[DONE]')
    const tokens = data.map((chunk) => JSON.parse(chunk).choices[0].delta.content ?? '')
    t.equal(tokens.join(''), 'one two three')
  })

  t.test('and ends with exit code 0', async (t) => {
    const { code, stderr } = await gateway.process.exited
    t.equal(code, 0)
    t.equal(stderr, '')
  })
})

t.test('the drain timeout breaks off what hangs, and says so to its clients', async (t) => {
  const gateway = await gatewayThat(t, { drainTimeout: '300ms' })
  const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: 'any', maxRetries: 0 })
  const failure = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error)
  const stalls = [gated(['one', ' two']), gated(['one', ' two'])]
  for (const { release } of stalls) release(2)

  upstream.next(...stalls.map(({ behaviour }) => behaviour))
  upstream.behave(hang())
  const streaming = await chat(gateway, { stream: true })
  const broken = streaming.text()
  const iterating = await client.chat.completions.create({ ...ask, stream: true })
  const calling = failure(client.chat.completions.create(ask))
  const waiting = failure(client.chat.completions.create({ ...ask, stream: true }))
  const raw = chat(gateway)
  await upstream.request(4)

  const before = performance.now()
  gateway.process.kill('SIGTERM')

  t.test('a stream ends in an error event and no [DONE]', async (t) => {
    const data = dataOf(await broken)
    t.notOk(data.includes('[DONE]'))
    const last = JSON.parse(data.pop() ?? '')
    assertSchema('ErrorResponse', last)
    t.match(last.error, { code: 'shutting_down', type: 'server_error' })
    t.match(JSON.parse(data.pop() ?? ''), { choices: [{ delta: { content: 'one' } }] }, 'after all that had come')
  })

  t.test('the OpenAI SDK raises on that stream', async (t) => {
    const error = await failure(
      (async () => {
        for await (const chunk of iterating) assertSchema('CreateChatCompletionStreamResponse', chunk)
      })(),
    )
    t.ok(error instanceof OpenAI.APIError)
    t.match(error, { code: 'shutting_down' })
  })

  t.test('a call, and a stream without a first token, get a 503 that SDKs retry', async (t) => {
    for (const error of [await calling, await waiting]) {
      t.ok(error instanceof OpenAI.InternalServerError)
      t.match(error, { status: 503, code: 'shutting_down', type: 'server_error', param: null })
    }
    const answer = await raw
    t.equal(answer.status, 503)
    t.match(answer.headers.get('retry-after'), /^[1-9]\d?$/)
    assertSchema('ErrorResponse', await answer.json())
  })

  t.test('the calls to the upstream are aborted', async (t) => {
    for (const { closed } of upstream.requests) t.ok((await closed).aborted)
  })

  t.test('it ends in time, with exit code 0', async (t) => {
    const { code, stdout } = await gateway.process.exited
    t.equal(code, 0)
    t.ok(performance.now() - before < 5000)
    t.match(stdout, /drain timeout is over.*breaking off/)
    t.equal(stdout.match(/"outcome":"(stream_)?error"/g)?.length, 5, 'each of them is in the log')
  })
})

t.test('a client that does not read cannot hold up the end', async (t) => {
  const gateway = await gatewayThat(t, { drainTimeout: '300ms' })
  upstream.behave(pacedFlood(64 * 1024 * 1024, 64 * 1024).behaviour)
  const body = JSON.stringify({ ...ask, stream: true })
  const deaf = connect(gateway.port, '127.0.0.1')
  t.teardown(() => void deaf.destroy())
  deaf.on('error', () => undefined)
  deaf.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  await upstream.request(0)
  await sleep(200)

  gateway.process.kill('SIGTERM')
  t.equal((await gateway.process.exited).code, 0)
})

t.test('a connection on which nothing happens does not hold it up', async (t) => {
  t.test('one that is kept alive after its requests', async (t) => {
    const gateway = await gatewayThat(t, {})
    const kept = await bareConnection(t, gateway)
    kept.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n')
    await kept.answers(1)
    gateway.process.kill('SIGTERM')
    t.equal((await gateway.process.exited).code, 0)
  })

  t.test('one that was opened beforehand, as browsers and load balancers do', async (t) => {
    const gateway = await gatewayThat(t, {})
    await bareConnection(t, gateway)
    gateway.process.kill('SIGTERM')
    t.equal((await gateway.process.exited).code, 0)
  })
})

t.test('a kept-alive connection that was busy when it stopped does not hold it up afterwards', async (t) => {
  const gateway = await gatewayThat(t, { drainTimeout: '60s' })
  const call = held()
  upstream.behave(call.behaviour)
  const body = JSON.stringify(ask)
  const connection = await bareConnection(t, gateway)
  connection.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  await upstream.request(0)

  gateway.process.kill('SIGTERM')
  await refusesConnections(gateway)
  call.release()
  t.match(await connection.all(), /You said: Hello there/)
  t.equal((await gateway.process.exited).code, 0)
})

t.test('a request that comes on a kept-alive connection while it drains', async (t) => {
  const first = 'GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n'

  t.test('is served during the drain delay', async (t) => {
    const gateway = await gatewayThat(t, { drainDelay: '1s' })
    const connection = await bareConnection(t, gateway)
    connection.write(first)
    await connection.answers(1)
    gateway.process.kill('SIGTERM')
    await gateway.process.says(/Shutting down/)
    connection.write(first)
    await connection.answers(2)
    await connection.all()
    t.equal((await gateway.process.exited).code, 0)
  })

  t.test('is served for longer than clients are told that they may use an idle one', async (t) => {
    const gateway = await gatewayThat(t, { drainDelay: '5s' })
    const connection = await bareConnection(t, gateway)
    connection.write(first)
    await connection.answers(1)
    gateway.process.kill('SIGTERM')
    await gateway.process.says(/Shutting down/)
    await sleep(5500)
    const body = JSON.stringify(ask)
    connection.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    const [, told, served] = (await connection.all()).split('HTTP/1.1 ')
    t.match(told, /keep-alive: timeout=5\r\n/i)
    t.match(served, /^200/)
    t.match(served, /connection: close/i)
    t.match(served, /You said: Hello there/)
    t.equal((await gateway.process.exited).code, 0)
  })

  t.test('is served after it too, and then the connection is closed', async (t) => {
    const gateway = await gatewayThat(t, {})
    const connection = await bareConnection(t, gateway)
    connection.write(first)
    await connection.answers(1)
    // The gateway stops between the two halves of a request.
    connection.write(first.slice(0, 20))
    await sleep(200)
    gateway.process.kill('SIGTERM')
    await refusesConnections(gateway)
    connection.write(first.slice(20))
    const [, , second] = (await connection.all()).split('HTTP/1.1 ')
    t.match(second, /^200/)
    t.match(second, /connection: close/i)
    t.match(second, /"id":"up\/\*"/)
    t.equal((await gateway.process.exited).code, 0)
  })
})

t.test('SIGINT, from a person, skips the drain delay', async (t) => {
  const gateway = await gatewayThat(t, { drainDelay: '1h' })
  const before = performance.now()
  gateway.process.kill('SIGINT')
  t.equal((await gateway.process.exited).code, 0)
  t.ok(performance.now() - before < 5000)
})

t.test('SIGINT lets what is open finish too', async (t) => {
  const gateway = await gatewayThat(t, { drainDelay: '1h' })
  const call = held()
  upstream.behave(call.behaviour)
  const calling = chat(gateway)
  await upstream.request(0)
  gateway.process.kill('SIGINT')
  await refusesConnections(gateway)
  call.release()
  t.equal((await calling).status, 200)
  t.equal((await gateway.process.exited).code, 0)
})

t.test('a second signal ends it at once, with a code that says that it was forced', async (t) => {
  for (const second of ['SIGTERM', 'SIGINT'] as const) {
    const gateway = await gatewayThat(t, { drainDelay: '1h' })
    upstream.behave(hang())
    const left = chat(gateway).then(
      () => false,
      () => true,
    )
    await upstream.request(0)
    gateway.process.kill('SIGTERM')
    await gateway.process.says(/Shutting down/)
    gateway.process.kill(second)
    const { code } = await gateway.process.exited
    t.ok(code !== null && code > 0, `SIGTERM, then ${second}: exit code ${code}`)
    t.ok(await left, 'what was open is dropped')
  }
})

t.test(
  'a signal that comes while it starts ends it at once, and well: as process 1 of a container it would be ignored',
  async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const directory = t.testdir({
        'extension.js':
          "process.stdout.write('loading\\n')\nsetInterval(() => {}, 1000)\nawait new Promise(() => {})\n",
        'signalbox.yaml': 'extensions: ./extension.js\n',
      })
      const starting = runSignalbox(t, { args: ['--config', join(directory, 'signalbox.yaml')] })
      await starting.says(/loading/)
      starting.kill(signal)
      t.equal((await starting.exited).code, 0, signal)
    }
  },
)
