import t from 'tap'
import { toChunk } from '../../src/responses/completion-chunk.ts'
import { sealed } from '../../src/responses/provider-state.ts'
import type { ChatCompletion } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { builderOf, run } from './built.ts'
import { call, chunk, end, usage } from './chunks.ts'

t.test('a text', async (t) => {
  const { events, types, response } = run([
    chunk({ role: 'assistant', content: '' }),
    chunk({ content: 'Hel' }),
    chunk({ content: 'lo' }),
    end('stop'),
  ])
  t.strictSame(types, [
    'created',
    'in_progress',
    'output_item.added',
    'content_part.added',
    'output_text.delta',
    'output_text.delta',
    'output_text.done',
    'content_part.done',
    'output_item.done',
    'completed',
  ])
  const part = { type: 'output_text', text: 'Hello', annotations: [], logprobs: [] }
  const item = { id: 'msg_1_o0', type: 'message', status: 'completed', role: 'assistant', content: [part] }
  const place = { item_id: 'msg_1_o0', output_index: 0 }
  t.strictSame(events.slice(2, -1), [
    {
      type: 'response.output_item.added',
      output_index: 0,
      item: { ...item, status: 'in_progress', content: [] },
      sequence_number: 2,
    },
    {
      type: 'response.content_part.added',
      ...place,
      content_index: 0,
      part: { ...part, text: '' },
      sequence_number: 3,
    },
    { type: 'response.output_text.delta', ...place, content_index: 0, delta: 'Hel', logprobs: [], sequence_number: 4 },
    { type: 'response.output_text.delta', ...place, content_index: 0, delta: 'lo', logprobs: [], sequence_number: 5 },
    { type: 'response.output_text.done', ...place, content_index: 0, text: 'Hello', logprobs: [], sequence_number: 6 },
    { type: 'response.content_part.done', ...place, content_index: 0, part, sequence_number: 7 },
    { type: 'response.output_item.done', output_index: 0, item, sequence_number: 8 },
  ])
  t.match(events.at(-1), { response: { status: 'completed', output: [item], completed_at: Number } })
  t.strictSame(response, (events.at(-1) as { response?: object }).response)
})

t.test('a response repeats its request', async (t) => {
  const tools = [
    { type: 'function', name: 'f' },
    { type: 'custom', name: 'g' },
  ]
  const { response } = run([chunk({ content: 'x' }), end('stop')], {
    instructions: 'be brief',
    conversation: 'conv_1',
    metadata: { a: 'b' },
    tools,
    tool_choice: 'required',
    parallel_tool_calls: false,
    reasoning: { effort: 'low' },
    text: { format: { type: 'json_object' } },
    temperature: 0.1,
    max_output_tokens: 100,
    truncation: 'auto',
    store: false,
    user: 'u',
  })
  t.match(response, {
    id: 'resp_1',
    object: 'response',
    created_at: 1000,
    model: 'upstream-model',
    instructions: 'be brief',
    conversation: { id: 'conv_1' },
    previous_response_id: null,
    metadata: { a: 'b' },
    tools: [{ ...tools[0], strict: false, parameters: null }, tools[1]],
    tool_choice: 'required',
    parallel_tool_calls: false,
    reasoning: { effort: 'low', summary: null },
    text: { format: { type: 'json_object' } },
    temperature: 0.1,
    top_p: null,
    max_output_tokens: 100,
    truncation: 'auto',
    store: false,
    user: 'u',
    background: false,
    error: null,
    incomplete_details: null,
  })
})

t.test('the response can be read at every moment, and does not change in the reader’s hands', async (t) => {
  const builder = builderOf({ previous_response_id: 'resp_0' })
  t.match(builder.response, {
    id: 'resp_1',
    status: 'in_progress',
    previous_response_id: 'resp_0',
    model: 'm',
    output: [],
  })
  const created = builder.start()[0]
  builder.add(chunk({ content: 'a' }))
  const snapshot = builder.response
  builder.add(chunk({ content: 'b' }))
  assertSchema('Response', snapshot)
  t.match(snapshot, { status: 'in_progress', output: [{ status: 'in_progress', content: [{ text: 'a' }] }] })
  t.match(builder.response.output, [{ content: [{ text: 'ab' }] }])
  t.match(created, { response: { output: { length: 0 } } })
})

t.test('thoughts come before the text, as an item of their own', async (t) => {
  for (const field of ['reasoning_content', 'reasoning']) {
    const { types, response } = run([
      chunk({ role: 'assistant', content: '', [field]: '' }),
      chunk({ [field]: 'h' }),
      chunk({ [field]: 'm' }),
      chunk({ content: 'x' }),
      end('stop'),
    ])
    t.strictSame(types.slice(2, 10), [
      'output_item.added',
      'content_part.added',
      'reasoning_text.delta',
      'reasoning_text.delta',
      'reasoning_text.done',
      'content_part.done',
      'output_item.done',
      'output_item.added',
    ])
    t.match(response.output, [
      { id: 'rs_1_o0', type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
      { id: 'msg_1_o1', type: 'message' },
    ])
  }
})

t.test('parallel calls, whose arguments come in any order', async (t) => {
  const { types, events, response } = run([
    call(0, { id: 'a', type: 'function', function: { name: 'f', arguments: '' } }),
    call(1, { id: 'b', type: 'function', function: { name: 'g', arguments: '{"y"' } }),
    call(0, { function: { arguments: '{"x":' } }),
    call(1, { function: { arguments: ':2}' } }),
    call(0, { function: { arguments: '1}' } }),
    end('tool_calls'),
  ])
  t.strictSame(types.slice(2, -1), [
    'output_item.added',
    'output_item.added',
    ...new Array(4).fill('function_call_arguments.delta'),
    'function_call_arguments.done',
    'output_item.done',
    'function_call_arguments.done',
    'output_item.done',
  ])
  t.strictSame(response.output, [
    { id: 'fc_1_o0', call_id: 'a', name: 'f', status: 'completed', type: 'function_call', arguments: '{"x":1}' },
    { id: 'fc_1_o1', call_id: 'b', name: 'g', status: 'completed', type: 'function_call', arguments: '{"y":2}' },
  ])
  t.match(
    events.find(({ type }) => type === 'response.function_call_arguments.done'),
    { name: 'f', arguments: '{"x":1}' },
  )
})

t.test('custom tools', async (t) => {
  const { types, response } = run([
    call(0, { id: 'a', type: 'custom', custom: { name: 'g', input: '' } }),
    call(0, { custom: { input: 'SELECT' } }),
    end('tool_calls'),
  ])
  t.strictSame(types.slice(2, -1), [
    'output_item.added',
    'custom_tool_call_input.delta',
    'custom_tool_call_input.done',
    'output_item.done',
  ])
  t.match(response.output, [{ id: 'ctc_1_o0', type: 'custom_tool_call', call_id: 'a', name: 'g', input: 'SELECT' }])
})

t.test('servers that number calls in their own way', async (t) => {
  t.test('give all the same index', async (t) => {
    const { response } = run([
      call(0, { id: 'a', function: { name: 'f', arguments: '{}' } }),
      call(0, { id: 'b', function: { name: 'f', arguments: '{}' } }),
      end('tool_calls'),
    ])
    t.match(response.output, [{ call_id: 'a' }, { call_id: 'b' }])
  })
  t.test('repeat the id, and the name', async (t) => {
    const again = { id: 'a', function: { name: 'f', arguments: '1' } }
    t.match(run([call(0, again), call(0, again), end('tool_calls')]).response.output, [{ arguments: '11' }])
  })
  t.test('give the name late', async (t) => {
    const { response } = run([
      call(0, { id: 'a', function: { arguments: '' } }),
      call(0, { function: { name: 'f', arguments: '{}' } }),
      end('tool_calls'),
    ])
    t.match(response.output, [{ call_id: 'a', name: 'f', arguments: '{}' }])
  })
  t.test('give no id', async (t) => {
    const { response } = run([call(0, { function: { name: 'f', arguments: '{}' } }), end('tool_calls')])
    t.match(response.output, [{ call_id: /^call_/, name: 'f' }])
  })
  t.test('give no id, and all the same index', async (t) => {
    const { response } = run([
      call(0, { function: { name: 'f', arguments: '{"a":' } }),
      call(0, { function: { name: 'f', arguments: '1}' } }),
      call(0, { function: { name: 'f', arguments: '' } }),
      call(0, { function: { name: 'f', arguments: '{"b":2}' } }),
      call(0, { function: { name: 'g', arguments: '{}' } }),
      end('tool_calls'),
    ])
    t.match(
      response.output.map((item) => item.type === 'function_call' && `${item.name} ${item.arguments}`),
      ['f {"a":1}', 'f {"b":2}', 'g {}'],
    )
  })
  t.test('or send no call at all', async (t) => {
    const odd = chunk({ content: 'a', tool_calls: [null] as never })
    const { response } = run([
      { ...odd, choices: [{ ...odd.choices[0], logprobs: { content: 'none' } }] as never },
      end('stop'),
    ])
    t.match(response.output, [{ type: 'message', content: [{ text: 'a' }] }])
  })
})

t.test('text before and after calls are two messages', async (t) => {
  const { response } = run([
    chunk({ content: 'a' }),
    call(0, { id: 'c', function: { name: 'f', arguments: '{}' } }),
    chunk({ content: 'b' }),
    end('stop'),
  ])
  t.match(response.output, [
    { type: 'message', content: [{ text: 'a' }] },
    { type: 'function_call' },
    { type: 'message', content: [{ text: 'b' }] },
  ])
})

t.test('of several choices the first is the answer, whichever comes first', async (t) => {
  const { response } = run([chunk({ content: 'b' }, { index: 1 }), chunk({ content: 'a' }), end('stop')])
  t.match(response.output, [{ content: [{ text: 'a' }] }])
  t.equal(response.output.length, 1)
})

t.test('a refusal, after some text', async (t) => {
  const { types, response } = run([
    chunk({ content: 'Well' }),
    chunk({ refusal: 'n' }),
    chunk({ refusal: 'o' }),
    end('stop'),
  ])
  t.match(response.output, [
    {
      content: [
        { type: 'output_text', text: 'Well' },
        { type: 'refusal', refusal: 'no' },
      ],
    },
  ])
  t.strictSame(types.slice(-6, -1), [
    'refusal.delta',
    'refusal.delta',
    'refusal.done',
    'content_part.done',
    'output_item.done',
  ])
})

t.test('log probabilities', async (t) => {
  const logprob = (token: string, bytes: number[] | null) => ({
    token,
    logprob: -1,
    bytes,
    top_logprobs: [{ token, logprob: -1, bytes }],
  })
  const { events, response } = run([
    chunk({ content: 'a' }, { logprobs: { content: [logprob('a', [97])], refusal: null } }),
    chunk({}, { finish_reason: 'stop', logprobs: { content: [logprob('b', null)], refusal: null } }),
  ])
  const logprobs = [logprob('a', [97]), logprob('b', [])]
  t.match(response.output, [{ content: [{ text: 'a', logprobs }] }])
  t.match(
    events.filter(({ type }) => type === 'response.output_text.delta'),
    [
      { delta: 'a', logprobs: [{ token: 'a' }] },
      { delta: '', logprobs: [{ token: 'b' }] },
    ],
  )
  t.match(
    events.find(({ type }) => type === 'response.output_text.done'),
    { logprobs },
  )
})

t.test('citations', async (t) => {
  const url_citation = { url: 'https://example.com/', title: 'T', start_index: 0, end_index: 1 }
  const annotations = [{ type: 'url_citation', url_citation }, { type: 'other' }, null]
  const { types, response } = run([chunk({ content: 'a' }), chunk({ annotations }), end('stop')])
  t.match(response.output, [{ content: [{ annotations: [{ type: 'url_citation', ...url_citation }] }] }])
  t.equal(types.filter((type) => type === 'output_text.annotation.added').length, 1)
})

t.test('usage', async (t) => {
  const counted = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  t.notOk(
    'usage' in run([chunk({ content: 'a' }), end('stop')]).response,
    'is left out when the provider did not count',
  )
  t.strictSame(run([chunk({ content: 'a' }), end('stop'), usage(counted)]).response.usage, {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 15,
  })
  const details = {
    prompt_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 },
    completion_tokens_details: { reasoning_tokens: 2 },
  }
  t.match(run([chunk({ content: 'a' }), end('stop'), usage({ ...counted, ...details })]).response.usage, {
    input_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 },
    output_tokens_details: { reasoning_tokens: 2 },
  })
})

t.test('what a provider wants to see again', async (t) => {
  const extra = { anthropic: { signature: 's' } }
  t.test('is sealed into the thought', async (t) => {
    const { response } = run([
      chunk({ reasoning_content: 'hm' }),
      chunk({ extra_content: { anthropic: { a: 1 } } }),
      chunk({ extra_content: extra }),
      chunk({ content: 'x' }),
      end('stop'),
    ])
    t.match(response.output, [{ encrypted_content: sealed({ anthropic: { a: 1, signature: 's' } }) }, {}])
  })
  t.test('is a thought of its own when there is none to see', async (t) => {
    const { response } = run([chunk({ extra_content: extra }), chunk({ content: 'x' }), end('stop')])
    t.match(response.output, [
      { type: 'reasoning', content: { length: 0 }, encrypted_content: sealed(extra) },
      { type: 'message' },
    ])
  })
  t.test('stays with the text, or the call, and no other', async (t) => {
    const { response } = run([
      chunk({ content: 'x', extra_content: null }),
      chunk({ extra_content: extra }),
      call(0, { id: 'a', function: { name: 'f', arguments: '{}' }, extra_content: extra }),
      call(1, { id: 'b', function: { name: 'f', arguments: '{}' } }),
      end('tool_calls'),
    ])
    t.match(response.output, [{ encrypted_content: sealed(extra) }, { encrypted_content: sealed(extra) }, {}])
    t.notOk(response.output[2] && 'encrypted_content' in response.output[2])
  })
  t.test('is taken back by null', async (t) => {
    const { response } = run([
      chunk({ reasoning_content: 'hm', extra_content: extra }),
      chunk({ extra_content: null }),
      end('stop'),
    ])
    t.notOk(response.output[0] && 'encrypted_content' in response.output[0])
  })
})

t.test('a whole chat completion is a stream of one chunk', async (t) => {
  const completion = {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'upstream-model',
    service_tier: 'default',
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    choices: [
      {
        index: 0,
        finish_reason: 'tool_calls',
        logprobs: null,
        message: {
          role: 'assistant',
          content: 'x',
          refusal: null,
          reasoning_content: 'hm',
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } },
            { id: 'b', type: 'custom', custom: { name: 'g', input: 'i' } },
          ],
        },
      },
      {
        index: 1,
        finish_reason: 'stop',
        logprobs: null,
        message: { role: 'assistant', content: 'other', refusal: null },
      },
    ],
  } as ChatCompletion
  t.match(run([toChunk(completion)]).response, {
    status: 'completed',
    service_tier: 'default',
    usage: { total_tokens: 3 },
    output: [
      { type: 'reasoning', content: [{ text: 'hm' }] },
      { type: 'message', content: [{ text: 'x' }] },
      { type: 'function_call', call_id: 'a', name: 'f', arguments: '{}' },
      { type: 'custom_tool_call', call_id: 'b', name: 'g', input: 'i' },
    ],
  })
})
