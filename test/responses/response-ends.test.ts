import t from 'tap'
import type { ResponseBuilder } from '../../src/responses/response-builder.ts'
import { abandoned } from '../../src/responses/response-failure.ts'
import type { ResponseEvent } from '../../src/responses/response-types.ts'
import { GatewayError } from '../../src/server/errors.ts'
import { assertSchema } from '../openapi.ts'
import { builderOf, run } from './built.ts'
import { call, chunk, end } from './chunks.ts'
import { assertStream } from './stream-rules.ts'

const typesOf = (events: ResponseEvent[]) => events.map(({ type }) => type)

t.test('an answer that was cut short is incomplete, and so is what was open', async (t) => {
  for (const [reason, told] of [
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ]) {
    const { types, response } = run([
      chunk({ content: 'a' }),
      call(0, { id: 'c', function: { name: 'f', arguments: '{' } }),
      end(String(reason)),
    ])
    t.equal(types.at(-1), 'incomplete')
    t.match(response, {
      status: 'incomplete',
      incomplete_details: { reason: told },
      completed_at: null,
      output: [{ status: 'completed' }, { status: 'incomplete' }],
    })
  }
})

t.test('an answer without a word is an empty message', async (t) => {
  t.match(run([chunk({ role: 'assistant', content: '' }), end('stop')]).response.output, [{ content: [{ text: '' }] }])
})

t.test('an answer that does not say why it ended has failed', async (t) => {
  const { response } = run([chunk({ content: 'a' })])
  t.match(response, { status: 'failed', error: { code: 'server_error', message: /half-way/ } })
})

t.test('a failure', async (t) => {
  const builder = builderOf()
  const events = [...builder.start(), ...builder.add(chunk({ content: 'a' }))]
  events.push(...builder.fail(new GatewayError('upstream_connection_lost', 'the connection was lost')))
  assertStream(events)
  t.strictSame(typesOf(events).slice(-5), [
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'error',
    'response.failed',
  ])
  t.strictSame(events.at(-2), {
    type: 'error',
    message: 'the connection was lost',
    code: 'upstream_connection_lost',
    param: null,
    sequence_number: 8,
  })
  t.match(builder.response, {
    status: 'failed',
    error: { code: 'server_error', message: 'the connection was lost' },
    output: [{ status: 'incomplete', content: [{ text: 'a' }] }],
  })
})

t.test('an upstream’s own error is told in its own words', async (t) => {
  const body = {
    error: { message: 'too long', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' },
  }
  const builder = builderOf()
  builder.start()
  const [event] = builder.fail(new GatewayError('upstream_rejected', 'refused', { body }))
  t.strictSame(event, {
    type: 'error',
    message: 'too long',
    param: 'messages',
    code: 'context_length_exceeded',
    sequence_number: 2,
  })
  t.match(builder.response.error, { code: 'invalid_prompt', message: 'too long' })
  const limited = builderOf()
  limited.fail(new GatewayError('upstream_rate_limited', 'slow down'))
  t.match(limited.response.error, { code: 'rate_limit_exceeded', message: 'slow down' })
})

t.test('a cancelled response ends its stream without an error', async (t) => {
  const builder = builderOf({ background: true })
  const events = [...builder.queue(), ...builder.start(), ...builder.add(chunk({ content: 'a' })), ...builder.cancel()]
  assertStream(events)
  assertSchema('Response', builder.response)
  t.match(builder.response, { status: 'cancelled', error: null, output: [{ status: 'incomplete' }] })
  t.match(events.at(-1), { type: 'response.incomplete', response: { status: 'cancelled' } })
})

t.test('a background response waits first', async (t) => {
  const builder = builderOf({ background: true })
  t.match(builder.queue(), [
    { type: 'response.created', response: { status: 'queued', background: true } },
    { type: 'response.queued', response: { status: 'queued' } },
  ])
  t.match(builder.response.status, 'queued')
  t.match(builder.start(), [{ type: 'response.in_progress', sequence_number: 2, response: { status: 'in_progress' } }])
})

t.test('after the end nothing happens any more', async (t) => {
  const ends: ((builder: ResponseBuilder) => ResponseEvent[])[] = [
    (builder) => builder.finish(),
    (builder) => builder.fail(new GatewayError('upstream_error', 'x')),
    (builder) => builder.cancel(),
  ]
  for (const finish of ends) {
    const builder = builderOf()
    builder.start()
    builder.add(chunk({ content: 'a' }, { finish_reason: 'stop' }))
    finish(builder)
    const { response, sequence } = builder
    t.equal(builder.isOver, true)
    for (const again of ends) t.strictSame(again(builder), [])
    t.strictSame([...builder.start(), ...builder.add(chunk({ content: 'b' }))], [])
    t.strictSame([builder.response, builder.sequence], [response, sequence])
  }
})

t.test('an abandoned response is ended by somebody else', async (t) => {
  const builder = builderOf()
  const events = [
    ...builder.start(),
    ...builder.add(chunk({ reasoning_content: 'hm' })),
    ...builder.add(chunk({ content: 'a' })),
  ]
  const error = new GatewayError('upstream_connection_lost', 'the replica that served this is gone')
  const end = abandoned(builder.response, error, events.length)
  for (const event of [...events, ...end.events]) assertSchema('ResponseStreamEvent', event)
  const at = events.length
  t.match(end.events, [
    { type: 'response.output_text.done', sequence_number: at, text: 'a' },
    { type: 'response.content_part.done', sequence_number: at + 1 },
    { type: 'response.output_item.done', sequence_number: at + 2, item: { status: 'incomplete' } },
    { type: 'error', sequence_number: at + 3, code: 'upstream_connection_lost' },
    { type: 'response.failed', sequence_number: at + 4, response: end.response },
  ])
  assertStream([...events, ...end.events])
  t.match(end.response, { status: 'failed', output: [{ status: 'completed' }, { status: 'incomplete' }] })
})
