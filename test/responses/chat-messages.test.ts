import t from 'tap'
import { toChatRequest } from '../../src/responses/chat-request.ts'
import { inputItems } from '../../src/responses/input-items.ts'
import { sealed } from '../../src/responses/provider-state.ts'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { assertSchema } from '../openapi.ts'
import { refusal } from './refusal.ts'

const messagesOf = (...input: object[]) => {
  const request = asResponseRequest({ model: 'm', input })
  const chat = toChatRequest(request, inputItems(request, 'resp_1'))
  assertSchema('CreateChatCompletionRequest', chat)
  return chat.messages
}
const user = (content: unknown) => ({ role: 'user', content })
const said = (text: string) => ({ role: 'assistant', content: [{ type: 'output_text', text }] })
const call = (call_id: string, more: object = {}) => ({
  type: 'function_call',
  call_id,
  name: 'f',
  arguments: '{}',
  ...more,
})
const output = (call_id: string, output: unknown = 'done') => ({ type: 'function_call_output', call_id, output })
const toolCall = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })
const result = (tool_call_id: string, content = 'done') => ({ role: 'tool', tool_call_id, content })
const thought = (text: string, more: object = {}) => ({
  type: 'reasoning',
  summary: [],
  content: [{ type: 'reasoning_text', text }],
  ...more,
})

t.test('messages of every role', async (t) => {
  t.strictSame(
    messagesOf({ role: 'developer', content: 'd' }, { role: 'system', content: 's' }, user('u'), said('a')),
    [
      { role: 'developer', content: 'd' },
      { role: 'system', content: 's' },
      { role: 'user', content: 'u' },
      { role: 'assistant', content: 'a' },
    ],
  )
})

t.test('what a user shows', async (t) => {
  const breakpoint = { prompt_cache_breakpoint: { mode: 'explicit' } }
  const content = [
    { type: 'input_text', text: 'look', ...breakpoint },
    { type: 'input_image', image_url: 'https://example.com/a.png' },
    { type: 'input_image', image_url: 'https://example.com/a.png', detail: 'original' },
    { type: 'input_file', file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf', file_id: null },
    { type: 'input_file', file_id: 'file-1' },
    { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
  ]
  t.strictSame(messagesOf(user(content)), [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'look', ...breakpoint },
        { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'auto' } },
        { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'high' } },
        { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' } },
        { type: 'file', file: { file_id: 'file-1' } },
        { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
      ],
    },
  ])
})

t.test('a refusal stays one', async (t) => {
  const refused = { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] }
  t.strictSame(messagesOf(user('u'), refused), [
    { role: 'user', content: 'u' },
    { role: 'assistant', content: null, refusal: 'no' },
  ])
})

t.test('the items of one turn are one message', async (t) => {
  t.strictSame(
    messagesOf(user('u'), thought('hm'), said('let me see'), call('a'), call('b'), output('b', '2'), output('a', '1')),
    [
      { role: 'user', content: 'u' },
      {
        role: 'assistant',
        content: 'let me see',
        reasoning_content: 'hm',
        tool_calls: [toolCall('a'), toolCall('b')],
      },
      result('a', '1'),
      result('b', '2'),
    ],
  )
})

t.test('text after calls belongs to the same turn, text after text does not', async (t) => {
  t.match(messagesOf(said('a'), call('c'), said('b'), output('c')), [{ content: 'ab', tool_calls: [{ id: 'c' }] }, {}])
  t.strictSame(messagesOf(said('a'), said('b')), [
    { role: 'assistant', content: 'a' },
    { role: 'assistant', content: 'b' },
  ])
})

t.test('calls one after the other are turns of their own', async (t) => {
  t.strictSame(messagesOf(call('a'), output('a'), call('b'), output('b')), [
    { role: 'assistant', content: null, tool_calls: [toolCall('a')] },
    result('a'),
    { role: 'assistant', content: null, tool_calls: [toolCall('b')] },
    result('b'),
  ])
})

t.test('an output follows its call, wherever it stood', async (t) => {
  t.strictSame(messagesOf(call('a'), user('wait'), output('a')), [
    { role: 'assistant', content: null, tool_calls: [toolCall('a')] },
    result('a'),
    { role: 'user', content: 'wait' },
  ])
})

t.test('an id that comes again means another call', async (t) => {
  t.match(messagesOf(call('a'), output('a', '1'), call('a'), output('a', '2')), [
    { tool_calls: [{ id: 'a' }] },
    result('a', '1'),
    { tool_calls: [{ id: 'a' }] },
    result('a', '2'),
  ])
})

t.test('custom tools', async (t) => {
  t.strictSame(
    messagesOf(
      { type: 'custom_tool_call', call_id: 'c', name: 'g', input: 'i' },
      { type: 'custom_tool_call_output', call_id: 'c', output: [{ type: 'input_text', text: 'done' }] },
    ),
    [
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'g', input: 'i' } }],
      },
      result('c'),
    ],
  )
})

t.test('an output may be an image, which many servers take', async (t) => {
  const request = asResponseRequest({
    model: 'm',
    input: [call('a'), output('a', [{ type: 'input_image', image_url: 'data:image/png;base64,AA==' }])],
  })
  t.match(toChatRequest(request, inputItems(request, 'resp_1')).messages[1], {
    role: 'tool',
    content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }],
  })
})

t.test('what a provider wants to see again', async (t) => {
  const extra = { anthropic: { signature: 's' } }
  const encrypted_content = sealed(extra)
  t.match(messagesOf(thought('hm', { encrypted_content }), said('a')), [
    { content: 'a', reasoning_content: 'hm', extra_content: extra },
  ])
  t.match(messagesOf(call('a', { encrypted_content }), output('a')), [
    { tool_calls: [{ id: 'a', extra_content: extra }] },
    {},
  ])
  t.test('beside several texts, all of it', async (t) => {
    const more = { google: { thought_signature: 't' } }
    const marked = (text: string, extra_content: object) => ({
      ...said(text),
      encrypted_content: sealed(extra_content),
    })
    t.match(messagesOf(marked('a', extra), call('c'), marked('b', more), output('c')), [
      { content: 'ab', extra_content: { ...extra, ...more } },
      {},
    ])
  })
  t.test('of several thoughts that are joined, nothing', async (t) => {
    const [message] = messagesOf(
      thought('1', { encrypted_content }),
      said('a'),
      thought('2', { encrypted_content }),
      call('c'),
      output('c'),
    )
    t.match(message, { reasoning_content: '12' })
    t.notOk(message && 'extra_content' in message)
  })
  t.test('of what another server sealed, nothing', async (t) => {
    for (const encrypted_content of ['gAAAAAB', 'signalbox.', 'signalbox.!!', null]) {
      t.strictSame(messagesOf(thought('', { encrypted_content }), said('a')), [{ role: 'assistant', content: 'a' }])
    }
  })
})

t.test('a summary stands for thoughts that are not shown', async (t) => {
  const summary = ['1', '2'].map((text) => ({ type: 'summary_text', text }))
  t.match(messagesOf({ type: 'reasoning', summary }, said('a')), [{ reasoning_content: '1\n\n2' }])
})

t.test('a mere thought is no turn', async (t) => {
  t.strictSame(messagesOf(thought('hm'), user('u')), [{ role: 'user', content: 'u' }])
})

t.test('a call without an output is refused, unless it was cut off', async (t) => {
  const cut = call('a', { status: 'incomplete', arguments: '{"x' })
  t.strictSame(messagesOf(said('hm'), cut, user('u')), [
    { role: 'assistant', content: 'hm' },
    { role: 'user', content: 'u' },
  ])
  t.match(messagesOf(cut, output('a')), [{ tool_calls: [{ id: 'a' }] }, result('a')])
  t.match(
    refusal(() => messagesOf(user('u'), call('a'))),
    {
      status: 400,
      param: 'input[1]',
      message: 'No tool output found for function call a.',
    },
  )
})

t.test('an output without a call is refused', async (t) => {
  for (const input of [[output('a')], [output('a'), call('a')], [call('b'), output('a'), output('b')]]) {
    t.match(
      refusal(() => messagesOf(...input)),
      {
        status: 400,
        message: 'No tool call found for function call output with call_id a.',
      },
    )
  }
  t.match(
    refusal(() => messagesOf(call('a'), output('a'), output('a'))),
    { status: 400, param: 'input[2]' },
  )
})

t.test('a fault in an earlier turn is told of the input as a whole', async (t) => {
  const request = asResponseRequest({ model: 'm', input: [user('next')], previous_response_id: 'resp_0' })
  const earlier = inputItems({ input: [call('a')] as never }, 'resp_0')
  const items = [...earlier, ...inputItems(request, 'resp_1')]
  t.match(
    refusal(() => toChatRequest(request, items)),
    { status: 400, param: 'input' },
  )
})

t.test('many calls of one id are no trouble', async (t) => {
  const input = Array.from({ length: 20_000 }, () => call('a')).concat(
    Array.from({ length: 20_000 }, () => output('a')) as never,
  )
  const request = asResponseRequest({ model: 'm', input })
  const items = inputItems(request, 'resp_1')
  const startedAt = performance.now()
  t.equal(toChatRequest(request, items).messages.length, 20_001)
  t.ok(performance.now() - startedAt < 1000)
})
