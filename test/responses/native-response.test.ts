import t from 'tap'
import { foldEvents } from '../../src/responses/fold-events.ts'
import { NativeResponse } from '../../src/responses/native-response.ts'
import type { ResponseEvent } from '../../src/responses/response-types.ts'
import { GatewayError } from '../../src/server/errors.ts'
import type { ProviderEvent } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { everyItem } from '../upstream/hosted-items.ts'
import { type RecordedRequest, responseEvents } from '../upstream.ts'

const request = { model: 'm', input: 'hi' }
const given = (): ProviderEvent[] => [
  ...(responseEvents({ body: request } as RecordedRequest, { items: everyItem() }) as Iterable<ProviderEvent>),
]

function assertNumbered(events: readonly ResponseEvent[]): void {
  for (const [index, event] of events.entries()) {
    assertSchema('ResponseStreamEvent', event)
    if (event.sequence_number !== index) throw new Error(`event ${index} has the number ${event.sequence_number}`)
  }
}

const folded = (log: readonly ResponseEvent[]) => {
  const [first] = log
  if (!first || !('response' in first)) throw new Error('a log begins with the response')
  return foldEvents(first.response, log)
}

t.test('at every point, the log amounts to the response as it stands', async (t) => {
  const native = new NativeResponse(request)
  const log = native.start()
  for (const event of given()) {
    log.push(...native.add(event))
    t.strictSame(folded(log).output, native.response.output)
  }
  const last = native.finish()
  assertNumbered([...log, ...last])
  t.match(last, [
    {
      type: 'response.completed',
      response: { status: 'completed', output: everyItem().map(({ type }) => ({ type })) },
    },
  ])
  t.strictSame([...native.add(given()[3] as ProviderEvent), ...native.finish(), ...native.cancel()], [], 'it is over')
})

t.test('deltas of calls, code, thoughts and summaries are put together', async (t) => {
  const native = new NativeResponse(request)
  const isDelta = ({ type }: ProviderEvent): boolean => type.endsWith('.delta') || type.endsWith('.added')
  for (const event of given().filter(isDelta)) native.add(event)
  t.match(native.response.output, [
    { summary: [{ text: 'First, look it up.' }], content: [{ text: 'Look it up.' }] },
    { type: 'web_search_call' },
    { type: 'file_search_call' },
    { code: 'print(1 + 1)' },
    {},
    {},
    {},
    { arguments: '{"page":"Rome"}' },
    {},
    { type: 'shell_call' },
    {},
    { arguments: '{"city":"Rome"}' },
    { input: 'select 1' },
    { content: [{ text: 'It is sunny in Rome.' }, { refusal: 'I will not say more.' }] },
  ])
})

t.test('wherever it breaks off, what is told and kept is as the API describes it', async (t) => {
  const events = given()
  for (const cut of events.keys()) {
    for (const end of ['fail', 'cancel', 'finish'] as const) {
      const native = new NativeResponse(request)
      const log = [...native.start(), ...events.slice(0, cut).flatMap((event) => native.add(event))]
      const error = new GatewayError('upstream_connection_lost', 'lost')
      log.push(...(end === 'fail' ? native.fail(error) : native[end]()))
      assertNumbered(log)
      t.equal(log[0]?.type, 'response.created')
      t.match(native.response.status, end === 'cancel' ? 'cancelled' : 'failed')
      t.equal(native.failure?.kind, { fail: error.kind, cancel: undefined, finish: 'upstream_truncated' }[end])
    }
  }
})

t.test('in the background it is queued first, and what the provider says again is not told twice', async (t) => {
  const native = new NativeResponse({ ...request, background: true })
  const log = [
    ...native.queue(),
    ...native.start(),
    ...given().flatMap((event) => native.add(event)),
    ...native.finish(),
  ]
  assertNumbered(log)
  const lifecycle = log.flatMap((event) => ('response' in event ? [[event.type, event.response.status]] : []))
  t.strictSame(lifecycle, [
    ['response.created', 'queued'],
    ['response.queued', 'queued'],
    ['response.in_progress', 'in_progress'],
    ['response.completed', 'completed'],
  ])
  t.match(native.response, { background: true, id: native.id })
})

t.test('snapshots do not grow, and what the provider sent is not changed', async (t) => {
  const native = new NativeResponse(request)
  const events = given()
  const log = events.slice(0, 8).flatMap((event) => native.add(event))
  const snapshot = native.response
  const [before, told] = structuredClone([snapshot, log] as const)
  for (const event of events.slice(8)) native.add(event)
  t.notSame(native.response.output, snapshot.output)
  t.strictSame(snapshot, before)
  t.strictSame(log, told)
  t.strictSame(
    events.map(({ type, output_index }) => [type, output_index]),
    given().map(({ type, output_index }) => [type, output_index]),
  )
})

t.test('a provider cannot end it, or take it over, in the middle', async (t) => {
  const native = new NativeResponse({ ...request, store: false, metadata: { a: 'b' } })
  const [created] = given()
  const said = { ...(created?.response as object), status: 'completed', id: 'resp_theirs', store: true, metadata: {} }
  const [event] = native.add({ type: 'response.created', response: said })
  t.match(event, { response: { id: native.id, status: 'in_progress', store: false, metadata: { a: 'b' } } })
})

t.test('what makes no sense passes, and harms nothing', async (t) => {
  const native = new NativeResponse(request)
  const odd: ProviderEvent[] = [
    { type: 'response.created', response: { output: null } },
    { type: 'response.in_progress', response: 'none' },
    { type: 'response.output_item.added', output_index: 0, item: null },
    { type: 'response.output_item.added', output_index: 0, item: { type: 'brand_new', id: 'bn_1' } },
    { type: 'response.output_text.delta', output_index: 0, content_index: 3, delta: 'x' },
    { type: 'response.output_text.delta', output_index: 7, content_index: 0, delta: 'x' },
    { type: 'response.reasoning_summary_text.delta', output_index: 0, summary_index: 0, delta: 'x' },
    { type: 'response.output_text.annotation.added', output_index: 0, content_index: 0 },
  ]
  const log = odd.flatMap((event) => native.add(event))
  t.strictSame(
    log.map(({ type }) => type),
    odd.map(({ type }) => type),
  )
  native.fail(new GatewayError('upstream_connection_lost', 'lost'))
  t.match(native.response, { status: 'failed', output: [{ type: 'brand_new', id: 'bn_1' }] })
})
