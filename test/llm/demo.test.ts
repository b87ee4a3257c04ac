import t from 'tap'
import { createDemo } from '../../src/index.ts'
import type { ChatCompletion, ChatCompletionChunk, ChatRequest } from '../../src/types.ts'
import { assertSchema } from '../openapi.ts'

const demo = createDemo({ pace: 0 })

const ask = (content: string, fields: Partial<ChatRequest> = {}): ChatRequest => ({
  model: 'demo/echo',
  messages: [{ role: 'user', content }],
  ...fields,
})

const tool = (name: string, parameters?: Record<string, unknown>) => ({
  type: 'function' as const,
  function: parameters ? { name, parameters } : { name },
})

/** The answer, checked against the contract. */
async function complete(request: ChatRequest): Promise<ChatCompletion> {
  const completion = await demo.complete(request)
  assertSchema('CreateChatCompletionResponse', completion)
  return completion
}

/** The chunks, each checked against the contract. */
async function stream(request: ChatRequest): Promise<ChatCompletionChunk[]> {
  const chunks: ChatCompletionChunk[] = []
  for await (const chunk of demo.stream({ ...request, stream: true })) {
    assertSchema('CreateChatCompletionStreamResponse', chunk)
    chunks.push(chunk)
  }
  return chunks
}

const textOf = (chunks: ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

t.test('is named for what it is', async (t) => {
  t.match(demo, { provider: 'demo', model: 'echo' })
})

t.test('says what was said to it, and that it is the demo', async (t) => {
  const completion = await complete(ask('hello there'))
  t.match(completion, {
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: '[demo/echo] You said: hello there', refusal: null },
        finish_reason: 'stop',
      },
    ],
  })
  t.ok(Math.abs(completion.created - Date.now() / 1000) < 60)
  t.not((await complete(ask('x'))).id, completion.id)
})

t.test('streams the same, word by word', async (t) => {
  for (const text of ['hello there', ' blanks  and\nlines\n', '漢字 😀', '', 'x']) {
    const chunks = await stream(ask(text))
    t.equal(textOf(chunks), (await complete(ask(text))).choices[0]?.message.content, JSON.stringify(text))
    t.match(chunks[0]?.choices[0]?.delta, { role: 'assistant', content: '' })
    t.equal(chunks.at(-1)?.choices[0]?.finish_reason, 'stop')
    t.equal(chunks.filter(({ choices }) => choices[0]?.finish_reason).length, 1)
    t.equal(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size, 1)
  }
  t.ok((await stream(ask('one two three'))).length > 5)
})

t.test('answers the last message, be it text or parts', async (t) => {
  const completion = await complete({
    model: 'demo/echo',
    messages: [
      { role: 'system', content: 'not this' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'look' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,' } },
          { type: 'text', text: 'here' },
        ],
      },
    ],
  })
  t.match(completion.choices[0]?.message.content, /You said: look here$/)
  const none = await complete({ model: 'm', messages: [{ role: 'assistant', content: null }] })
  t.match(none.choices[0]?.message.content, /You said: $/)
})

t.test('tools', async (t) => {
  const weather = tool('get_weather', {
    type: 'object',
    properties: {
      city: { type: 'string' },
      days: { type: 'integer' },
      share: { type: 'number' },
      exact: { type: 'boolean' },
      tags: { type: 'array' },
      more: { type: 'object' },
      unit: { enum: ['celsius', 'kelvin'] },
      odd: {},
      optional: { type: 'string' },
    },
    required: ['city', 'days', 'share', 'exact', 'tags', 'more', 'unit', 'odd'],
  })
  const clock = tool('get_time')
  const tools = [weather, clock]
  const called = async (request: ChatRequest): Promise<string | undefined> => {
    const choice = (await complete(request)).choices[0]
    const call = choice?.message.tool_calls?.[0]
    t.equal(choice?.finish_reason, call ? 'tool_calls' : 'stop')
    t.equal(choice?.message.content === null, call !== undefined)
    return call?.type === 'function' ? call.function.name : undefined
  }

  t.test('are called when the user names one or the request demands it', async (t) => {
    t.equal(await called(ask('please get_time now', { tools })), 'get_time')
    t.equal(await called(ask('hello', { tools, tool_choice: 'required' })), 'get_weather')
    t.equal(await called(ask('hello', { tools, tool_choice: clock })), 'get_time')
    t.equal(await called(ask('get_weather', { tools, tool_choice: clock })), 'get_time')
  })

  t.test('are left alone otherwise', async (t) => {
    t.equal(await called(ask('hello', { tools })), undefined)
    t.equal(await called(ask('get_time', { tools, tool_choice: 'none' })), undefined)
    t.equal(await called(ask('get_time')), undefined)
    t.equal(await called(ask('hello', { tools: [], tool_choice: 'required' })), undefined)
    t.equal(await called(ask('f', { tools: [{ type: 'custom', custom: { name: 'f' } }] })), undefined)
  })

  t.test('get arguments that fit what they require', async (t) => {
    const completion = await complete(ask('get_weather', { tools }))
    const call = completion.choices[0]?.message.tool_calls?.[0]
    t.strictSame(call?.type === 'function' && JSON.parse(call.function.arguments), {
      city: 'get_weather',
      days: 1,
      share: 1,
      exact: true,
      tags: [],
      more: {},
      unit: 'celsius',
      odd: null,
    })
  })

  t.test('are called in a stream too', async (t) => {
    const chunks = await stream(ask('get_time', { tools }))
    t.match(chunks[0]?.choices[0]?.delta, { role: 'assistant', content: null })
    const calls = chunks.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? [])
    t.match(calls, [{ index: 0, id: /^call_/, type: 'function', function: { name: 'get_time', arguments: '{}' } }])
    t.equal(calls.length, 1)
    t.equal(chunks.at(-1)?.choices[0]?.finish_reason, 'tool_calls')
  })

  t.test('and their result is answered, not called again', async (t) => {
    const completion = await complete({
      model: 'demo/echo',
      tools,
      tool_choice: 'required',
      messages: [
        { role: 'user', content: 'get_time' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'c', type: 'function', function: { name: 'get_time', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'c', content: 'get_time: 12:30' },
      ],
    })
    t.match(completion.choices[0], {
      finish_reason: 'stop',
      message: { content: '[demo/echo] The tool answered: get_time: 12:30' },
    })
  })
})

t.test('usage', async (t) => {
  t.test('counts words', async (t) => {
    const { usage } = await complete(ask('one two three'))
    t.strictSame(usage, { prompt_tokens: 3, completion_tokens: 6, total_tokens: 9 })
  })

  t.test('ends a stream that asked for it, and only that', async (t) => {
    const chunks = await stream(ask('one two three', { stream_options: { include_usage: true } }))
    const last = chunks.pop()
    t.strictSame(last?.choices, [])
    t.strictSame(last?.usage, { prompt_tokens: 3, completion_tokens: 6, total_tokens: 9 })
    t.ok(chunks.every(({ usage }) => usage === null))
    t.notOk((await stream(ask('one'))).some((chunk) => 'usage' in chunk))
  })
})

t.test('a caller that leaves ends the stream at once', async (t) => {
  const slow = createDemo({ pace: 60_000 })
  const abort = new AbortController()
  const chunks = slow.stream(ask('hello', { stream: true }), { signal: abort.signal })[Symbol.asyncIterator]()
  await chunks.next()
  const next = chunks.next()
  abort.abort()
  await t.rejects(next, { code: 'client_closed', status: 499 })
  const late = async () => {
    for await (const _chunk of slow.stream(ask('hello'), { signal: AbortSignal.abort() })) {
      // The role may come; the first pause breaks off.
    }
  }
  await t.rejects(late(), { code: 'client_closed' })
})

t.test('tokens come at the pace that was set', async (t) => {
  const started = performance.now()
  for await (const _chunk of createDemo({ pace: 20 }).stream(ask('one two three'))) {
    // Only the time counts.
  }
  t.ok(performance.now() - started > 5 * 19, 'six tokens, each after a pause')
})
