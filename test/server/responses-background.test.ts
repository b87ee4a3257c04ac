import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  createLLM,
  type HookEvents,
  type LLMClient,
  MemoryEventLog,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
} from '../../src/index.ts'
import { heartbeatMs } from '../../src/responses/response-records.ts'
import type { ResponseEvent, ResponseObject } from '../../src/responses/response-types.ts'
import { eventually, glance, messagesOf } from '../core.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions = {}): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const begin = (server: OaiServer, body: up.Json = {}) =>
  responseIn(ask(server, 'POST', '', { model: 'm', input: 'hello', background: true, ...body }))
const get = (server: OaiServer, { id }: { id: string }) => responseIn(ask(server, 'GET', `/${id}`))

/** Polls as a client does, until the response is over. */
async function ended(server: OaiServer, response: ResponseObject): Promise<ResponseObject> {
  for (;;) {
    const now = await get(server, response)
    if (now.status !== 'queued' && now.status !== 'in_progress') return now
    await sleep(5)
  }
}

async function eventuallyGet(store: MemoryPersistence, key: string): Promise<void> {
  while ((await store.get(key)) === undefined) await sleep(2)
}

const replayed = (server: OaiServer, { id }: ResponseObject): Promise<ResponseEvent[]> =>
  streamIn(ask(server, 'GET', `/${id}?stream=true`))

t.test('how it ended is told when its request is long over', async (t) => {
  const server = serving()
  const ends: HookEvents['onBackgroundEnd'][] = []
  server.hooks.on('onBackgroundEnd', (end) => ends.push(end))
  await ended(server, await begin(server))
  await eventually(() => ends.length === 1)
  t.match(ends, [{ route: '/v1/responses', model: 'm', outcome: 'ok', usage: Object }])
  upstream.behave(up.failWith(500))
  await ended(server, await begin(server))
  await eventually(() => ends.length === 2)
  t.match(ends[1], { outcome: 'error', errorCode: 'upstream_error' })
  upstream.behave(up.dropAfter(2))
  await ended(server, await begin(server))
  await eventually(() => ends.length === 3)
  t.match(ends[2], { outcome: 'error', errorCode: 'upstream_connection_lost' })
  upstream.behave(up.hang())
  const queued = await begin(server)
  await ask(server, 'POST', `/${queued.id}/cancel`)
  await eventually(() => ends.length === 4)
  t.match(ends[3], { outcome: 'cancelled', errorCode: undefined })
  upstream.behave()
  await streamIn(ask(server, 'POST', '', { model: 'm', input: 'hello', background: true, stream: true }))
  await responseIn(ask(server, 'POST', '', { model: 'm', input: 'hello' }))
  t.equal(ends.length, 4, 'where the client stays, its request tells it')
})

t.test('it is answered at once, made after that, and polled', async (t) => {
  const server = serving()
  const completions: HookEvents['onCompletion'][] = []
  server.hooks.on('onCompletion', (payload) => completions.push(payload))
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  const queued = await begin(server, { metadata: { a: 'b' } })
  t.match(queued, { status: 'queued', background: true, output: [], metadata: { a: 'b' } })
  await upstream.request(0)
  t.match(await get(server, queued), { status: 'in_progress' })
  t.equal(server.openRequests, 1, 'it counts as open')
  const items = (await (await ask(server, 'GET', `/${queued.id}/input_items`)).json()) as { data: unknown[] }
  t.equal(items.data.length, 1)
  gate.release(10)
  const response = await ended(server, queued)
  t.match(response, { status: 'completed', completed_at: Number, background: true })
  t.equal(textOf(response), 'one two')
  await eventually(() => server.openRequests === 0)
  t.match(completions, [{ usage: { completion_tokens: 2 }, model: 'm' }])
})

t.test('nobody needs to wait for it: its client may leave', async (t) => {
  const server = serving()
  for (const stream of [false, true]) {
    const gate = up.gated(['one', ' two'])
    upstream.next(gate.behaviour)
    const controller = new AbortController()
    const body = { model: 'm', input: 'hello', background: true, stream }
    const answer = await ask(server, 'POST', '', body, { signal: controller.signal })
    let id: string
    if (stream) {
      const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
      const first = Buffer.from((await reader.read()).value ?? []).toString()
      id = (JSON.parse(/data: (.*)/.exec(first)?.[1] ?? '') as { response: ResponseObject }).response.id
      await reader.cancel()
    } else id = (await responseIn(answer)).id
    controller.abort()
    gate.release(10)
    t.equal(textOf(await ended(server, { id } as ResponseObject)), 'one two')
  }
})

t.test('streamed: queued, in progress, and all the rest', async (t) => {
  const server = serving()
  const events = await streamIn(ask(server, 'POST', '', { model: 'm', input: 'hello', background: true, stream: true }))
  t.strictSame(
    events.slice(0, 3).map(({ type }) => type),
    ['response.created', 'response.queued', 'response.in_progress'],
  )
  t.match(lastOf(events), { status: 'completed' })
  t.strictSame(await get(server, lastOf(events)), lastOf(events))
})

t.test('what goes wrong is in the response', async (t) => {
  const server = serving()
  for (const [behaviour, code] of [
    [up.failWith(500), 'server_error'],
    [up.failWith(429), 'rate_limit_exceeded'],
    [up.dropAfter(3), 'server_error'],
  ] as const) {
    upstream.next(behaviour)
    const failed = await ended(server, await begin(server))
    t.match(failed, { status: 'failed', error: { code, message: String } })
    t.notMatch(JSON.stringify(failed), up.UPSTREAM_SECRET)
  }
  t.match(await errorIn(ask(server, 'POST', '', { model: 'nope', input: 'x', background: true })), { status: 404 })
})

t.test('cancelled', async (t) => {
  const server = serving()
  const gate = up.gated(['one', ' two', ' three'])
  upstream.next(gate.behaviour)
  const queued = await begin(server)
  const following = streamIn(ask(server, 'GET', `/${queued.id}?stream=true`))
  await upstream.request(0)
  gate.release(2)
  await eventually(() => gate.sent === 2)
  await sleep(10)
  const cancelled = await responseIn(ask(server, 'POST', `/${queued.id}/cancel`))
  t.match(cancelled, { status: 'cancelled', output: [{ status: 'incomplete', content: [{ text: 'one' }] }] })
  t.match(await upstream.last().closed, { aborted: true })
  t.strictSame(await get(server, queued), cancelled)
  t.strictSame(
    await responseIn(ask(server, 'POST', `/${queued.id}/cancel`)),
    cancelled,
    'a second time changes nothing',
  )
  t.match(lastOf(await following), { status: 'cancelled' }, 'who follows is told')
  t.equal(server.openRequests, 0)
})

t.test('one that is over, or in the foreground, is not', async (t) => {
  const server = serving()
  const over = await ended(server, await begin(server))
  t.strictSame(await responseIn(ask(server, 'POST', `/${over.id}/cancel`)), over)
  const { id } = await responseIn(ask(server, 'POST', '', { model: 'm', input: 'x' }))
  t.match(await errorIn(ask(server, 'POST', `/${id}/cancel`)), { status: 400, type: 'invalid_request_error' })
})

t.test('a client of the model that does not heed the end cannot hold it up', async (t) => {
  const deaf: LLMClient = {
    provider: 'lab',
    model: 'deaf',
    complete: () => new Promise(() => {}),
    async *stream() {
      yield await new Promise<never>(() => {})
    },
  }
  const server = serving({ entries: [{ model: 'm', client: deaf }] })
  const queued = await begin(server)
  t.match(await responseIn(ask(server, 'POST', `/${queued.id}/cancel`)), { status: 'cancelled' })
})

t.test('nothing goes on from one that is under way', async (t) => {
  const server = serving()
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  const queued = await begin(server)
  const next = { model: 'm', input: 'two', previous_response_id: queued.id }
  t.match(await errorIn(ask(server, 'POST', '', next)), { status: 400, param: 'previous_response_id' })
  gate.release(10)
  await ended(server, queued)
  await responseIn(ask(server, 'POST', '', next))
  t.strictSame(glance(messagesOf(upstream.last())), ['user hello', 'assistant one', 'user two'])
})

t.test('deleted under way: it is not made any further, and does not come back', async (t) => {
  const server = serving()
  upstream.next(up.gated(['one']).behaviour)
  const queued = await begin(server)
  await upstream.request(0)
  t.equal((await ask(server, 'DELETE', `/${queued.id}`)).status, 200)
  t.match(await upstream.last().closed, { aborted: true })
  t.equal(server.openRequests, 0)
  t.match(await errorIn(ask(server, 'GET', `/${queued.id}`)), { status: 404 })
})

t.test('shutdown', async (t) => {
  t.test('what is made in the background may finish', async (t) => {
    const server = serving()
    const gate = up.gated(['one'])
    upstream.next(gate.behaviour)
    const queued = await begin(server)
    await upstream.request(0)
    let stopped = false
    const stopping = server.stop({ drainMs: 10_000 }).then(() => {
      stopped = true
    })
    await sleep(20)
    t.equal(stopped, false)
    gate.release(10)
    await stopping
    t.match(await get(server, queued), { status: 'completed' })
  })

  t.test('and what takes too long fails, and says why', async (t) => {
    const server = serving()
    upstream.next(up.gated(['one']).behaviour)
    const queued = await begin(server)
    const following = streamIn(ask(serving(), 'GET', `/${queued.id}?stream=true`)).catch(() => [])
    await upstream.request(0)
    await server.stop({ drainMs: 10 })
    t.match(await upstream.last().closed, { aborted: true })
    t.match(await get(server, queued), {
      status: 'failed',
      error: { code: 'server_error', message: 'the gateway is shutting down' },
    })
    const events = await streamIn(ask(server, 'GET', `/${queued.id}?stream=true`))
    t.match(events.at(-2), { type: 'error', code: 'shutting_down' })
    await following
  })
})

t.test('on two replicas', async (t) => {
  const shared = { responseStorePersistence: new MemoryPersistence(), eventLog: new MemoryEventLog() }

  t.test('any of them tells how it stands, and follows', async (t) => {
    const [one, other] = [serving(shared), serving(shared)]
    const gate = up.gated(['one', ' two'])
    upstream.next(gate.behaviour)
    const queued = await begin(one)
    await upstream.request(0)
    t.match(await get(other, queued), { status: 'in_progress' })
    const following = streamIn(ask(other, 'GET', `/${queued.id}?stream=true`))
    gate.release(10)
    const events = await following
    t.equal(textOf(lastOf(events)), 'one two')
    t.strictSame(await get(other, queued), lastOf(events))
  })

  t.test('any of them cancels: its maker stops at its next event, and changes nothing any more', async (t) => {
    const [one, other] = [serving(shared), serving(shared)]
    const gate = up.gated(['one', ' two', ' three'])
    upstream.next(gate.behaviour)
    const queued = await begin(one)
    await upstream.request(0)
    gate.release(2)
    await eventually(() => gate.sent === 2)
    await sleep(10)
    const cancelled = await responseIn(ask(other, 'POST', `/${queued.id}/cancel`))
    t.match(cancelled, { status: 'cancelled' })
    t.equal(textOf(cancelled), 'one')
    gate.release(1)
    t.match(await upstream.last().closed, { aborted: true })
    await eventually(() => one.openRequests === 0)
    t.strictSame(await get(one, queued), cancelled)
    const events = await replayed(one, queued)
    t.strictSame(lastOf(events), cancelled)
  })

  t.test('a maker that hears nothing from its model looks from time to time whether it is still wanted', async (t) => {
    const beats: (() => void)[] = []
    const { setInterval } = globalThis
    t.intercept(globalThis, 'setInterval', {
      value: ((callback: () => void, ms: number) => {
        if (ms === heartbeatMs) beats.push(callback)
        return setInterval(callback, ms)
      }) as typeof setInterval,
      configurable: true,
    })
    const [one, other] = [serving(shared), serving(shared)]
    upstream.next(up.gated([]).behaviour)
    const queued = await begin(one)
    await upstream.request(0)
    t.equal(beats.length, 1)
    const life = `response:{anon:${encodeURIComponent(`life:${queued.id}`)}}`
    await shared.responseStorePersistence.delete(life)
    beats[0]?.()
    await eventuallyGet(shared.responseStorePersistence, life)
    t.match(await get(other, queued), { status: 'in_progress' }, 'it has given a sign of life')
    await responseIn(ask(other, 'POST', `/${queued.id}/cancel`))
    beats[0]?.()
    t.match(await upstream.last().closed, { aborted: true })
    await eventually(() => one.openRequests === 0)
    t.match(await get(one, queued), { status: 'cancelled' })
  })

  t.test('any of them deletes', async (t) => {
    const [one, other] = [serving(shared), serving(shared)]
    const gate = up.gated(['one', ' two', ' three'])
    upstream.next(gate.behaviour)
    const queued = await begin(one)
    await upstream.request(0)
    gate.release(2)
    await eventually(() => gate.sent === 2)
    await sleep(10)
    t.equal((await ask(other, 'DELETE', `/${queued.id}`)).status, 200)
    gate.release(1)
    await eventually(() => one.openRequests === 0)
    for (const server of [one, other]) t.match(await errorIn(ask(server, 'GET', `/${queued.id}`)), { status: 404 })
  })
})

t.test('the maker dies: the response fails for whoever asks, and what it said is there', async (t) => {
  const persistence = new MemoryPersistence()
  const shared = { responseStorePersistence: persistence, eventLog: new MemoryEventLog() }
  const [one, other] = [serving(shared), serving(shared)]
  const gate = up.gated(['one', ' two', ' three'])
  upstream.next(gate.behaviour)
  const queued = await begin(one)
  await upstream.request(0)
  gate.release(2)
  await eventually(() => gate.sent === 2)
  await sleep(10)
  // As when its time is over: the process has not given a sign of life for so long.
  t.equal(await persistence.delete(`response:{anon:${encodeURIComponent(`life:${queued.id}`)}}`), true)
  const failed = await get(other, queued)
  t.match(failed, {
    status: 'failed',
    error: { code: 'server_error', message: /process that made this response is gone/ },
  })
  t.equal(textOf(failed), 'one')
  const events = await replayed(other, queued)
  t.match(events.at(-2), { type: 'error', code: 'response_interrupted' })
  t.strictSame(lastOf(events), failed)

  gate.release(10)
  await eventually(() => one.openRequests === 0)
  t.strictSame(await get(one, queued), failed, 'a maker that was only paused does not write over it')
  t.strictSame(await replayed(other, queued), events)
})
