import t from 'tap'
import {
  createLLM,
  type EventLog,
  type HookEvents,
  MemoryEventLog,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
} from '../../src/index.ts'
import type { ResponseEvent } from '../../src/responses/response-types.ts'
import { eventually } from '../core.ts'
import { assertStream } from '../responses/stream-rules.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, eventsIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const stream = (server: OaiServer, body: up.Json = {}) =>
  ask(server, 'POST', '', { model: 'm', input: 'hello there', stream: true, ...body })
const resume = (server: OaiServer, id: string, after?: number) =>
  ask(server, 'GET', `/${id}?stream=true${after === undefined ? '' : `&starting_after=${after}`}`)

/** Reads so many events, then loses the connection. */
async function readSome(answer: Response, count: number): Promise<ResponseEvent[]> {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (eventsIn(text).length < count) text += Buffer.from((await reader.read()).value ?? []).toString()
  await reader.cancel()
  return eventsIn(text)
}

t.test('a stored stream is replayed, from any event on', async (t) => {
  const server = serving()
  for (const background of [false, true]) {
    const events = await streamIn(stream(server, { background }))
    const { id } = lastOf(events)
    t.strictSame(await streamIn(resume(server, id)), events)
    for (const { sequence_number } of events) {
      const rest = eventsIn(await (await resume(server, id, sequence_number)).text())
      t.strictSame(rest, events.slice(sequence_number + 1), `after ${sequence_number}`)
    }
    t.strictSame(eventsIn(await (await resume(server, id, 1000)).text()), [])
  }
})

t.test(
  'a lost connection, in the background: every event once, in order, wherever it broke, on any replica',
  async (t) => {
    const shared = { responseStorePersistence: new MemoryPersistence(), eventLog: new MemoryEventLog() }
    const replicas = [serving(shared), serving(shared)] as const
    const tokens = Array.from({ length: 12 }, (_, n) => ` ${n}`)
    for (const broken of [1, 2, 4, 7, 11, 15]) {
      const gate = up.gated(tokens)
      upstream.next(gate.behaviour)
      gate.release(12)
      const seen = await readSome(await stream(replicas[0], { background: true }), broken)
      const [first] = seen
      if (first?.type !== 'response.created') throw new Error(`began with ${first?.type}`)
      const answer = await resume(replicas[1], first.response.id, seen.at(-1)?.sequence_number)
      gate.release(100)
      const events = [...seen, ...eventsIn(await answer.text())]
      assertStream(events)
      t.equal(textOf(lastOf(events)), tokens.join(''))
    }
  },
)

t.test('a lost connection, in the foreground: what was made is there, and that it was called off', async (t) => {
  const server = serving()
  for (const broken of [1, 3, 5]) {
    const gate = up.gated(['one', ' two', ' three', ' four'])
    upstream.next(gate.behaviour)
    gate.release(4)
    const seen = await readSome(await stream(server), broken)
    t.match(await upstream.last().closed, { aborted: true })
    await eventually(() => server.openRequests === 0)
    const [first] = seen
    if (first?.type !== 'response.created') throw new Error(`began with ${first?.type}`)
    const rest = eventsIn(await (await resume(server, first.response.id, seen.at(-1)?.sequence_number)).text())
    const events = [...seen, ...rest]
    assertStream(events)
    t.match(lastOf(events), { status: 'cancelled' })
    t.strictSame(await responseIn(ask(server, 'GET', `/${first.response.id}`)), lastOf(events))
  }
})

t.test('who follows a foreground stream gets what its client gets', async (t) => {
  const server = serving()
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const answer = await stream(server)
  const [mine, copy] = (answer.body as ReadableStream<Uint8Array>).tee()
  const reader = copy.getReader()
  const begun = Buffer.from((await reader.read()).value ?? []).toString()
  const { response } = JSON.parse(/data: (.*)/.exec(begun)?.[1] ?? '') as { response: { id: string } }
  void reader.cancel()
  const following = streamIn(resume(server, response.id))
  gate.release(10)
  const [theirs, ours] = await Promise.all([following, new Response(mine).text()])
  t.strictSame(theirs, eventsIn(ours))
})

t.test('silence is kept alive, and a follower who leaves harms nobody', async (t) => {
  const server = serving({ keepAliveMs: 20 })
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  const queued = await responseIn(stream(server, { stream: false, background: true }))
  const reader = ((await resume(server, queued.id)).body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (!text.includes(': keep-alive')) text += Buffer.from((await reader.read()).value ?? []).toString()
  await reader.cancel()
  gate.release(10)
  t.match(lastOf(await streamIn(resume(server, queued.id))), { status: 'completed' })
  await eventually(() => server.openRequests === 0)
})

t.test('HEAD opens no stream', async (t) => {
  const server = serving()
  const { id } = lastOf(await streamIn(stream(server)))
  const answer = await ask(server, 'HEAD', `/${id}?stream=true`)
  t.match(answer.headers.get('content-type'), /json/)
  t.equal(server.openRequests, 0)
})

t.test('what cannot be replayed is refused', async (t) => {
  const server = serving()
  const whole = await responseIn(stream(server, { stream: false }))
  t.match(await errorIn(resume(server, whole.id)), { status: 400, param: 'stream' }, 'it had no events')
  const { id } = lastOf(await streamIn(stream(server)))
  for (const after of ['-1', 'x', '1.5', '']) {
    const refused = await errorIn(ask(server, 'GET', `/${id}?stream=true&starting_after=${after}`))
    t.match(refused, { status: 400, param: 'starting_after' }, after)
  }
  t.match(await errorIn(resume(server, 'resp_1')), { status: 404 })
  const short = serving({ eventLog: new MemoryEventLog({ maxEvents: 3 }) })
  const events = await streamIn(stream(short))
  t.match(await errorIn(resume(short, lastOf(events).id)), { status: 400, param: 'stream' }, 'the first have gone')
  t.strictSame(eventsIn(await (await resume(short, lastOf(events).id, events.length - 3)).text()), events.slice(-2))
})

t.test('a log that fails costs the resumption, and nothing else', async (t) => {
  const memory = new MemoryEventLog()
  for (const fails of [0, 3]) {
    let appends = 0
    const log: EventLog = {
      append: (key, at, events, options) =>
        appends++ === fails ? Promise.reject(new Error('the log is down')) : memory.append(key, at, events, options),
      read: (key, from, options) => memory.read(key, from, options),
      delete: (key) => memory.delete(key),
    }
    const server = serving({ eventLog: log })
    const warnings: HookEvents['onWarning'][] = []
    server.hooks.on('onWarning', (payload) => warnings.push(payload))
    const events = await streamIn(stream(server))
    t.match(lastOf(events), { status: 'completed' })
    t.match(warnings, [{ warning: /cannot be resumed/ }])
    t.equal(appends, fails + 1, 'no event comes after a gap')
    await responseIn(ask(server, 'GET', `/${lastOf(events).id}`))
  }
})

t.test('a log that lost a response under way does not stop it', async (t) => {
  const memory = new MemoryEventLog()
  const keys: string[] = []
  const log: EventLog = {
    append(key, at, events, options) {
      keys.push(key)
      return memory.append(key, at, events, options)
    },
    read: (key, from, options) => memory.read(key, from, options),
    delete: (key) => memory.delete(key),
  }
  const server = serving({ eventLog: log })
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const reading = streamIn(stream(server))
  await eventually(() => keys.length >= 2)
  t.equal(await memory.delete(keys[0] ?? ''), true)
  gate.release(10)
  t.equal(textOf(lastOf(await reading)), 'one two')
})
