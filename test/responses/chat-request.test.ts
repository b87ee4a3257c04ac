import t from 'tap'
import { toChatRequest } from '../../src/responses/chat-request.ts'
import { inputItems } from '../../src/responses/input-items.ts'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import type { ChatRequest } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'
import { refusal } from './refusal.ts'

const translated = (fields: object, onWarning?: (warning: string) => void): ChatRequest => {
  const request = asResponseRequest({ model: 'gpt-5', input: 'hi', ...fields })
  return toChatRequest(request, inputItems(request, 'resp_1'), onWarning)
}
const messages = [{ role: 'user', content: 'hi' }]
const f = { type: 'function', name: 'f', parameters: { type: 'object', properties: {} }, strict: true }
const g = { type: 'custom', name: 'g', description: 'd', format: { type: 'grammar', syntax: 'lark', definition: 'x' } }

t.test('a plain request', async (t) => {
  t.strictSame(translated({}), { model: 'gpt-5', messages })
})

t.test('instructions come first, as a system message', async (t) => {
  t.strictSame(translated({ instructions: 'be brief' }).messages, [
    { role: 'system', content: 'be brief' },
    ...messages,
  ])
})

t.test('every field that chat completions have', async (t) => {
  const chat = translated({
    temperature: 0.5,
    top_p: 0.9,
    top_logprobs: 3,
    max_output_tokens: 100,
    user: 'u',
    safety_identifier: 's',
    prompt_cache_key: 'k',
    service_tier: 'flex',
    text: { format: { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true }, verbosity: 'low' },
    reasoning: { effort: 'high' },
    tools: [f, g],
    tool_choice: 'required',
    parallel_tool_calls: false,
  })
  t.doesNotThrow(() => assertSchema('CreateChatCompletionRequest', chat))
  t.strictSame(chat, {
    temperature: 0.5,
    top_p: 0.9,
    user: 'u',
    safety_identifier: 's',
    prompt_cache_key: 'k',
    service_tier: 'flex',
    model: 'gpt-5',
    messages,
    tools: [
      { type: 'function', function: { name: 'f', parameters: f.parameters, strict: true } },
      {
        type: 'custom',
        custom: {
          name: 'g',
          description: 'd',
          format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'x' } },
        },
      },
    ],
    tool_choice: 'required',
    parallel_tool_calls: false,
    max_completion_tokens: 100,
    response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' }, strict: true } },
    verbosity: 'low',
    reasoning_effort: 'high',
    logprobs: true,
    top_logprobs: 3,
  })
})

t.test('unknown fields pass, and what is the gateway’s own business does not', async (t) => {
  const own = {
    store: true,
    metadata: { a: 'b' },
    stream: true,
    stream_options: {},
    background: true,
    truncation: 'auto',
  }
  t.strictSame(
    translated({ ...own, previous_response_id: 'resp_0', seed: 7, chat_template_kwargs: { x: 1 }, top_p: null }),
    {
      model: 'gpt-5',
      messages,
      seed: 7,
      chat_template_kwargs: { x: 1 },
    },
  )
})

t.test('tool choices', async (t) => {
  for (const [choice, chat] of [
    ['auto', 'auto'],
    ['none', 'none'],
    [
      { type: 'function', name: 'f' },
      { type: 'function', function: { name: 'f' } },
    ],
    [
      { type: 'custom', name: 'g' },
      { type: 'custom', custom: { name: 'g' } },
    ],
    [
      {
        type: 'allowed_tools',
        mode: 'required',
        tools: [
          { type: 'function', name: 'f' },
          { type: 'custom', name: 'g' },
        ],
      },
      {
        type: 'allowed_tools',
        allowed_tools: {
          mode: 'required',
          tools: [
            { type: 'function', function: { name: 'f' } },
            { type: 'custom', custom: { name: 'g' } },
          ],
        },
      },
    ],
  ] as const) {
    const request = translated({ tools: [f, g], tool_choice: choice })
    t.strictSame(request.tool_choice, chat)
    t.doesNotThrow(() => assertSchema('CreateChatCompletionRequest', request))
  }
})

t.test('without tools nothing is said of them, which OpenAI would refuse', async (t) => {
  for (const fields of [{ tools: [] }, {}]) {
    t.strictSame(translated({ ...fields, tool_choice: 'auto', parallel_tool_calls: true }), {
      model: 'gpt-5',
      messages,
    })
  }
  t.match(
    refusal(() => translated({ tool_choice: 'required' })),
    { status: 400, param: 'tool_choice' },
  )
})

t.test('a function is as strict as the client says, and no stricter', async (t) => {
  const strictOf = (strict: unknown) => translated({ tools: [{ ...f, strict }] }).tools
  t.match(strictOf(false), [{ function: { strict: false } }])
  for (const unsaid of [null, undefined]) {
    t.strictSame(strictOf(unsaid), [{ type: 'function', function: { name: 'f', parameters: f.parameters } }])
  }
})

t.test('log probabilities are asked for in either way', async (t) => {
  t.match(translated({ include: ['message.output_text.logprobs'] }), { logprobs: true, top_logprobs: undefined })
  t.match(translated({ top_logprobs: 2 }), { logprobs: true, top_logprobs: 2 })
  t.match(translated({ top_logprobs: 0 }), { logprobs: undefined, top_logprobs: undefined })
})

t.test('formats', async (t) => {
  t.equal(translated({ text: { format: { type: 'text' } } }).response_format, undefined)
  t.strictSame(translated({ text: { format: { type: 'json_object' } } }).response_format, { type: 'json_object' })
})

t.test('what a chat cannot do is refused, with the field that asks for it', async (t) => {
  for (const [fields, param] of [
    [{ tools: [f, { type: 'web_search' }] }, 'tools[1].type'],
    [{ tools: [{ type: 'mcp', server_label: 'x' }] }, 'tools[0].type'],
    [{ tools: [{ type: 'file_search', vector_store_ids: [] }] }, 'tools[0].type'],
    [{ tools: [f], tool_choice: { type: 'web_search_preview' } }, 'tool_choice.type'],
    [
      { tools: [f], tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'mcp' }] } },
      'tool_choice.tools[0].type',
    ],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ text: { format: { type: 'grammar' } } }, 'text.format.type'],
    [
      {
        input: [
          { role: 'user', content: 'x' },
          { type: 'web_search_call', id: 'ws_1' },
        ],
      },
      'input[1].type',
    ],
    [{ input: [{ role: 'user', content: [{ type: 'input_hologram' }] }] }, 'input[0].content[0].type'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] }, 'input[0].content[0].image_url'],
    [{ input: [{ role: 'user', content: [{ type: 'input_file', file_url: 'f' }] }] }, 'input[0].content[0].file_url'],
    [
      { input: [{ role: 'assistant', content: [{ type: 'input_image', image_url: 'x' }] }] },
      'input[0].content[0].type',
    ],
    [{ input: [{ role: 'system', content: [{ type: 'input_image', image_url: 'x' }] }] }, 'input[0].content[0].type'],
  ] as const) {
    t.match(
      refusal(() => translated(fields)),
      { kind: 'unsupported', status: 400, param },
      JSON.stringify(fields),
    )
  }
})

t.test('what makes no sense is refused as well', async (t) => {
  for (const [fields, param, message] of [
    [{ input: [] }, 'input', /empty/],
    [{ input: [{ role: 'critic', content: 'x' }] }, 'input[0].role', /user, assistant/],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]', "Item with id 'msg_1' not found."],
    [{ tools: [f], tool_choice: { type: 'function' } }, 'tool_choice.name', /missing/],
  ] as const) {
    const error = refusal(() => translated(fields))
    t.match(error, { kind: 'invalid_request', status: 400, param }, JSON.stringify(fields))
    t.match(error?.message, message)
  }
})

t.test('what a chat has no words for is told', async (t) => {
  const warnings: string[] = []
  translated(
    {
      max_tool_calls: 3,
      context_management: [{ type: 'compaction' }],
      reasoning: { effort: 'low', summary: 'auto' },
      include: ['reasoning.encrypted_content', 'message.audio'],
    },
    (warning) => warnings.push(warning),
  )
  t.match(warnings, [/^max_tool_calls /, /^context_management /, /^reasoning.summary /, /^include "message.audio" /])
  t.equal(warnings.length, 4)
})
