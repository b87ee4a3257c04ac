import fc from 'fast-check'
import t from 'tap'
import { parseJSON } from '../../src/json.ts'
import { GatewayError } from '../../src/server/errors.ts'
import { asChatRequest, asEmbeddingRequest } from '../../src/server/request-schema.ts'

const messages = [{ role: 'user', content: 'hi' }]
const chat = { model: 'm', messages }

/** The error for a request that is refused. */
function refusal(parse: (value: unknown) => unknown, value: unknown): GatewayError | undefined {
  try {
    parse(value)
    return undefined
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}

t.test('a request passes as the very object that it is', async (t) => {
  const request = {
    model: 'm',
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'developer', content: [{ type: 'text', text: 'x' }] },
      { role: 'user', name: 'a', content: [{ type: 'image_url', image_url: { url: 'data:' } }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'f', input: 'i' } }],
      },
      { role: 'assistant' },
      { role: 'tool', tool_call_id: 'c', content: 'done' },
      { role: 'a role of next year', content: '' },
    ],
    stream: true,
    stream_options: { include_usage: true, include_obfuscation: false },
    tools: [{ type: 'custom', custom: { name: 'f' } }],
    tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [] } },
    response_format: { type: 'json_schema', json_schema: {} },
    stop: ['a', 'b'],
    temperature: 0.5,
    n: 2,
    logit_bias: { 50256: -100 },
    reasoning_effort: 'xhigh',
    a_field_of_next_year: { anything: [1, null] },
  }
  t.equal(asChatRequest(request), request)
})

t.test('null is as good as absent', async (t) => {
  const optional = [
    'stream',
    'stream_options',
    'tools',
    'tool_choice',
    'parallel_tool_calls',
    'response_format',
    'stop',
    'temperature',
    'top_p',
    'n',
    'max_tokens',
    'max_completion_tokens',
    'logprobs',
    'logit_bias',
    'metadata',
    'user',
  ]
  const request = { ...chat, ...Object.fromEntries(optional.map((name) => [name, null])) }
  t.equal(asChatRequest(request), request)
})

t.test('values are the upstream to judge', async (t) => {
  for (const fields of [
    { temperature: 99 },
    { n: -1 },
    { reasoning_effort: 'enormous' },
    { tool_choice: 'whatever' },
    { tools: [{}] },
    { messages: [{ role: 'nobody' }] },
    { seed: 'text' },
    { seed: parseJSON('[9223372036854775807]') },
  ]) {
    t.equal(refusal(asChatRequest, { ...chat, ...fields }), undefined, JSON.stringify(fields))
  }
})

t.test('a missing field is named', async (t) => {
  for (const [value, param] of [
    [{ messages }, 'model'],
    [{ model: 'm' }, 'messages'],
    [{ ...chat, messages: [{}] }, 'messages[0].role'],
    [{ ...chat, messages: [...messages, { content: 'x' }] }, 'messages[1].role'],
  ] as const) {
    t.match(refusal(asChatRequest, value), {
      kind: 'invalid_request',
      status: 400,
      type: 'invalid_request_error',
      param,
      message: `missing required parameter: '${param}'`,
    })
  }
})

t.test('a field of the wrong type is named, with what it must be', async (t) => {
  for (const [fields, param, reason] of [
    [{ model: 7 }, 'model', /string/],
    [{ model: null }, 'model', /string/],
    [{ model: '' }, 'model', /1 char/],
    [{ model: 'x'.repeat(257) }, 'model', /256 char/],
    [{ messages: 'hi' }, 'messages', /array/],
    [{ messages: {} }, 'messages', /array/],
    [{ messages: null }, 'messages', /array/],
    [{ messages: [] }, 'messages', /1 item/],
    [{ messages: ['hi'] }, 'messages[0]', /object/],
    [{ messages: [null] }, 'messages[0]', /object/],
    [{ messages: [{ role: 1 }] }, 'messages[0].role', /string/],
    [{ messages: [{ role: null, content: 'x' }] }, 'messages[0].role', /string/],
    [{ messages: [{ role: 'user', content: 5 }] }, 'messages[0].content', /string or array or null/],
    [{ messages: [{ role: 'user', content: {} }] }, 'messages[0].content', /string or array or null/],
    [{ messages: [...messages, { role: 'user', content: true }] }, 'messages[1].content', /string or array/],
    [{ messages: [{ role: 'user', content: ['text'] }] }, 'messages[0].content[0]', /object/],
    [{ messages: [{ role: 'user', content: [{}, 1] }] }, 'messages[0].content[1]', /object/],
    [{ messages: [{ role: 'assistant', tool_calls: {} }] }, 'messages[0].tool_calls', /array or null/],
    [{ stream: 'yes' }, 'stream', /boolean or null/],
    [{ stream: 1 }, 'stream', /boolean or null/],
    [{ stream_options: true }, 'stream_options', /object or null/],
    [{ stream_options: [] }, 'stream_options', /object or null/],
    [{ tools: {} }, 'tools', /array or null/],
    [{ tools: ['f'] }, 'tools[0]', /object/],
    [{ tool_choice: 1 }, 'tool_choice', /string or object or null/],
    [{ response_format: 'json' }, 'response_format', /object or null/],
    [{ stop: 1 }, 'stop', /string or array or null/],
    [{ stop: ['a', 1] }, 'stop[1]', /string/],
    [{ temperature: 'hot' }, 'temperature', /number or null/],
    [{ n: 1.5 }, 'n', /integer or null/],
    [{ n: '2' }, 'n', /integer or null/],
    [{ max_tokens: '10' }, 'max_tokens', /integer or null/],
    [{ logit_bias: [] }, 'logit_bias', /object or null/],
    [{ metadata: 'x' }, 'metadata', /object or null/],
    [{ user: 5 }, 'user', /string or null/],
  ] as const) {
    const error = refusal(asChatRequest, { ...chat, ...fields })
    t.match(error, { kind: 'invalid_request', status: 400, param }, JSON.stringify(fields).slice(0, 80))
    t.match(error?.message, reason)
    t.match(error?.message, `invalid value for '${param}': must `)
  }
})

t.test('a number that is kept as text is no object', async (t) => {
  for (const param of ['stream_options', 'metadata', 'response_format', 'logit_bias']) {
    const request = parseJSON(`{"model":"m","messages":[{"role":"user"}],"${param}":12345678901234567890}`)
    t.match(refusal(asChatRequest, request), { status: 400, param }, param)
  }
})

t.test('the first of several faults is told', async (t) => {
  t.match(refusal(asChatRequest, { messages: 1, stream: 1 }), { status: 400, param: /^(model|messages)$/ })
})

t.test('a body that is no object is refused as such', async (t) => {
  for (const value of [null, [], 'text', 1, true, undefined]) {
    for (const parse of [asChatRequest, asEmbeddingRequest]) {
      t.match(refusal(parse, value), { status: 400, param: null, message: 'the request body must be a JSON object' })
    }
  }
})

t.test('embeddings', async (t) => {
  t.test('take a text, texts, tokens or lists of tokens, and whatever else', async (t) => {
    for (const input of ['text', ['a', 'b'], [1, 2, 3], [[1, 2], [3]], [], ['a', [1]]]) {
      const request = { model: 'm', input, encoding_format: 'base64', dimensions: 8, user: null, more: 1 }
      t.equal(asEmbeddingRequest(request), request, JSON.stringify(input))
    }
  })

  t.test('name the field that is wrong', async (t) => {
    for (const [value, param] of [
      [{ input: 'x' }, 'model'],
      [{ model: 'm' }, 'input'],
      [{ model: 'm', input: null }, 'input'],
      [{ model: 'm', input: {} }, 'input'],
      [{ model: 'm', input: 5 }, 'input'],
      [{ model: 'm', input: ['a', {}] }, 'input[1]'],
      [{ model: 'm', input: [[1.5]] }, 'input[0][0]'],
      [{ model: 'm', input: 'x', encoding_format: 1 }, 'encoding_format'],
      [{ model: 'm', input: 'x', dimensions: 'many' }, 'dimensions'],
    ] as const) {
      t.match(
        refusal(asEmbeddingRequest, value),
        { kind: 'invalid_request', status: 400, param },
        JSON.stringify(value),
      )
    }
  })
})

t.test('whatever the value is, it passes whole or is refused with a 400 that says why', async (t) => {
  const field = fc.constantFrom('model', 'messages', 'stream', 'tools', 'stop', 'n', 'metadata', 'other')
  const body = fc.oneof(fc.jsonValue(), fc.dictionary(field, fc.jsonValue({ maxDepth: 4 })))
  const property = fc.property(body, fc.constantFrom(asChatRequest, asEmbeddingRequest), (value, parse) => {
    const error = refusal(parse, value)
    if (!error) return parse(value) === value
    return error.status === 400 && !error.message.includes('undefined')
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
})

t.test('of a body of millions of values only the field is named, and at once', async (t) => {
  const input = new Array(1_000_000).fill(1)
  input.push(1.5)
  const messages = new Array(300_000).fill({ role: 1 })
  t.match(refusal(asEmbeddingRequest, { model: 'm', input }), { status: 400, param: 'input' })
  t.match(refusal(asEmbeddingRequest, { input: [input] }), { status: 400, param: 'model' })
  t.match(refusal(asChatRequest, { model: 'm', messages }), { status: 400, param: 'messages' })
})
