import t from 'tap'
import type { LLMClient } from '../../src/index.ts'
import { type AgentTool, type CallOptions, type ChatMessage, createLLM } from '../../src/index.ts'
import { toJSONText } from '../../src/source.ts'
import { callersTool, messagesOf, toolCall } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import { type Behaviour, completion, dropAfter, gated, hang, startUpstream } from '../upstream.ts'
import {
  answering,
  ask,
  bodiesOf,
  calling,
  chunksOf,
  clock,
  deltas,
  failure,
  loopAround,
  offeredBy,
  resultsIn,
  runBoth,
  saidBy,
  saidIn,
} from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => model.close?.())
const looping = loopAround(model)
const loop = looping()
const both = runBoth(upstream)

t.test('the model is asked again with the results of the tools that it called', async (t) => {
  const request = ask('What time is it?', { temperature: 0.5, parallel_tool_calls: true, x_unknown: 1 })
  const steps = [completion(calling(['clock'], ['echo', '{"say":"hi"}'])), completion({ text: 'It is noon.' })]
  t.strictSame(await both(t, loop, request, ...steps), {
    content: 'It is noon.',
    refusal: '',
    thoughts: '',
    calls: [],
    finish: 'stop',
  })
  const [first, second] = bodiesOf(upstream)
  t.strictSame(offeredBy(upstream), ['clock', 'echo'])
  t.match(first, { temperature: 0.5, parallel_tool_calls: true, x_unknown: 1, messages: request.messages })
  t.strictSame(second, {
    ...first,
    messages: [
      ...request.messages,
      {
        tool_calls: [toolCall('call_1', 'clock'), toolCall('call_2', 'echo', '{"say":"hi"}')],
        role: 'assistant',
        content: null,
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'noon' },
      { role: 'tool', tool_call_id: 'call_2', content: 'hi' },
    ],
  })
  t.equal(request.messages.length, 1, 'the request itself is left alone')
})

t.test('an answer in which nothing is hidden goes out as it came, to the byte', async (t) => {
  const text =
    '{"id":"1", "object":"chat.completion","created":1.0,"model":"m","choices":[{"index":0,"message":' +
    '{"role":"assistant","content":"Hi.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"cost":1.50}'
  upstream.next((_request, { raw }) => void raw.writeHead(200, { 'content-type': 'application/json' }).end(text))
  const answer = await loop.complete(ask('hi'))
  assertSchema('CreateChatCompletionResponse', answer)
  t.equal(toJSONText(answer), text)
})

t.test('a tool that fails, and one that there is not, are told to the model and not to the client', async (t) => {
  const failing: AgentTool = { name: 'failing', execute: () => Promise.reject(new Error('the disk is full')) }
  const calls = calling(['failing'], ['made_up'], ['clock', '{"x":'])
  const said = await both(t, looping(10, failing, clock), ask('?'), completion(calls), completion({ text: 'Sorry.' }))
  t.match(said, { content: 'Sorry.', finish: 'stop' })
  t.strictSame(resultsIn(messagesOf(upstream.last())), {
    call_1: 'Error: the disk is full',
    call_2: 'Error: there is no tool "made_up"',
    call_3: 'Error: the arguments are not a JSON object: {"x":',
  })
})

t.test('arguments that no provider would take back are not sent back', async (t) => {
  upstream.next(
    completion(calling(['clock', '{"x":'], ['clock', ''], ['clock', 'null'], ['clock', '[1]'], ['clock', '{"a": 1}'])),
  )
  await loop.complete(ask('?'))
  const [, message] = messagesOf(upstream.last())
  t.strictSame(
    message?.role === 'assistant' && message.tool_calls?.map((call) => 'function' in call && call.function.arguments),
    ['{}', '{}', '{}', '{}', '{"a": 1}'],
  )
})

t.test('calls with one id, or with none, each have their own result', async (t) => {
  const calls = [
    toolCall('same', 'echo', '{"say":"a"}'),
    toolCall('same', 'echo', '{"say":"b"}'),
    toolCall('', 'clock'),
  ]
  const streamedCalls = calls.map((call, index) => ({ index, ...call }))
  const answered = answering({ tool_calls: calls }, 'tool_calls')
  for (const step of [answered, deltas([{ role: 'assistant', tool_calls: streamedCalls }])]) {
    upstream.reset()
    upstream.next(step)
    if (step === answered) await loop.complete(ask('?'))
    else await chunksOf(t, loop, ask('?'))
    const results = resultsIn(messagesOf(upstream.last()))
    t.equal(results.same, 'a')
    t.strictSame(Object.values(results), ['a', 'b', 'noon'])
    for (const id of Object.keys(results).slice(1)) t.match(id, /^c[0-9a-f]{8}$/)
    const [, message] = messagesOf(upstream.last())
    t.strictSame(message?.role === 'assistant' && message.tool_calls?.map(({ id }) => id), Object.keys(results))
  }
})

t.test('after maxSteps the run ends with length', async (t) => {
  let runs = 0
  const counted = looping(3, { name: 'clock', execute: () => ++runs })
  const step = completion({ ...calling(['clock']), text: 'And again.' })
  const said = await both(t, counted, ask('?'), step, step, step, step)
  t.match(said, { content: 'And again.\n\nAnd again.\n\nAnd again.', calls: [], finish: 'length' })
  t.equal(upstream.requests.length, 3)
  t.equal(runs, 4, 'nobody would see what the last ones say')

  const one = await both(
    t,
    looping(1),
    ask('?', { tools: [callersTool('mail')] }),
    completion(calling(['clock'], ['mail'])),
  )
  t.match(one, { calls: [{ name: 'mail' }], finish: 'tool_calls' }, 'the caller can go on with its own')
})

t.test('of an answer that was cut short nothing is run', async (t) => {
  let runs = 0
  const counted = looping(10, { name: 'clock', execute: () => ++runs })
  for (const finishReason of ['length', 'content_filter']) {
    const step = completion({ ...calling(['clock', '{"a":'], ['mail', '{"b":']), text: 'Well', finishReason })
    const said = await both(t, counted, ask('?', { tools: [callersTool('mail')] }), step)
    t.match(said, { content: 'Well', calls: [{ name: 'mail', arguments: '{"b":' }], finish: finishReason })
    const alone = await both(t, counted, ask('?'), completion({ ...calling(['clock', '{"a":']), finishReason }))
    t.match(alone, { content: '', calls: [], finish: finishReason })
  }
  t.equal(runs, 0)
})

t.test('usage is that of all steps', async (t) => {
  const usage = (n: number) => ({
    prompt_tokens: n,
    completion_tokens: n,
    total_tokens: 2 * n,
    prompt_tokens_details: { cached_tokens: n, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: n,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  })
  const steps = [
    completion({ ...calling(['clock']), usage: usage(1) }),
    completion({ text: 'Noon.', usage: usage(20) }),
  ]
  const sum = usage(21)
  const heard: unknown[] = []
  const call: CallOptions = { onUsage: (usage, target) => heard.push([usage?.total_tokens, target]) }
  const target = { provider: 'lab', model: 'm' }

  upstream.next(...steps)
  t.strictSame((await loop.complete(ask('?'), call)).usage, sum)
  t.strictSame(heard, [
    [2, target],
    [40, target],
  ])

  upstream.next(...steps)
  const chunks = await chunksOf(t, loop, ask('?', { stream_options: { include_usage: true } }), call)
  t.strictSame(
    chunks.map(({ usage }) => usage),
    [...new Array(chunks.length - 1).fill(null), sum],
  )
  t.strictSame(chunks.at(-1)?.choices, [])

  upstream.next(...steps)
  const silent = await chunksOf(t, loop, ask('?'))
  t.notOk(silent.some((chunk) => 'usage' in chunk))

  const mute = [completion({ ...calling(['clock']), usage: false }), completion({ text: 'Noon.', usage: false })]
  upstream.next(...mute)
  t.equal((await loop.complete(ask('?'), call)).usage, undefined)
  t.strictSame(heard.slice(-2), [
    [undefined, target],
    [undefined, target],
  ])

  // Some send it unasked, with the last chunk or with each.
  upstream.next(
    deltas([{ role: 'assistant', tool_calls: [{ index: 0, ...toolCall('1', 'clock') }] }], 'tool_calls', {
      usage: usage(1),
    }),
    deltas([{ role: 'assistant', content: 'Noon.' }], 'stop', { usage: usage(20) }),
  )
  const unasked = await chunksOf(t, loop, ask('?'), call)
  t.notOk(unasked.some(({ usage }) => usage))
  t.strictSame(heard.slice(-2), [
    [2, target],
    [40, target],
  ])
})

t.test('onTurn hears all messages of the run, once, in order, as the next request can hold them', async (t) => {
  const steps = () => [
    completion({ ...calling(['clock'], ['echo', '{"say":"x"}']), text: 'A moment.' }),
    completion(calling(['clock'])),
    completion({ text: 'Noon.' }),
  ]
  const expected = [
    {
      role: 'assistant',
      content: 'A moment.',
      tool_calls: [toolCall('call_1', 'clock'), toolCall('call_2', 'echo', '{"say":"x"}')],
    },
    { role: 'tool', tool_call_id: 'call_1', content: 'noon' },
    { role: 'tool', tool_call_id: 'call_2', content: 'x' },
    { role: 'assistant', content: null, tool_calls: [toolCall('call_1', 'clock')] },
    { role: 'tool', tool_call_id: 'call_1', content: 'noon' },
    { role: 'assistant', content: 'Noon.' },
  ]
  const turns: (readonly ChatMessage[])[] = []
  const call: CallOptions = { onTurn: (messages) => turns.push(messages) }
  upstream.next(...steps())
  await loop.complete(ask('?'), call)
  upstream.next(...steps())
  let last = ''
  for await (const { choices } of loop.stream(ask('?'), call)) {
    if (choices[0]?.finish_reason) t.equal(turns.length, 2, 'before the answer is whole')
    last = choices[0]?.finish_reason ?? last
  }
  t.equal(last, 'stop')
  for (const turn of turns) {
    t.same(turn, expected)
    assertSchema('CreateChatCompletionRequest', { ...ask('?'), messages: [...ask('?').messages, ...turn] })
  }
  t.equal(turns.length, 2)
})

t.test('onTurn hears nothing of a run that fails', async (t) => {
  upstream.next(completion(calling(['clock'])), dropAfter(0))
  const turns: unknown[] = []
  await failure(loop.complete(ask('?'), { onTurn: (messages) => turns.push(messages) }))
  t.strictSame(turns, [])
})

t.test('an upstream that breaks in a later step breaks the stream', async (t) => {
  for (const broken of [
    dropAfter(2),
    deltas([{ role: 'assistant', content: 'It' }], null, { choices: undefined, error: { message: 'x' } }),
  ]) {
    upstream.reset()
    upstream.next(completion({ ...calling(['clock']), text: 'A moment.' }), broken)
    const seen: string[] = []
    let finish: unknown
    const error = await failure(
      (async () => {
        for await (const { choices } of loop.stream(ask('?'))) {
          seen.push(choices[0]?.delta.content ?? '')
          finish ??= choices[0]?.finish_reason
        }
      })(),
    )
    t.match(error, { kind: /^upstream_/ })
    t.match(seen.join(''), /^A moment\./)
    t.notOk(finish)
  }
})

t.test('an answer without a choice is the provider’s fault', async (t) => {
  const steps: Behaviour[] = [
    answering({}, 'stop', { choices: [] }),
    answering({}, 'stop', { choices: undefined }),
    answering({}, 'stop', { choices: [{ index: 0 }] }),
  ]
  for (const step of steps) {
    upstream.next(step)
    t.match(await failure(loop.complete(ask('?'))), { kind: 'upstream_malformed' })
  }
  upstream.next(deltas([], null))
  t.match(await failure(chunksOf(t, loop, ask('?'))), { kind: 'upstream_malformed' })
  upstream.next(completion(calling(['clock'])), deltas([], null))
  t.match(await failure(chunksOf(t, loop, ask('?'))), { kind: 'upstream_malformed' })
  upstream.next(answering({ tool_calls: [{ id: '1', type: 'function' }] }))
  t.match(await failure(loop.complete(ask('?'))), { kind: 'upstream_malformed' })
})

t.test('when the client leaves', async (t) => {
  const never = Promise.withResolvers<string>()

  t.test('while tools run: the run ends at once, and the model is not asked again', async (t) => {
    for (const stream of [false, true]) {
      upstream.reset()
      const client = new AbortController()
      let seen: AbortSignal | undefined
      const stuck: AgentTool = {
        name: 'stuck',
        execute(_args, { signal }) {
          seen = signal
          setImmediate(() => client.abort())
          return never.promise
        },
      }
      upstream.next(completion(calling(['stuck'])))
      const stuckLoop = looping(10, stuck)
      const call = { signal: client.signal }
      const work = stream ? chunksOf(t, stuckLoop, ask('?'), call) : stuckLoop.complete(ask('?'), call)
      t.match(await failure(work), { kind: 'client_closed' })
      t.equal(seen?.aborted, true)
      t.equal(upstream.requests.length, 1)
    }
    never.reject(new Error('nobody hears this'))
    await new Promise((resolve) => setImmediate(resolve))
  })

  t.test('just as a tool has done its work', async (t) => {
    const client = new AbortController()
    let asked = 0
    const counting: LLMClient = {
      provider: model.provider,
      model: model.model,
      complete: (request, call) => {
        asked += 1
        return model.complete(request, call)
      },
      stream: (request, call) => model.stream(request, call),
    }
    upstream.next(completion(calling(['clock'])))
    const work = loopAround(counting)().complete(ask('?'), { signal: client.signal, onTool: () => client.abort() })
    t.match(await failure(work), { kind: 'client_closed' })
    t.equal(asked, 1)
  })

  t.test('while the model answers a later step', async (t) => {
    const client = new AbortController()
    upstream.next(completion(calling(['clock'])), hang())
    const work = failure(loop.complete(ask('?'), { signal: client.signal }))
    const second = await upstream.request(1)
    client.abort()
    t.match(await work, { kind: 'client_closed' })
    t.match(await second.closed, { aborted: true })
  })

  t.test('a stream that nobody reads any more closes its upstream call', async (t) => {
    const gate = gated(['a', 'b'])
    upstream.next(gate.behaviour)
    gate.release(2)
    for await (const { choices } of loop.stream(ask('?'))) if (choices[0]?.delta.content) break
    t.match(await upstream.last().closed, { aborted: true })
  })
})

t.test('50 runs at once on one loop each have their own results', async (t) => {
  upstream.behave(async (request, exchange) => {
    const messages = messagesOf(request)
    const question = String(messages[0]?.content)
    const results = Object.values(resultsIn(messages))
    if (results.length < 3) {
      const args = JSON.stringify({ say: `${question}/${results.length}` })
      const toolCalls = [{ id: `call_${results.length}`, name: 'echo', arguments: args }]
      return completion({ toolCalls })(request, exchange)
    }
    return completion({ text: results.join(' ') })(request, exchange)
  })
  const runs = Array.from({ length: 50 }, async (_, index) => {
    const request = ask(`q${index}`)
    return index % 2 === 0 ? saidBy(loop, request) : saidIn(await chunksOf(t, loop, request))
  })
  t.strictSame(
    (await Promise.all(runs)).map(({ content }) => content),
    Array.from({ length: 50 }, (_, index) => [0, 1, 2].map((step) => `q${index}/${step}`).join(' ')),
  )
})

t.test('a result at the limit of its size comes through, step after step', async (t) => {
  const big: AgentTool = { name: 'big', maxResultBytes: 2_000_000, execute: () => 'x'.repeat(2_000_000) }
  const steps = Array.from({ length: 5 }, () => completion(calling(['big'], ['big'])))
  upstream.next(...steps)
  t.equal((await saidBy(looping(10, big), ask('hi'))).content, 'You said: hi')
  t.equal(
    messagesOf(upstream.last()).filter(({ role, content }) => role === 'tool' && content?.length === 2_000_000).length,
    10,
  )
})
