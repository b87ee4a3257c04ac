import t from 'tap'
import { createLLM } from '../../src/index.ts'
import { eventually, messagesOf, toolCall } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import { type Behaviour, completion, gated, type Json, startUpstream } from '../upstream.ts'
import { answering, ask, calling, chunksOf, deltas, loopAround, resultsIn, runBoth, saidIn } from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => model.close?.())
const looping = loopAround(model)
const loop = looping()
const both = runBoth(upstream)

t.test('providers that stream calls in their own way', async (t) => {
  const whole = (id: string, say: string) => ({
    id,
    type: 'function',
    function: { name: 'echo', arguments: JSON.stringify({ say }) },
  })
  const ways: Record<string, Json[]> = {
    'all in one chunk': [
      {
        role: 'assistant',
        tool_calls: [
          { index: 0, ...whole('a', '1') },
          { index: 1, ...whole('b', '2') },
        ],
      },
    ],
    'without an index': [{ role: 'assistant', tool_calls: [whole('a', '1')] }, { tool_calls: [whole('b', '2')] }],
    'all with the index 0': [
      { role: 'assistant', tool_calls: [{ index: 0, ...whole('a', '1') }] },
      { tool_calls: [{ index: 0, ...whole('b', '2') }] },
    ],
    'with empty ids and names later on': [
      { tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'echo', arguments: '{"say":' } }] },
      { tool_calls: [{ index: 0, id: '', type: 'function', function: { name: '', arguments: '"1"}' } }] },
      { tool_calls: [{ index: 1, ...whole('b', '2') }] },
    ],
  }
  for (const [way, list] of Object.entries(ways)) {
    t.test(way, async (t) => {
      for (const finish of ['tool_calls', 'stop', null]) {
        upstream.reset()
        upstream.next(deltas(list, finish))
        t.match(saidIn(await chunksOf(t, loop, ask('hi'))), { content: 'You said: hi', calls: [], finish: 'stop' })
        t.strictSame(resultsIn(messagesOf(upstream.last())), { a: '1', b: '2' })
      }
    })
  }
})

t.test('what a model says beside its calls is a paragraph of the answer', async (t) => {
  const steps = [
    completion({ ...calling(['clock']), tokens: ['Let me', ' look.'] }),
    completion(calling(['clock'])),
    completion({ tokens: ['It is', ' noon.'], reasoning: 'so' }),
  ]
  t.match(await both(t, loop, ask('?'), ...steps), { content: 'Let me look.\n\nIt is noon.', thoughts: 'so' })
})

t.test('what it thinks goes out in all steps', async (t) => {
  const steps = [
    completion({ ...calling(['clock']), reasoning: 'Hm.' }),
    completion({ text: 'Noon.', reasoning: 'Aha.' }),
  ]
  t.match(await both(t, loop, ask('?'), ...steps), { content: 'Noon.', thoughts: 'Hm.Aha.' })
})

t.test('the signature of one step’s thoughts is none of several together', async (t) => {
  const thought = (text: string) => ({ reasoning_content: text, extra_content: { anthropic: { signature: text } } })
  const call = { tool_calls: [toolCall('1', 'clock')] }
  const signatures: unknown[] = []
  upstream.next(
    deltas([{ role: 'assistant', ...thought('a') }, { tool_calls: [{ index: 0, ...toolCall('1', 'clock') }] }]),
  )
  upstream.next(deltas([{ role: 'assistant', ...thought('b') }, { content: 'Noon.' }], 'stop'))
  for await (const { choices } of loop.stream(ask('?'))) {
    const delta = choices[0]?.delta as Json
    if ('extra_content' in delta) signatures.push(delta.extra_content)
  }
  t.strictSame(signatures, [{ anthropic: { signature: 'a' } }, null])
  upstream.next(answering({ ...thought('a'), ...call }, 'tool_calls'), answering({ content: 'Noon.', ...thought('b') }))
  t.match((await loop.complete(ask('?'))).choices[0]?.message, { reasoning_content: 'ab', extra_content: null })
  const [, asked] = messagesOf(upstream.last())
  t.match(asked, thought('a'), 'the model sees each as it was')
})

t.test('the signature of the only thoughts stays', async (t) => {
  const thought = { reasoning_content: 'a', extra_content: { anthropic: { signature: 'a' } } }
  upstream.next(
    deltas([{ role: 'assistant', ...thought }, { tool_calls: [{ index: 0, ...toolCall('1', 'clock') }] }]),
    deltas([{ role: 'assistant', content: 'Noon.' }], 'stop'),
  )
  const signatures: unknown[] = []
  for await (const { choices } of loop.stream(ask('?'))) {
    const delta = choices[0]?.delta as Json
    if ('extra_content' in delta) signatures.push(delta.extra_content)
  }
  t.strictSame(signatures, [thought.extra_content])
  const call = { tool_calls: [toolCall('1', 'clock')] }
  upstream.next(answering({ ...thought, ...call }, 'tool_calls'), answering({ content: 'Noon.' }))
  t.match((await loop.complete(ask('?'))).choices[0]?.message, { content: 'Noon.', ...thought })
})

t.test('of an answer in JSON the text of earlier steps is no part', async (t) => {
  const json = { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: {} } } }
  const steps = [
    completion({ ...calling(['clock']), tokens: ['Let me', ' look.'] }),
    completion({ tokens: ['{"time":', '"noon"}'] }),
  ]
  t.match(await both(t, loop, ask('?', json), ...steps), { content: '{"time":"noon"}', finish: 'stop' })
  t.match(messagesOf(upstream.last())[1], { content: 'Let me look.' }, 'the model has said it all the same')

  // Providers that send the role with the first text, or with every one.
  upstream.next(
    deltas([
      { role: 'assistant', content: 'Let me' },
      { role: 'assistant', content: ' look', reasoning_content: 'hm' },
      { tool_calls: [{ index: 0, ...toolCall('1', 'clock') }] },
    ]),
    deltas(
      [
        { role: 'assistant', content: '{"a"' },
        { role: 'assistant', content: ':1}' },
      ],
      'stop',
    ),
  )
  t.match(saidIn(await chunksOf(t, loop, ask('?', json))), { content: '{"a":1}', thoughts: 'hm', finish: 'stop' })
})

t.test('content in parts', async (t) => {
  const thinking = { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }
  const parts = (text: string) => [thinking, { type: 'text', text }]
  const call = { tool_calls: [toolCall('1', 'clock')] }
  upstream.next(answering({ content: parts('Let me look.'), ...call }, 'tool_calls'), answering({ content: 'Noon.' }))
  t.strictSame((await loop.complete(ask('?'))).choices[0]?.message.content as unknown, [
    thinking,
    { type: 'text', text: 'Let me look.\n\nNoon.' },
  ])
  upstream.next(answering({ content: 'Let me look.', ...call }, 'tool_calls'), answering({ content: parts('Noon.') }))
  t.strictSame((await loop.complete(ask('?'))).choices[0]?.message.content as unknown, [
    { type: 'text', text: 'Let me look.\n\n' },
    ...parts('Noon.'),
  ])
  t.equal(messagesOf(upstream.last())[1]?.content, 'Let me look.')
})

t.test('a stream goes out as it is produced, through all steps', async (t) => {
  const second = gated(['It is', ' noon.'])
  const calls = deltas([
    { role: 'assistant', content: 'One moment.' },
    { tool_calls: [{ index: 0, ...toolCall('1', 'clock') }] },
  ])
  upstream.next(calls, second.behaviour)
  const chunks = loop.stream(ask('?', { stream: true }))[Symbol.asyncIterator]()
  const text = async () => {
    for (;;) {
      const { value, done } = await chunks.next()
      if (done) return undefined
      if (value.choices[0]?.delta.content) return value.choices[0].delta.content
    }
  }
  t.equal(await text(), 'One moment.')
  second.release(2)
  t.equal(await text(), '\n\nIt is')
  t.equal(second.sent, 2, 'before the model has said more')
  second.release()
  t.equal(await text(), ' noon.')
  second.release(2)
  t.equal(await text(), undefined)
})

t.test('a token is out before the next step is asked', async (t) => {
  const running = Promise.withResolvers<string>()
  upstream.next(completion({ ...calling(['slow']), tokens: ['Look', 'ing.'] }))
  const chunks = looping(10, { name: 'slow', execute: () => running.promise }).stream(ask('?', { stream: true }))
  const texts: string[] = []
  const reading = (async () => {
    for await (const { choices } of chunks) if (choices[0]?.delta.content) texts.push(choices[0].delta.content)
  })()
  await eventually(() => texts.length === 2)
  t.strictSame(texts, ['Look', 'ing.'])
  t.equal(upstream.requests.length, 1)
  running.resolve('done')
  await reading
  t.equal(upstream.requests.length, 2)
})

t.test('what a provider says of the prompt does not name the answer', async (t) => {
  const azure: Behaviour = async (request, exchange) => {
    exchange.startStream()
    await exchange.event({ id: '', object: '', created: 0, model: '', choices: [], prompt_filter_results: [1] })
    await completion({ text: 'Hi.' })(request, exchange)
  }
  upstream.next(azure)
  const chunks: Json[] = []
  for await (const chunk of loop.stream(ask('?', { stream_options: { include_usage: true } })))
    chunks.push({ ...chunk })
  t.match(chunks[0], { prompt_filter_results: [1] })
  for (const chunk of chunks.slice(1)) {
    assertSchema('CreateChatCompletionStreamResponse', chunk)
    t.match(chunk, { id: /^chatcmpl-/, prompt_filter_results: undefined })
  }
  t.match(chunks.at(-1), { choices: [], usage: {} })
})

t.test('what a provider says at the end arrives, once', async (t) => {
  upstream.next(async (request, exchange) => {
    exchange.startStream()
    const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm' }
    await exchange.event({
      ...head,
      choices: [{ index: 0, delta: { role: 'assistant', content: 'Hi' }, finish_reason: null }],
    })
    const last = {
      index: 0,
      delta: { content: '.' },
      finish_reason: 'stop',
      stop_reason: 2,
      logprobs: { content: [], refusal: null },
    }
    await exchange.event({ ...head, choices: [last], citations: ['x'] })
    await exchange.done()
    t.ok(request)
  })
  const chunks = await chunksOf(t, loop, ask('?'))
  t.match(saidIn(chunks), { content: 'Hi.', finish: 'stop' })
  t.equal(chunks.filter((chunk) => 'citations' in chunk).length, 1)
  t.match(chunks.at(-1)?.choices, [{ delta: {}, stop_reason: 2, logprobs: null, finish_reason: 'stop' }])

  upstream.next(deltas([{ role: 'assistant', content: 'Hi.' }], 'stop', { citations: ['x'] }))
  t.match((await chunksOf(t, loop, ask('?'))).at(-1), { citations: ['x'], choices: [{ finish_reason: 'stop' }] })
})

t.test('what it says at the end of a step is not said at the end of a later one', async (t) => {
  const call = { index: 0, ...toolCall('1', 'clock') }
  upstream.next(
    deltas([{ role: 'assistant', tool_calls: [call] }], 'tool_calls', { citations: ['x'] }),
    deltas([{ role: 'assistant', content: 'Hi.' }], null),
  )
  t.match((await chunksOf(t, loop, ask('?'))).at(-1), { citations: undefined, choices: [{ finish_reason: 'stop' }] })
})

t.test('log probabilities are those of the text that the caller sees', async (t) => {
  const steps = [
    completion({ ...calling(['clock']), text: 'Look.', logprobs: true }),
    completion({ text: 'It is.', logprobs: true }),
  ]
  upstream.next(...steps)
  const { choices } = await loop.complete(ask('?', { logprobs: true }))
  t.strictSame(
    choices[0]?.logprobs?.content?.map(({ token }) => token),
    ['Look.', 'It', ' is.'],
  )
  upstream.next(...steps)
  const chunks = await chunksOf(t, loop, ask('?', { logprobs: true }))
  const tokens = chunks.flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? []).map(({ token }) => token)
  t.strictSame(tokens, ['Look.', 'It', ' is.'])
})
