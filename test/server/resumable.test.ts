import t from 'tap'
import {
  BearerKeyAuth,
  createLLM,
  type EventLog,
  type HookEvents,
  MemoryEventLog,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
} from '../../src/index.ts'
import { eventually } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import { assertStream } from '../responses/stream-rules.ts'
import * as up from '../upstream.ts'
import { ask, chunksIn, completionIn, listIn, type SSEvent, sseIn, textOf } from './completing.ts'
import { errorIn, eventsIn, lastOf, ask as respond, textOf as textOfResponse } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const resumable = { headers: { 'x-signalbox-resumable': 'true' } }
const create = (server: OaiServer, body: up.Json = {}, init: RequestInit = resumable) =>
  ask(server, 'POST', '', { model: 'm', messages: [{ role: 'user', content: 'hello' }], stream: true, ...body }, init)

/** Where an answer says that it can be resumed, below `/v1/chat/completions`. */
function placeOf({ headers }: Response): string {
  const [, place = ''] =
    /^\/v1\/chat\/completions(\/chatcmpl-[0-9a-f]{48})$/.exec(headers.get('x-signalbox-resume') ?? '') ?? []
  if (place === '') throw new Error(`no place: ${headers.get('x-signalbox-resume')}`)
  return place
}

const resume = (server: OaiServer, place: string, lastId?: string, headers: Record<string, string> = {}) =>
  ask(server, 'GET', place, undefined, {
    headers: { ...(lastId === undefined ? { accept: 'text/event-stream' } : { 'last-event-id': lastId }), ...headers },
  })
const resumed = async (...args: Parameters<typeof resume>) => sseIn(await (await resume(...args)).text())

/** Reads so many events, then loses the connection. */
async function readSome(answer: Response, count: number): Promise<SSEvent[]> {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (sseIn(text).length < count) text += Buffer.from((await reader.read()).value ?? []).toString()
  await reader.cancel()
  return sseIn(text)
}

/** Events from the first to the last, numbered as they come. */
function assertWhole(events: readonly SSEvent[]): void {
  const numbers = events.map(({ id }) => Number(id))
  if (numbers.some((number, index) => number !== index + 1)) throw new Error(`not in order: ${numbers}`)
}

t.test('a stream that can be resumed says where, and numbers its events', async (t) => {
  const server = serving()
  upstream.next(up.completion({ tokens: ['one', ' two'] }))
  const answer = await create(server)
  const place = placeOf(answer)
  const events = sseIn(await answer.text())
  assertWhole(events)
  const chunks = chunksIn(events)
  t.equal(textOf(chunks), 'one two')
  t.ok(chunks.every(({ id }) => `/${id}` === place))
  t.ok(
    chunks.every((chunk) => !('usage' in chunk)),
    'usage that nobody asked for is left out',
  )
  t.strictSame(await resumed(server, place), events, 'an EventSource that begins there gets all of it')
  for (const [index, { id }] of events.entries()) {
    if (index === events.length - 1) continue
    t.strictSame(await resumed(server, place, id), events.slice(index + 1), `after ${id}`)
  }
  t.equal((await resume(server, place, events.at(-1)?.id)).status, 204, 'who has seen the end is told not to ask again')
})

t.test('who does not ask for it gets a stream as ever', async (t) => {
  const server = serving()
  for (const init of [{}, { headers: { 'x-signalbox-resumable': 'false' } }]) {
    const answer = await create(server, {}, init)
    t.equal(answer.headers.get('x-signalbox-resume'), null)
    t.ok(sseIn(await answer.text()).every(({ id }) => id === undefined))
  }
  const whole = await create(server, { stream: false })
  t.equal(whole.headers.get('x-signalbox-resume'), null)
})

t.test('a lost connection: every event once, in order, wherever it broke, on any replica', async (t) => {
  const shared = { responseStorePersistence: new MemoryPersistence(), eventLog: new MemoryEventLog() }
  const [one, other] = [serving(shared), serving(shared)]
  const tokens = Array.from({ length: 12 }, (_, n) => ` ${n}`)
  for (const broken of [1, 2, 5, 9, 13]) {
    const gate = up.gated(tokens)
    upstream.next(gate.behaviour)
    gate.release(broken)
    const answer = await create(one, { stream_options: { include_usage: true } })
    const seen = await readSome(answer, broken)
    const following = resumed(other, placeOf(answer), seen.at(-1)?.id)
    gate.release(100)
    const events = [...seen, ...(await following)]
    assertWhole(events)
    const chunks = chunksIn(events)
    t.equal(textOf(chunks), tokens.join(''))
    t.match(chunks.at(-1)?.usage, { completion_tokens: Number })
    t.match(await upstream.last().closed, { aborted: false })
    await eventually(() => one.openRequests === 0 && other.openRequests === 0)
  }
})

t.test('the run is told of as ever when its client has left', async (t) => {
  const server = serving()
  const told: string[] = []
  server.hooks.on('onResponse', ({ outcome }) => told.push(outcome))
  server.hooks.on('onCompletion', ({ usage }) => told.push(`used ${usage?.total_tokens}`))
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(2)
  await readSome(await create(server), 1)
  await eventually(() => told.length === 1)
  gate.release(10)
  await eventually(() => told.length === 2)
  t.match(told, ['client_closed', /used \d+/])
})

t.test('a reader that has silently gone holds up nobody', async (t) => {
  const server = serving()
  const tokens = Array.from({ length: 300 }, (_, n) => ` ${n}`)
  upstream.next(up.completion({ tokens }))
  const answer = await create(server, { store: true })
  const events = await resumed(server, placeOf(answer))
  t.equal(textOf(chunksIn(events)), tokens.join(''))
  t.ok(await completionIn(ask(server, 'GET', placeOf(answer))))
  t.strictSame(sseIn(await answer.text()), events, 'and still gets all of it, should it be there')
})

t.test('what is to be stored is stored, whether its client stays or not', async (t) => {
  const server = serving()
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const answer = await create(server, { store: true, metadata: { a: 'b' } })
  await readSome(answer, 1)
  gate.release(10)
  await eventually(() => server.openRequests === 0)
  const stored = await completionIn(ask(server, 'GET', placeOf(answer)))
  t.match(stored, { choices: [{ message: { content: 'one two' } }], metadata: { a: 'b' } })
  await ask(server, 'DELETE', placeOf(answer))
  t.match(await errorIn(resume(server, placeOf(answer))), { status: 400, param: 'Last-Event-ID' })

  const other = await create(server)
  await other.text()
  t.match(await errorIn(ask(server, 'GET', placeOf(other))), { status: 404 }, 'else there are its events only')
  t.equal((await listIn(ask(server, 'GET', ''))).data.length, 0)
})

t.test('an answer that breaks off ends for all with the same error, and no [DONE]', async (t) => {
  const server = serving()
  for (const [behaviour, code] of [
    [up.dropAfter(3), 'upstream_connection_lost'],
    [up.endWithoutDone(3), 'upstream_truncated'],
  ] as const) {
    upstream.next(behaviour)
    const answer = await create(server)
    const events = sseIn(await answer.text())
    assertWhole(events)
    t.equal(events.length, 4)
    const last = JSON.parse(events.at(-1)?.data ?? '')
    assertSchema('ErrorResponse', last)
    t.match(last, { error: { code } })
    t.strictSame(await resumed(server, placeOf(answer)), events)
    t.equal((await resume(server, placeOf(answer), events.at(-1)?.id)).status, 204)
  }
  upstream.next(up.failWith(429))
  const refused = await create(server)
  t.equal(refused.status, 429, 'what fails before the first event has its status')
  t.equal(refused.headers.get('x-signalbox-resume'), null)
})

t.test('its maker dies: who follows is told so, in bounded time', async (t) => {
  // Signs of life of one do not get to the other.
  const eventLog = new MemoryEventLog()
  const [one, other] = [serving({ eventLog }), serving({ eventLog })]
  const gate = up.gated(['one', ' two', ' three'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const answer = await create(one)
  const place = placeOf(answer)
  const seen = await readSome(answer, 2)
  const rest = await resumed(other, place, seen.at(-1)?.id)
  t.strictSame(
    rest.map(({ id }) => id),
    ['3'],
  )
  const told = JSON.parse(rest[0]?.data ?? '')
  assertSchema('ErrorResponse', told)
  t.match(told, { error: { code: 'response_interrupted' } })
  gate.release(10)
  await eventually(() => one.openRequests === 0)
  t.strictSame(await resumed(one, place), [...seen, ...rest], 'a maker that was only paused adds nothing')
  // Somebody who claims to have seen more than there is.
  t.equal((await resume(other, place, '1000')).status, 204)
})

t.test('without a store at the beginning it is a 503, and nothing is asked of the model', async (t) => {
  const memory = new MemoryEventLog()
  const down = () => Promise.reject(new Error('down'))
  const log: EventLog = { append: down, read: (...args) => memory.read(...args), delete: down }
  const store = { get: down, set: down, delete: down }
  for (const options of [{ eventLog: log }, { responseStorePersistence: store }]) {
    const server = serving(options)
    t.match(await errorIn(create(server)), { status: 503, code: 'store_unavailable' })
    t.equal(upstream.requests.length, 0)
    t.equal(server.openRequests, 0)
  }
})

t.test('a log that fails, or is lost, costs the resumption and nothing else', async (t) => {
  for (const failure of ['fails', 'is lost']) {
    const memory = new MemoryEventLog()
    let appends = 0
    const log: EventLog = {
      async append(key, at, events, options) {
        if (appends++ !== 3) return memory.append(key, at, events, options)
        if (failure === 'fails') throw new Error('the log is down')
        await memory.delete(key)
        return memory.append(key, at, events, options)
      },
      read: (...args) => memory.read(...args),
      delete: (key) => memory.delete(key),
    }
    const server = serving({ eventLog: log })
    const warnings: HookEvents['onWarning'][] = []
    server.hooks.on('onWarning', (payload) => warnings.push(payload))
    const text = await (await create(server, { messages: [{ role: 'user', content: 'a b c d' }] })).text()
    t.equal(textOf(chunksIn(sseIn(text))), 'You said: a b c d')
    t.match(text, /: warning .*cannot be resumed/)
    t.match(warnings, [{ warning: /cannot be resumed/ }])
    t.equal(appends, 4, 'no event comes after a gap')
  }
})

t.test('a log that fails while it is followed: nothing is skipped when that is tried again', async (t) => {
  const memory = new MemoryEventLog()
  let reads = 0
  const log: EventLog = {
    append: (...args) => memory.append(...args),
    async *read(...args) {
      const isLook = reads++ % 2 === 0
      for await (const batch of memory.read(...args)) {
        yield isLook ? batch : batch.slice(0, 2)
        if (!isLook && reads === 2) throw new Error('the log is down')
      }
    },
    delete: (key) => memory.delete(key),
  }
  const server = serving({ eventLog: log })
  const outcomes: [string, string | undefined][] = []
  server.hooks.on('onResponse', ({ outcome, errorCode }) => outcomes.push([outcome, errorCode]))
  upstream.next(up.completion({ tokens: ['one', ' two'] }))
  const answer = await create(server)
  const events = sseIn(await answer.text())
  const broken = await resumed(server, placeOf(answer))
  t.strictSame(broken.slice(0, 2), events.slice(0, 2))
  t.match(broken[2], { id: undefined, data: /"store_unavailable"/ })
  t.equal(broken.length, 3)
  t.strictSame(outcomes.at(-1), ['stream_error', 'store_unavailable'])
})

t.test('what cannot be resumed is refused', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-ann-0123456789': 'ann', 'sk-bob-0123456789': 'bob' } })
  const shared = { responseStorePersistence: new MemoryPersistence(), eventLog: new MemoryEventLog({ maxEvents: 3 }) }
  const server = serving({ auth, ...shared })
  const as = (user: string) => ({ authorization: `Bearer sk-${user}-0123456789` })
  const answer = await create(server, {}, { headers: { ...resumable.headers, ...as('ann') } })
  const place = placeOf(answer)
  const events = sseIn(await answer.text())
  const gone = { status: 400, type: 'invalid_request_error', param: 'Last-Event-ID' }
  t.match(await errorIn(resume(server, place, '1', as('ann'))), gone, 'the first have gone')
  const later = serving({ auth, eventLog: shared.eventLog })
  t.match(await errorIn(resume(later, place, '1', as('ann'))), gone, 'also when nothing else is left')
  const lastButOne = events.at(-2)
  t.strictSame(await resumed(server, place, lastButOne?.id, as('ann')), events.slice(-1))
  for (const lastId of ['x', '-1', '1.5', '']) {
    t.match(await errorIn(resume(server, place, lastId, as('ann'))), { status: 400, param: 'Last-Event-ID' }, lastId)
  }
  t.match(await errorIn(resume(server, place, lastButOne?.id, as('bob'))), { status: 404, code: 'not_found' })
  t.match(await errorIn(resume(serving(shared), place, lastButOne?.id)), { status: 404, code: 'not_found' })
  t.match(await errorIn(resume(server, '/chatcmpl-1', '1', as('ann'))), { status: 404, code: 'not_found' })
  const stored = serving()
  const { id } = await completionIn(create(stored, { store: true, stream: false }))
  t.match(await errorIn(resume(stored, `/${id}`)), gone, 'it had no events')
  t.equal((await ask(stored, 'HEAD', `/${id}`, undefined, { headers: { accept: 'text/event-stream' } })).status, 200)
})

t.test('before its first chunk it can be followed already', async (t) => {
  const server = serving({ keepAliveMs: 20 })
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  const answer = await create(server)
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  t.match(Buffer.from((await reader.read()).value ?? []).toString(), ': keep-alive')
  await reader.cancel()
  const following = resumed(server, placeOf(answer))
  gate.release(10)
  t.equal(textOf(chunksIn(await following)), 'one')
})

t.test('nobody knows of one whose answer has not begun: it ends with its client, and with the gateway', async (t) => {
  const body = { model: 'm', input: 'x', stream: true }
  const leave = (_server: OaiServer, client: AbortController) => client.abort()
  const stop = (server: OaiServer) => server.abortOpenRequests()
  const complete = (server: OaiServer, init: RequestInit) => create(server, {}, init)
  const answerTo = (server: OaiServer, init: RequestInit) => respond(server, 'POST', '', body, init)
  for (const [post, end] of [
    [complete, leave],
    [answerTo, leave],
    [complete, stop],
    [answerTo, stop],
  ] as const) {
    const server = serving()
    const client = new AbortController()
    const asked = upstream.requests.length
    upstream.next(up.hang())
    const answer = post(server, { ...resumable, signal: client.signal })
    const request = await upstream.request(asked)
    await end(server, client)
    t.ok((await answer).status >= 499)
    t.match(await request.closed, { aborted: true })
    await eventually(() => server.openRequests === 0)
  }
})

t.test('a server that stops waits for it, and then breaks it off', async (t) => {
  for (const drainMs of [60_000, 20]) {
    const server = serving()
    const gate = up.gated(['one', ' two'])
    upstream.next(gate.behaviour)
    gate.release(2)
    const answer = await create(server)
    const seen = await readSome(answer, 2)
    t.ok(server.openRequests > 0)
    const stopping = server.stop({ drainMs })
    const following = resumed(server, placeOf(answer), seen.at(-1)?.id)
    if (drainMs > 1000) gate.release(10)
    const rest = await following
    await stopping
    if (drainMs > 1000) t.equal(textOf(chunksIn([...seen, ...rest])), 'one two')
    else t.match(rest.at(-1)?.data, /"shutting_down"/)
    t.equal(server.openRequests, 0)
  }
})

t.test('a stored response goes on, too, when its client leaves', async (t) => {
  const shared = { responseStorePersistence: new MemoryPersistence(), eventLog: new MemoryEventLog() }
  const [one, other] = [serving(shared), serving(shared)]
  const request = { model: 'm', input: 'hello', stream: true }
  const leave = async (answer: Response, count: number) => {
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    let text = ''
    while (eventsIn(text).length < count) text += Buffer.from((await reader.read()).value ?? []).toString()
    await reader.cancel()
    return eventsIn(text)
  }
  for (const broken of [1, 3, 5]) {
    const gate = up.gated(['one', ' two', ' three'])
    upstream.next(gate.behaviour)
    gate.release(3)
    const seen = await leave(await respond(one, 'POST', '', request, resumable), broken)
    const [first] = seen
    if (first?.type !== 'response.created') throw new Error(`began with ${first?.type}`)
    gate.release(10)
    const after = seen.at(-1)?.sequence_number
    const rest = await respond(other, 'GET', `/${first.response.id}?stream=true&starting_after=${after}`)
    const events = [...seen, ...eventsIn(await rest.text())]
    assertStream(events)
    t.match(lastOf(events), { status: 'completed', background: false })
    t.equal(textOfResponse(lastOf(events)), 'one two three')
    await eventually(() => one.openRequests === 0)
  }
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(3)
  await leave(await respond(one, 'POST', '', { ...request, store: false }, resumable), 1)
  t.match(await upstream.last().closed, { aborted: true }, 'but one that nobody could resume ends')
})

t.test('its deletion ends a response that goes on', async (t) => {
  const server = serving()
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  gate.release(1)
  const answer = await respond(server, 'POST', '', { model: 'm', input: 'hello', stream: true }, resumable)
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  const [, id] = /"id":"(resp_[0-9a-f]+)"/.exec(Buffer.from((await reader.read()).value ?? []).toString()) ?? []
  await reader.cancel()
  t.equal((await respond(server, 'DELETE', `/${id}`)).status, 200)
  t.match(await upstream.last().closed, { aborted: true })
  await eventually(() => server.openRequests === 0)
})
