import t from 'tap'
import { simulateStream } from '../../src/server/simulated-stream.ts'
import type { ChatCompletion, ChatCompletionChunk, ChatRequest, LLMClient } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'

const request: ChatRequest = { model: 'm', messages: [{ role: 'user', content: 'hi' }], stream: true }

type Message = Partial<ChatCompletion['choices'][number]['message']>
const choice = (index: number, message: Message, fields: Partial<ChatCompletion['choices'][number]> = {}) => ({
  index,
  message: { role: 'assistant' as const, content: null, refusal: null, ...message },
  logprobs: null,
  finish_reason: 'stop' as const,
  ...fields,
})

const completion = (choices: ChatCompletion['choices'], fields: Partial<ChatCompletion> = {}): ChatCompletion => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1_700_000_000,
  model: 'm',
  choices,
  usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  service_tier: 'default',
  system_fingerprint: 'fp_1',
  ...fields,
})

/** A client that answers as a whole only, and notes what it was asked. */
function whole(answer: ChatCompletion): LLMClient & { asked: ChatRequest[] } {
  const asked: ChatRequest[] = []
  return {
    asked,
    provider: 'whole',
    model: 'm',
    async complete(request) {
      asked.push(request)
      return answer
    },
    stream() {
      throw new Error('it cannot stream')
    },
  }
}

async function drain<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** The chunks of the answer, each checked against the contract. */
async function chunks(answer: ChatCompletion, size = 40): Promise<ChatCompletionChunk[]> {
  const all = await drain(simulateStream(whole(answer), request, {}, size))
  for (const chunk of all) assertSchema('CreateChatCompletionStreamResponse', chunk)
  return all
}

const contents = (all: ChatCompletionChunk[], index = 0): (string | null | undefined)[] =>
  all.flatMap(({ choices }) => choices.filter((choice) => choice.index === index).map(({ delta }) => delta.content))

t.test('text comes in chunks of so many characters: role first, then the text, then why it ended', async (t) => {
  const all = await chunks(completion([choice(0, { content: 'abcdefgh' })]), 3)
  t.strictSame(
    all.map(({ choices }) => choices[0]?.delta),
    [
      { role: 'assistant', refusal: null, content: '' },
      { content: 'abc' },
      { content: 'def' },
      { content: 'gh' },
      {},
      undefined,
    ],
  )
  t.strictSame(
    all.map(({ choices }) => choices[0]?.finish_reason),
    [null, null, null, null, 'stop', undefined],
  )
})

t.test('the envelope is that of the answer, in every chunk', async (t) => {
  const all = await chunks(completion([choice(0, { content: 'abc' })]), 1)
  for (const chunk of all) {
    t.match(chunk, {
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 1_700_000_000,
      model: 'm',
      service_tier: 'default',
      system_fingerprint: 'fp_1',
    })
  }
})

t.test('the usage comes last, on its own; the chunks before have none', async (t) => {
  const all = await chunks(completion([choice(0, { content: 'abc' })]))
  t.match(all.pop(), { choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } })
  t.ok(all.every(({ usage }) => usage === null))
  const { usage: _usage, ...unmetered } = completion([choice(0, { content: 'abc' })])
  const last = (await chunks(unmetered)).at(-1)
  t.equal(last?.choices[0]?.finish_reason, 'stop', 'an answer without usage ends with its last choice')
})

t.test('no character is cut in half', async (t) => {
  const text = '😀😃😄 漢字 é'
  for (const size of [1, 2, 3, 4]) {
    const pieces = contents(await chunks(completion([choice(0, { content: text })]), size))
    t.equal(pieces.join(''), text)
    t.ok(
      pieces.every((piece) => (piece ?? '').isWellFormed()),
      `${size} a chunk`,
    )
  }
  t.strictSame(contents(await chunks(completion([choice(0, { content: '😀😃' })]), 1)), ['', '😀', '😃', undefined])
})

t.test('an empty answer is a role and an end', async (t) => {
  t.strictSame(contents(await chunks(completion([choice(0, { content: '' })]))), ['', undefined])
})

t.test('tool calls come whole, each with its index', async (t) => {
  const tool_calls = [
    { id: 'call_1', type: 'function' as const, function: { name: 'f', arguments: '{"a":1}' } },
    { id: 'call_2', type: 'function' as const, function: { name: 'g', arguments: '{}' } },
  ]
  const all = await chunks(completion([choice(0, { tool_calls }, { finish_reason: 'tool_calls' })]))
  t.strictSame(all[0]?.choices[0]?.delta, { role: 'assistant', content: null, refusal: null })
  t.strictSame(
    all.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []),
    tool_calls.map((call, index) => ({ index, ...call })),
  )
  t.equal(all.at(-2)?.choices[0]?.finish_reason, 'tool_calls')
})

t.test('several choices come one after the other, each with its role and its end', async (t) => {
  const all = await chunks(
    completion([choice(0, { content: 'abcd' }), choice(1, { content: 'xyz' }, { finish_reason: 'length' })]),
    2,
  )
  t.strictSame(contents(all, 0), ['', 'ab', 'cd', undefined])
  t.strictSame(contents(all, 1), ['', 'xy', 'z', undefined])
  for (const [index, reason] of [
    [0, 'stop'],
    [1, 'length'],
  ] as const) {
    const own = all.flatMap(({ choices }) => choices.filter((choice) => choice.index === index))
    t.equal(own[0]?.delta.role, 'assistant')
    t.strictSame(own.map(({ finish_reason }) => finish_reason).filter(Boolean), [reason])
  }
})

t.test('nothing of a message is lost', async (t) => {
  const logprobs = { content: [{ token: 'a', logprob: -0.1, bytes: [97], top_logprobs: [] }], refusal: null }
  const message = { content: 'a', reasoning_content: 'because' }
  const all = await chunks(completion([choice(0, message, { logprobs })]))
  t.match(all[0]?.choices[0]?.delta, { role: 'assistant', reasoning_content: 'because' })
  t.strictSame(all.at(-2)?.choices[0]?.logprobs, logprobs)
  const refused = await chunks(completion([choice(0, { refusal: 'I will not.' })]))
  t.match(refused[0]?.choices[0]?.delta, { content: null, refusal: 'I will not.' })
})

t.test('the client is asked once, for a whole answer', async (t) => {
  const client = whole(completion([choice(0, { content: 'abc' })]))
  const asked = { ...request, stream_options: { include_usage: true }, other: 1 }
  await drain(simulateStream(client, asked, {}, 1))
  t.strictSame(client.asked, [{ model: 'm', messages: request.messages, other: 1 }])
})

t.test('its failure is the failure of the stream', async (t) => {
  const failure = new Error('no answer')
  const client = { ...whole(completion([])), complete: () => Promise.reject(failure) }
  await t.rejects(simulateStream(client, request, {}, 40).next(), failure)
})
