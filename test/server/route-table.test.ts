import t from 'tap'
import { HiddenSteps } from '../../src/agent/hidden-steps.ts'
import { CompletionRecords } from '../../src/completions/completion-records.ts'
import { HookBus } from '../../src/hooks/hook-bus.ts'
import { ConversationRecords } from '../../src/responses/conversation-records.ts'
import { ResponseRecords } from '../../src/responses/response-records.ts'
import { ModelRouter } from '../../src/router/model-router.ts'
import type { Answer } from '../../src/server/answer.ts'
import { BackgroundRuns } from '../../src/server/background-runs.ts'
import { defaultBodyLimits } from '../../src/server/body.ts'
import type { Endpoint, ServerContext } from '../../src/server/context.ts'
import { Exchange } from '../../src/server/exchange.ts'
import { Readiness } from '../../src/server/readiness.ts'
import { RouteTable } from '../../src/server/route-table.ts'
import { WebRequest } from '../../src/server/web-request.ts'
import { MemoryEventLog } from '../../src/store/memory-event-log.ts'
import { MemoryPersistence } from '../../src/store/memory-persistence.ts'
import { PersistedIndex } from '../../src/store/persisted-index.ts'
import { ResponseStore } from '../../src/store/response-store.ts'

const endpoint =
  (name: string): Endpoint =>
  (exchange) =>
    exchange.json(200, { name })

const hooks = new HookBus()
const context: ServerContext = {
  hooks,
  router: new ModelRouter(),
  readiness: new Readiness(),
  limits: defaultBodyLimits,
  limiter: undefined,
  keepAliveMs: 1000,
  streamChunkChars: 40,
  agentLoader: undefined,
  loaderTimeoutMs: 1000,
  conversations: undefined,
  hiddenSteps: new HiddenSteps(new MemoryPersistence()),
  responses: new ResponseRecords(new ResponseStore(), 1000),
  conversationRecords: new ConversationRecords(new ResponseStore(), { timeoutMs: 1000 }),
  completions: new CompletionRecords({
    store: new ResponseStore(),
    index: new PersistedIndex(new MemoryPersistence()),
    timeoutMs: 1000,
  }),
  eventLog: new MemoryEventLog(),
  backgroundRuns: new BackgroundRuns(),
}

const listThings = endpoint('list')
const makeThing = endpoint('make')
const getThing = endpoint('get')
const dropThing = endpoint('drop')
const health = endpoint('health')

const table = new RouteTable([
  ['GET', '/health', health, 'open'],
  ['GET', '/things', listThings],
  ['POST', '/things', makeThing],
  ['GET', '/things/{id}', getThing],
  ['DELETE', '/things/{id}', dropThing],
])

const exchange = (method = 'GET', path = '/'): Exchange =>
  new Exchange(new WebRequest(new Request(`http://localhost${path}`, { method })), {
    requestId: 'req_1',
    hooks,
    headers: {},
  })

/** What the endpoint for a request does with it. */
const run = async (method: string, path: string): Promise<Answer> =>
  table.match(method, path).endpoint(exchange(method, path), context)

t.test('method and path lead to the endpoint', async (t) => {
  t.match(table.match('GET', '/things'), { route: '/things', parameters: [], endpoint: listThings })
  t.match(table.match('POST', '/things'), { route: '/things', parameters: [], endpoint: makeThing })
  t.equal((await run('POST', '/things')).body, '{"name":"make"}')
})

t.test('only what says so needs no key', async (t) => {
  t.equal(table.match('GET', '/health').open, true)
  for (const [method, path] of [
    ['GET', '/things'],
    ['GET', '/things/1'],
    ['POST', '/health'],
    ['GET', '/elsewhere'],
  ] as const) {
    t.equal(table.match(method, path).open, false, `${method} ${path}`)
  }
})

t.test('a parameter takes the rest of the path, slashes included, and is decoded', async (t) => {
  for (const [path, parameter] of [
    ['/things/a', 'a'],
    ['/things/a/b:c.d', 'a/b:c.d'],
    ['/things/a%2Fb', 'a/b'],
    ['/things/%C3%A9t%C3%A9', 'été'],
    ['/things/100%', '100%'],
    ['/things/%C3', '%C3'],
  ] as const) {
    t.match(table.match('GET', path), { route: '/things/{id}', parameters: [parameter], endpoint: getThing }, path)
  }
  t.equal(table.match('DELETE', '/things/a').endpoint, dropThing)
})

t.test('a parameter may be followed by more', async (t) => {
  const [parts, stop] = [endpoint('parts'), endpoint('stop')]
  const rows = new RouteTable([
    ['GET', '/things/{id}', getThing],
    ['GET', '/things/{id}/parts', parts],
    ['POST', '/things/{id}/stop', stop],
  ])
  t.match(rows.match('GET', '/things/a/parts'), { route: '/things/{id}/parts', parameters: ['a'], endpoint: parts })
  t.match(rows.match('POST', '/things/a%2Fb/stop'), { route: '/things/{id}/stop', parameters: ['a/b'], endpoint: stop })
  t.match(rows.match('GET', '/things/a'), { route: '/things/{id}', parameters: ['a'], endpoint: getThing })
  t.match(rows.match('GET', '/things/parts'), { route: '/things/{id}', parameters: ['parts'] }, 'something called so')
  t.match(rows.match('GET', '/things/a/others'), { route: '/things/{id}', parameters: ['a/others'] })
  t.throws(() => rows.match('DELETE', '/things/a/parts').endpoint(exchange(), context), {
    code: 'method_not_allowed',
    headers: { allow: 'GET, HEAD' },
  })
})

t.test('there may be several parameters', async (t) => {
  const [part, parts] = [endpoint('part'), endpoint('parts')]
  const rows = new RouteTable([
    ['GET', '/things/{id}', getThing],
    ['GET', '/things/{id}/parts', parts],
    ['GET', '/things/{id}/parts/{part}', part],
  ])
  for (const [path, expected, parameters] of [
    ['/things/a/parts/b', part, ['a', 'b']],
    ['/things/a%2Fb/parts/c%2Fd', part, ['a/b', 'c/d']],
    ['/things/a/parts/parts', part, ['a', 'parts']],
    ['/things/a/parts', parts, ['a']],
    ['/things/a', getThing, ['a']],
    ['/things/a\nb', getThing, ['a\nb']],
  ] as const) {
    t.match(rows.match('GET', path), { parameters, endpoint: expected }, path)
  }
})

t.test('HEAD is answered by GET', async (t) => {
  t.equal(table.match('HEAD', '/things').endpoint, listThings)
  t.equal(table.match('HEAD', '/health').open, true)
})

t.test('an unknown path is a 404', async (t) => {
  for (const path of ['/', '/thing', '/things2', '/health/deep', '/Things', '/constructor', '/__proto__']) {
    t.match(table.match('GET', path), { route: '_other', parameters: [], open: false }, path)
    await t.rejects(run('GET', path), { kind: 'not_found', status: 404, message: `unknown request URL: GET ${path}` })
  }
})

t.test('the message of a 404 does not repeat an endless path', async (t) => {
  const error = await run('GET', `/${'x'.repeat(10_000)}`).catch((error: Error) => error)
  t.ok(error instanceof Error && error.message.length < 300)
})

t.test('another method is a 405 that says which are allowed', async (t) => {
  for (const [method, path, allow] of [
    ['DELETE', '/things', 'GET, HEAD, POST'],
    ['PUT', '/things/a', 'GET, HEAD, DELETE'],
    ['POST', '/health', 'GET, HEAD'],
    ['PROPFIND', '/health', 'GET, HEAD'],
  ] as const) {
    await t.rejects(
      run(method, path),
      { code: 'method_not_allowed', status: 405, headers: { allow } },
      `${method} ${path}`,
    )
  }
  t.equal(table.match('PUT', '/things/a').route, '/things/{id}', 'the route is known all the same')
})

t.test('HEAD on something that only takes POST is a 405 too', async (t) => {
  const posts = new RouteTable([['POST', '/make', makeThing]])
  const { endpoint } = posts.match('HEAD', '/make')
  t.throws(() => endpoint(exchange('HEAD', '/make'), context), {
    code: 'method_not_allowed',
    headers: { allow: 'POST' },
  })
})
