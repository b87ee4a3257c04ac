/** What two replicas do to one response at the same moment. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  createLLM,
  type EventLog,
  MemoryEventLog,
  MemoryPersistence,
  OaiServer,
  type OaiServerOptions,
  type Persistence,
} from '../../src/index.ts'
import type { ResponseObject } from '../../src/responses/response-types.ts'
import { eventsKey } from '../../src/server/events-key.ts'
import { eventually } from '../core.ts'
import * as up from '../upstream.ts'
import { ask, errorIn, eventsIn, lastOf, responseIn, streamIn, textOf } from './responding.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, apiKey: 'sk-gateway' })
t.teardown(() => lab.close?.())

const serving = (options: OaiServerOptions): OaiServer =>
  new OaiServer({ entries: [{ model: 'm', client: lab }], ...options })
const body = { model: 'm', input: 'hello' }
const begin = (server: OaiServer) => responseIn(ask(server, 'POST', '', { ...body, background: true }))
const get = (server: OaiServer, { id }: ResponseObject) => responseIn(ask(server, 'GET', `/${id}`))
const idle = (server: OaiServer) => eventually(() => server.openRequests === 0)

/** What two replicas share, and what is to happen just before one of them writes. */
function shared(options: { maxEvents?: number } = {}) {
  const values = new MemoryPersistence()
  const events = new MemoryEventLog(options)
  const before = { set: async (_key: string) => {}, append: async () => {} }
  const persistence: Persistence = {
    get: (key) => values.get(key),
    async set(key, value, options) {
      await before.set(key)
      return values.set(key, value, options)
    },
    add: (key, value, options) => values.add(key, value, options),
    delete: (key) => values.delete(key),
  }
  const eventLog: EventLog = {
    async append(...args) {
      await before.append()
      return events.append(...args)
    },
    read: (...args) => events.read(...args),
    delete: (key) => events.delete(key),
  }
  return {
    before,
    values,
    events,
    disturbed: () => serving({ responseStorePersistence: persistence, eventLog }),
    quiet: () => serving({ responseStorePersistence: values, eventLog: events }),
  }
}

/** A response of several tokens that comes to its end whatever is done to it elsewhere. */
async function staysAsTold(t: Test, server: OaiServer, told: ResponseObject): Promise<void> {
  await idle(server)
  t.strictSame(await get(server, told), told)
  const events = await streamIn(ask(server, 'GET', `/${told.id}?stream=true`))
  t.strictSame(lastOf(events), told)
}

t.test('a cancel holds, though its maker writes between its reading the log and ending it', async (t) => {
  const { before, disturbed, quiet } = shared()
  const [maker, canceller] = [quiet(), disturbed()]
  const gate = up.gated(['one', ' two', ' three', ' four'])
  upstream.next(gate.behaviour)
  const queued = await begin(maker)
  await upstream.request(0)
  gate.release()
  await eventually(() => gate.sent === 1)
  let writes = 2
  before.append = async () => {
    if (writes-- <= 0) return
    gate.release()
    await sleep(20)
  }
  const told = await responseIn(ask(canceller, 'POST', `/${queued.id}/cancel`))
  t.equal(told.status, 'cancelled')
  t.equal(textOf(told), 'one two', 'what had been said by then')
  gate.release(10)
  await staysAsTold(t, maker, told)
})

t.test('a cancel holds, though its maker comes to the end before the cancel is stored', async (t) => {
  const { before, disturbed, quiet } = shared()
  const [maker, canceller] = [quiet(), disturbed()]
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  const queued = await begin(maker)
  await upstream.request(0)
  gate.release(2)
  await eventually(() => gate.sent === 2)
  before.set = async (key) => {
    if (!key.includes('items')) return
    gate.release(10)
    await idle(maker)
  }
  const told = await responseIn(ask(canceller, 'POST', `/${queued.id}/cancel`))
  t.equal(told.status, 'cancelled')
  await staysAsTold(t, maker, told)
})

t.test('who cancels what has just come to its end is told of that end', async (t) => {
  const { before, disturbed, quiet } = shared()
  const [maker, canceller] = [disturbed(), quiet()]
  upstream.next(up.completion({ text: 'all of it' }))
  let cancelled: Promise<ResponseObject> | undefined
  const queued = await begin(maker)
  before.set = async (key) => {
    const isAtItsEnd = (await get(canceller, queued)).status === 'in_progress' && key.includes('items')
    if (!isAtItsEnd || cancelled) return
    cancelled = responseIn(ask(canceller, 'POST', `/${queued.id}/cancel`))
    await sleep(50)
  }
  await idle(maker)
  const told = await cancelled
  t.match(told, { status: 'completed' })
  t.strictSame(await get(maker, queued), told)
})

t.test('who cancels the same response at once on both is told the same', async (t) => {
  const { quiet } = shared()
  const [maker, other, third] = [quiet(), quiet(), quiet()]
  upstream.next(up.gated([]).behaviour)
  const queued = await begin(maker)
  await upstream.request(0)
  const told = await Promise.all(
    [maker, other, third].map((server) => responseIn(ask(server, 'POST', `/${queued.id}/cancel`))),
  )
  for (const one of told) t.strictSame(one, told[0])
  t.equal(told[0]?.status, 'cancelled')
})

t.test('a response that is deleted while its maker stores it stays away, and leaves nothing behind', async (t) => {
  for (const part of ['items', 'resp_']) {
    const { before, values, disturbed, quiet } = shared()
    const [maker, deleter] = [disturbed(), quiet()]
    const gate = up.gated(['one'])
    upstream.next(gate.behaviour)
    const queued = await begin(maker)
    await upstream.request(upstream.requests.length)
    let isDeleted = false
    before.set = async (key) => {
      if (isDeleted || !key.includes(part) || key.includes('life')) return
      isDeleted = true
      t.equal((await ask(deleter, 'DELETE', `/${queued.id}`)).status, 200)
    }
    gate.release(10)
    await idle(maker)
    t.ok(isDeleted)
    for (const server of [maker, deleter]) {
      t.match(await errorIn(ask(server, 'GET', `/${queued.id}`)), { status: 404 })
    }
    t.equal(await values.get(`response:{anon:${queued.id}}`), undefined)
    t.equal(await values.get(`response:{anon:${encodeURIComponent(`items:${queued.id}`)}}`), undefined)
  }
})

t.test('a stream that was deleted before its first chunk stays away when its client leaves', async (t) => {
  const { quiet } = shared()
  const [maker, deleter] = [quiet(), quiet()]
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  const opening = ask(maker, 'POST', '', { ...body, stream: true })
  await upstream.request(0)
  gate.release()
  const reader = (await opening).body?.getReader()
  const [created] = eventsIn(Buffer.from((await reader?.read())?.value ?? []).toString())
  const { id } = (created as { response: ResponseObject }).response
  t.equal((await ask(deleter, 'DELETE', `/${id}`)).status, 200)
  await reader?.cancel()
  await idle(maker)
  t.match(await errorIn(ask(deleter, 'GET', `/${id}`)), { status: 404 })
})

t.test('a client that leaves before it has read anything leaves a cancelled response', async (t) => {
  const { before, disturbed } = shared()
  const maker = disturbed()
  let id = ''
  before.set = async (key) => {
    id ||= /\bresp_[\da-f]+/.exec(key)?.[0] ?? ''
  }
  const answer = await ask(maker, 'POST', '', { ...body, stream: true })
  await answer.body?.cancel()
  await idle(maker)
  t.match(await responseIn(ask(maker, 'GET', `/${id}`)), { status: 'cancelled' })
})

t.test('a log that has lost its beginning is ended all the same', async (t) => {
  const { quiet } = shared({ maxEvents: 4 })
  const [maker, canceller] = [quiet(), quiet()]
  const gate = up.gated(['one', ' two', ' three', ' four', ' five', ' six'])
  upstream.next(gate.behaviour)
  const queued = await begin(maker)
  await upstream.request(0)
  gate.release(5)
  await eventually(() => gate.sent === 5)
  await sleep(10)
  const told = await responseIn(ask(canceller, 'POST', `/${queued.id}/cancel`))
  t.equal(told.status, 'cancelled')
  gate.release(10)
  await idle(maker)
  t.strictSame(await get(maker, queued), told)
})

t.test('a stream goes on when the store has lost everything, and is stored at its end', async (t) => {
  const { values, events, quiet } = shared()
  const maker = quiet()
  const gate = up.gated(['one', ' two'])
  upstream.next(gate.behaviour)
  const opening = ask(maker, 'POST', '', { ...body, stream: true })
  await upstream.request(0)
  gate.release(2)
  const reader = (await opening).body?.getReader()
  let text = Buffer.from((await reader?.read())?.value ?? []).toString()
  const { id } = (eventsIn(text)[0] as { response: ResponseObject }).response
  for (const key of [id, `items:${id}`, `life:${id}`]) await values.delete(`response:{anon:${encodeURIComponent(key)}}`)
  await events.delete(eventsKey(null, id))
  gate.release(10)
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    text += Buffer.from(next.value).toString()
  }
  t.equal(lastOf(eventsIn(text)).status, 'completed')
  t.match(await responseIn(ask(maker, 'GET', `/${id}`)), { status: 'completed' })
})
