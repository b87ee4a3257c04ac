import t from 'tap'
import { CompletionCollector } from '../../src/completions/completion-collector.ts'
import type { ChatCompletionChunk } from '../../src/index.ts'
import { assertSchema } from '../openapi.ts'

const head = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm' }

/** What chunks with these fields come to, checked against the contract. */
function collected(...chunks: object[]) {
  const collector = new CompletionCollector()
  for (const chunk of chunks) collector.add({ ...head, ...chunk } as ChatCompletionChunk)
  const { completion } = collector
  assertSchema('CreateChatCompletionResponse', completion)
  return completion
}

const choice = (delta: object, rest: object = {}) => ({ choices: [{ index: 0, delta, finish_reason: null, ...rest }] })
const end = (finish_reason: string, rest: object = {}) => choice({}, { finish_reason, ...rest })

t.test('text', async (t) => {
  const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
  t.strictSame(
    collected(
      choice({ role: 'assistant', content: '', refusal: null }),
      choice({ content: 'one' }),
      choice({ content: ' two' }),
      end('length'),
      { choices: [], usage },
    ),
    {
      ...head,
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'one two', refusal: null },
          logprobs: null,
          finish_reason: 'length',
        },
      ],
      usage,
    },
  )
})

t.test('an answer without words has an empty text, one that says otherwise has none', async (t) => {
  const message = (...deltas: object[]) => collected(...deltas.map((d) => choice(d)), end('stop')).choices[0]?.message
  t.strictSame(message({ role: 'assistant', content: '' }), { role: 'assistant', content: '', refusal: null })
  t.strictSame(message({ role: 'assistant' }), { role: 'assistant', content: null, refusal: null })
  t.strictSame(message({ content: '' }, { refusal: 'No' }, { refusal: '.' }), {
    role: 'assistant',
    content: null,
    refusal: 'No.',
  })
  const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '' } }
  t.strictSame(
    message(
      { content: '', tool_calls: [{ index: 0, ...call }] },
      { tool_calls: [{ index: 0, function: { arguments: '{"a":' } }] },
      { tool_calls: [{ index: 0, function: { arguments: '1}' } }] },
    ),
    {
      role: 'assistant',
      content: null,
      refusal: null,
      tool_calls: [{ ...call, function: { name: 'f', arguments: '{"a":1}' } }],
    },
  )
})

t.test('choices that come in turn, each with its probabilities', async (t) => {
  const token = (text: string) => ({ token: text, logprob: -1, bytes: null, top_logprobs: [] })
  const said = (index: number, text: string) => ({
    choices: [
      { index, delta: { content: text }, logprobs: { content: [token(text)], refusal: null }, finish_reason: null },
    ],
  })
  const { choices } = collected(said(1, 'b'), said(0, 'a'), said(1, 'B'), said(0, 'A'), {
    choices: [0, 1].map((index) => ({ index, delta: {}, logprobs: null, finish_reason: 'stop' })),
  })
  t.match(choices, [
    { index: 0, message: { content: 'aA' }, logprobs: { content: [token('a'), token('A')], refusal: null } },
    { index: 1, message: { content: 'bB' }, logprobs: { content: [token('b'), token('B')], refusal: null } },
  ])
})

t.test('what nobody knows is kept, what is only there for the stream is not', async (t) => {
  const completion = collected(
    { choices: [], id: '', model: '', created: 0, prompt_filter_results: [1] },
    {
      ...choice({ content: 'a' }, { content_filter_results: { hate: {} } }),
      obfuscation: 'xyz',
      service_tier: 'default',
    },
    { ...end('stop'), x_provider: { b: 2 } },
  )
  t.match(completion, {
    ...{ id: 'c', model: 'm', created: 1, service_tier: 'default' },
    ...{ prompt_filter_results: [1], x_provider: { b: 2 } },
    choices: [{ content_filter_results: { hate: {} } }],
  })
  t.notOk('obfuscation' in completion)
  const hostile = collected(
    JSON.parse('{"choices":[],"__proto__":{"polluted":true}}'),
    choice({ content: 'a' }),
    end('stop'),
  )
  t.equal('polluted' in hostile, false)
})
