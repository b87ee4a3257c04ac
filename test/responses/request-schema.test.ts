import fc from 'fast-check'
import t from 'tap'
import { parseJSON } from '../../src/json.ts'
import { toChatRequest } from '../../src/responses/chat-request.ts'
import { inputItems } from '../../src/responses/input-items.ts'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { assertSchema } from '../openapi.ts'
import { refusal } from './refusal.ts'

const valid = { model: 'm', input: 'hi' }

/** An input item of every kind that is checked. */
const items = [
  { role: 'user', content: 'hi' },
  {
    type: 'message',
    role: 'user',
    content: [
      { type: 'input_text', text: 'look' },
      { type: 'input_image', image_url: 'https://example.com/a.png', detail: 'low' },
      { type: 'input_file', file_id: 'file-1' },
    ],
  },
  {
    type: 'message',
    id: 'msg_1',
    role: 'assistant',
    status: 'completed',
    content: [
      { type: 'output_text', text: 'a', annotations: [], logprobs: [] },
      { type: 'refusal', refusal: 'no' },
    ],
  },
  { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 's' }], encrypted_content: 'x' },
  { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
  { type: 'function_call_output', call_id: 'c1', output: 'done' },
  { type: 'custom_tool_call', id: 'ctc_1', call_id: 'c2', name: 'g', input: 'i' },
  { type: 'custom_tool_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'done' }] },
  { type: 'item_reference', id: 'msg_1' },
]

t.test('a request passes as the very object that it is', async (t) => {
  const request = {
    model: 'm',
    input: items,
    instructions: 'be brief',
    previous_response_id: 'resp_1',
    tools: [
      { type: 'function', name: 'f', parameters: { type: 'object' }, strict: true },
      { type: 'custom', name: 'g', format: { type: 'text' } },
    ],
    tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] },
    text: { format: { type: 'json_schema', name: 'n', schema: {} }, verbosity: 'low' },
    reasoning: { effort: 'high', summary: 'auto' },
    include: ['message.output_text.logprobs'],
    metadata: { a: 'b' },
    background: true,
  }
  assertSchema('CreateResponse', request)
  t.equal(asResponseRequest(request), request)
})

t.test('what this gateway does not know passes: a provider may', async (t) => {
  const request = {
    ...valid,
    input: [
      { type: 'web_search_call', id: 'ws_1' },
      { role: 'user', content: [{ type: 'input_hologram' }] },
    ],
    tools: [{ type: 'web_search' }],
    a_field_of_next_year: 1,
  }
  t.equal(asResponseRequest(request), request)
})

t.test('null is as good as absent', async (t) => {
  const optional = ['instructions', 'conversation', 'previous_response_id', 'store', 'tools', 'tool_choice', 'text']
  const request = { ...valid, ...Object.fromEntries(optional.map((name) => [name, null])) }
  t.equal(asResponseRequest(request), request)
})

t.test('there must be a model, and an input unless there is one already', async (t) => {
  for (const fields of [
    { previous_response_id: 'resp_1' },
    { conversation: 'conv_1' },
    { conversation: { id: 'c' } },
  ]) {
    t.equal(
      refusal(() => asResponseRequest({ model: 'm', ...fields })),
      undefined,
    )
  }
  t.match(
    refusal(() => asResponseRequest({ model: 'm' })),
    { status: 400, param: 'input', kind: 'invalid_request' },
  )
})

t.test('a field that is wrong is named', async (t) => {
  for (const [fields, param, reason] of [
    [{ model: '' }, 'model', /1 char/],
    [{ model: 7 }, 'model', /string/],
    [{ input: 7 }, 'input', /string or array or null/],
    [{ input: [7] }, 'input[0]', /object/],
    [{ input: [null] }, 'input[0]', /object/],
    [{ input: [{}] }, 'input[0].type', /missing/],
    [{ input: [{ type: 7 }] }, 'input[0].type', /string/],
    [{ input: ['hi', { role: 'user' }].slice(1) }, 'input[0].content', /missing/],
    [{ input: [{ role: 7, content: 'x' }] }, 'input[0].role', /string/],
    [{ input: [...items, { role: 'user', content: 7 }] }, 'input[9].content', /string or array/],
    [{ input: [{ role: 'user', content: [{}] }] }, 'input[0].content[0].type', /missing/],
    [{ input: [{ role: 'user', content: ['x'] }] }, 'input[0].content[0]', /object/],
    [{ input: [{ role: 'user', content: [{ type: 'input_text' }] }] }, 'input[0].content[0].text', /missing/],
    [{ input: [{ role: 'user', content: [{ type: 'input_audio' }] }] }, 'input[0].content[0].input_audio', /missing/],
    [{ input: [{ type: 'function_call', name: 'f', arguments: '' }] }, 'input[0].call_id', /missing/],
    [{ input: [{ type: 'function_call', call_id: 'c', name: 'f', arguments: {} }] }, 'input[0].arguments', /string/],
    [{ input: [{ type: 'function_call_output', call_id: 'c' }] }, 'input[0].output', /missing/],
    [
      { input: [{ type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text' }] }] },
      'input[0].output[0].text',
      /missing/,
    ],
    [{ input: [{ type: 'custom_tool_call', call_id: 'c', name: 'f' }] }, 'input[0].input', /missing/],
    [{ input: [{ type: 'reasoning', summary: [{ type: 'summary_text' }] }] }, 'input[0].summary[0].text', /missing/],
    [{ input: [{ type: 'item_reference' }] }, 'input[0].id', /missing/],
    [{ tools: {} }, 'tools', /array or null/],
    [{ tools: [{}] }, 'tools[0].type', /missing/],
    [{ tools: [{ type: 'web_search' }, { type: 'function' }] }, 'tools[1].name', /missing/],
    [{ tools: [{ type: 'function', name: 'f', parameters: 'x' }] }, 'tools[0].parameters', /object or null/],
    [{ tools: [{ type: 'custom', name: 'f', format: {} }] }, 'tools[0].format.type', /missing/],
    [{ tool_choice: 7 }, 'tool_choice', /string or object or null/],
    [{ text: { format: {} } }, 'text.format.type', /missing/],
    [{ reasoning: { effort: 1 } }, 'reasoning.effort', /string or null/],
    [{ include: 'x' }, 'include', /array or null/],
    [{ max_output_tokens: '10' }, 'max_output_tokens', /integer or null/],
    [{ conversation: {} }, 'conversation.id', /missing/],
    [{ conversation: 7 }, 'conversation', /string or object or null/],
    [{ tool_choice: {} }, 'tool_choice.type', /missing/],
    [{ tool_choice: { type: 'allowed_tools', tools: [{}] } }, 'tool_choice.tools[0].type', /missing/],
    [{ stream: 'yes' }, 'stream', /boolean or null/],
    [{ metadata: parseJSON('12345678901234567890') }, 'metadata', /object or null/],
    [{ input: [parseJSON('12345678901234567890')] }, 'input[0]', /object/],
  ] as const) {
    const error = refusal(() => asResponseRequest({ ...valid, ...fields }))
    t.match(error, { kind: 'invalid_request', status: 400, param }, JSON.stringify(fields))
    t.match(error?.message, reason)
  }
})

t.test('fields that exclude each other', async (t) => {
  t.match(
    refusal(() => asResponseRequest({ ...valid, previous_response_id: 'resp_1', conversation: 'conv_1' })),
    {
      status: 400,
      param: 'previous_response_id',
    },
  )
  t.match(
    refusal(() => asResponseRequest({ ...valid, background: true, store: false })),
    {
      status: 400,
      param: 'background',
    },
  )
  t.equal(
    refusal(() => asResponseRequest({ ...valid, background: true, store: null })),
    undefined,
  )
})

t.test('a body that is no object is refused as such', async (t) => {
  for (const value of [null, [], 'text', 1, undefined]) {
    t.match(
      refusal(() => asResponseRequest(value)),
      { status: 400, param: null },
    )
  }
})

t.test('whatever the value is, it is translated or refused with a 400 that says why', async (t) => {
  const types = ['message', 'reasoning', 'function_call', 'function_call_output', 'custom_tool_call', 'item_reference']
  const partTypes = ['input_text', 'output_text', 'refusal', 'input_image', 'input_file', 'input_audio', 'summary_text']
  const text = fc.constantFrom('', 'x', 'c1')
  const anything = fc.oneof({ weight: 5, arbitrary: text }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) })
  const part = fc.record(
    {
      type: fc.constantFrom(...partTypes, 'other'),
      text: anything,
      refusal: anything,
      image_url: anything,
      file_data: anything,
      input_audio: fc.oneof(anything, fc.constant({ data: '', format: 'wav' })),
    },
    { requiredKeys: ['type'] },
  )
  const content = fc.oneof(fc.array(part, { maxLength: 3 }), anything)
  const item = fc.record(
    {
      type: fc.constantFrom(...types, 'custom_tool_call_output', 'web_search_call', undefined),
      role: fc.constantFrom('user', 'assistant', 'system', 'tool'),
      id: anything,
      call_id: anything,
      name: anything,
      arguments: anything,
      input: anything,
      status: fc.constantFrom('completed', 'incomplete', null),
      content,
      output: content,
      summary: fc.oneof(fc.array(part, { maxLength: 2 }), anything),
      encrypted_content: anything,
    },
    { requiredKeys: ['type', 'role', 'content', 'summary'] },
  )
  const body = fc.record({ model: fc.constant('m'), input: fc.oneof(anything, fc.array(item, { maxLength: 4 })) })
  const seen = { translated: 0, refused: 0 }
  const property = fc.property(body, (value) => {
    const error = refusal(() => {
      const request = asResponseRequest(value)
      toChatRequest(request, inputItems(request, 'resp_1'))
    })
    seen[error ? 'refused' : 'translated'] += 1
    return !error || (error.status === 400 && !error.message.includes('undefined'))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 3000 }))
  t.ok(seen.translated > 50 && seen.refused > 50, JSON.stringify(seen))
})
