import t from 'tap'
import { outputWindow } from '../../src/agent/checked-stream.ts'
import { guarded } from '../../src/agent/guarded.ts'
import {
  AgentLoop,
  type CallOptions,
  type ChatCompletionChunk,
  createLLM,
  defineGuardrail,
  type Guardrail,
} from '../../src/index.ts'
import { eventually } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import { completion, failWith, gated, type Json, startUpstream } from '../upstream.ts'
import { answering, ask, calling, chunksOf, deltas, failure, saidBy, saidIn } from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => model.close?.())

const guarding = (...guardrails: Partial<Guardrail>[]) =>
  guarded(
    model,
    guardrails.map((guardrail, index) => ({ name: `g${index}`, ...guardrail })),
  )

/** Stops an answer with this word in it. */
const forbids = (word: string): Partial<Guardrail> => ({
  output: (text) => (text.includes(word) ? { reason: `${word} is forbidden` } : null),
})

const stop = (reason: string) => ({ reason })

/** Notes what is reported. */
function reporting(): { call: CallOptions; reports: unknown[] } {
  const reports: unknown[] = []
  return { reports, call: { onGuardrail: (report) => reports.push(report) } }
}

t.test('who has nothing to say lets the turn go on', async (t) => {
  const seen: unknown[] = []
  const client = guarding(
    {
      input: (messages) => {
        seen.push(messages)
        return undefined
      },
    },
    { input: async () => null, output: async (text) => void seen.push(text) },
  )
  t.match(client, { provider: 'lab', model: 'm' })
  const { reports, call } = reporting()
  t.match(await saidBy(client, ask('hi'), call), { content: 'You said: hi', finish: 'stop' })
  t.strictSame(seen, [ask('hi').messages, 'You said: hi'])
  t.match(saidIn(await chunksOf(t, client, ask('hi'), call)), { content: 'You said: hi', finish: 'stop' })
  t.strictSame(reports, [])
})

t.test('an input guardrail stops the turn before the model is asked', async (t) => {
  const client = guarding({ input: async (messages) => (messages.length > 0 ? stop('not this') : null) })
  const { reports, call } = reporting()
  const expected = { content: '', refusal: 'not this', thoughts: '', calls: [], finish: 'content_filter' }
  t.strictSame(await saidBy(client, ask('?'), call), expected)
  t.strictSame(saidIn(await chunksOf(t, client, ask('?'), call)), expected)
  t.strictSame(reports, new Array(2).fill({ guardrail: 'g0', stage: 'input', reason: 'not this' }))
  t.equal(upstream.requests.length, 0)

  const zero = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
  t.strictSame((await client.complete(ask('?'))).usage, zero)
  const chunks = await chunksOf(t, client, ask('?', { stream_options: { include_usage: true } }))
  t.strictSame(
    chunks.map(({ usage }) => usage),
    [...new Array(chunks.length - 1).fill(null), zero],
  )
})

t.test('every answer that was asked for is refused', async (t) => {
  const client = guarding({ input: () => stop('no') })
  const { choices } = await client.complete(ask('?', { n: 2 }))
  t.match(choices, [
    { index: 0, finish_reason: 'content_filter' },
    { index: 1, finish_reason: 'content_filter' },
  ])
  const ends: unknown[] = []
  for await (const { choices } of client.stream(ask('?', { n: 2 }))) {
    for (const { index, finish_reason } of choices) if (finish_reason) ends.push([index, finish_reason])
  }
  t.strictSame(ends, [
    [0, 'content_filter'],
    [1, 'content_filter'],
  ])
  t.equal((await client.complete(ask('?', { n: 1e9 }))).choices.length, 128, 'no more than there can be')
})

t.test('of several answers one may have ended before another is stopped', async (t) => {
  const chunk = (index: number, delta: Json, finish_reason: string | null = null) => ({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [{ index, delta, logprobs: null, finish_reason }],
  })
  upstream.next(async (_request, exchange) => {
    exchange.startStream()
    const good = chunk(0, { role: 'assistant', content: 'fine' })
    for (const each of [
      good,
      chunk(0, {}, 'stop'),
      chunk(1, { role: 'assistant', content: 'bad' }),
      chunk(1, {}, 'stop'),
    ]) {
      await exchange.event(each)
    }
    await exchange.done()
  })
  const ends: unknown[] = []
  let text = ''
  for await (const { choices } of guarding(forbids('bad')).stream(ask('?', { n: 2 }))) {
    for (const { index, delta, finish_reason } of choices) {
      text += delta.content ?? ''
      if (finish_reason) ends.push([index, finish_reason])
    }
  }
  t.equal(text, 'fine')
  t.strictSame(ends, [
    [0, 'stop'],
    [1, 'content_filter'],
  ])
})

t.test('an output guardrail stops an answer, of which nothing is seen', async (t) => {
  const { reports, call } = reporting()
  upstream.next(completion({ text: 'the secret is 42', usage: { total_tokens: 7 } }))
  const answer = await guarding(forbids('secret')).complete(ask('?'), call)
  assertSchema('CreateChatCompletionResponse', answer)
  t.match(answer, {
    id: /^chatcmpl-/,
    usage: { total_tokens: 7 },
    choices: [{ message: { content: null, refusal: 'secret is forbidden' }, finish_reason: 'content_filter' }],
  })
  t.notMatch(JSON.stringify(answer), /the secret/)
  t.strictSame(reports, [{ guardrail: 'g0', stage: 'output', reason: 'secret is forbidden' }])

  upstream.next(completion({ tokens: ['the se', 'cret', ' is 42'] }))
  t.match(saidIn(await chunksOf(t, guarding(forbids('secret')), ask('?'), call)), {
    content: '',
    refusal: 'secret is forbidden',
    finish: 'content_filter',
  })
})

t.test('an answer in parts is read as well', async (t) => {
  const content = [
    { type: 'thinking', thinking: [] },
    { type: 'text', text: 'the secret' },
  ]
  upstream.next(answering({ content }))
  t.match((await guarding(forbids('secret')).complete(ask('?'))).choices, [{ finish_reason: 'content_filter' }])
  upstream.next(
    deltas(
      [{ role: 'assistant', content: '' }, { content: content.slice(0, 1) }, { content: content.slice(1) }],
      'stop',
    ),
  )
  const chunks: ChatCompletionChunk[] = []
  for await (const chunk of guarding(forbids('secret')).stream(ask('?'))) chunks.push(chunk)
  t.notMatch(JSON.stringify(chunks), /the secret"/)
  t.match(chunks.at(-1)?.choices, [{ finish_reason: 'content_filter' }])
})

t.test('on a stream', async (t) => {
  const tokens = (...texts: string[]) => completion({ tokens: texts })
  const long = (letter: string, length = outputWindow) => letter.repeat(length)

  t.test('text waits until the 200 characters after it have been checked with it', async (t) => {
    const checked: number[] = []
    const gate = gated([long('a', 100), long('b', 150), long('c', 100), 'd'])
    upstream.next(gate.behaviour)
    const client = guarding({ output: (text) => void checked.push(text.length) })
    const seen: string[] = []
    const reading = (async () => {
      for await (const { choices } of client.stream(ask('?'))) seen.push(choices[0]?.delta.content ?? 'end')
    })()
    gate.release(3)
    await eventually(() => checked.length === 2)
    t.strictSame([seen, checked], [[''], [100, 250]], 'the role is out, and of the text nothing')
    gate.release()
    await eventually(() => seen.length === 2)
    t.strictSame([seen[1], checked], [long('a', 100), [100, 250, 350]])
    gate.release(2)
    await reading
    t.equal(seen.join(''), `${long('a', 100)}${long('b', 150)}${long('c', 100)}dend`)
    t.equal(checked.at(-1), 351, 'all that is left, before the end')
  })

  t.test('text that has been checked with what follows has gone out, and no other', async (t) => {
    upstream.next(tokens(long('a'), long('b'), `secret${long('c')}`, 'd'))
    const { reports, call } = reporting()
    const chunks = await chunksOf(t, guarding(forbids('secret')), ask('?'), call)
    t.match(saidIn(chunks), { content: long('a'), refusal: 'secret is forbidden', finish: 'content_filter' })
    t.equal(reports.length, 1)
  })

  t.test('of what is forbidden, not even the beginning goes out', async (t) => {
    for (const texts of [
      [`${long('a', 197)}sec`, `ret${long('b')}`],
      [long('a', 186), 's', 'e', 'c', 'r', 'e', 't'],
      [...long('a', 400), ...'secret'],
    ]) {
      upstream.next(tokens(...texts))
      const said = saidIn(await chunksOf(t, guarding(forbids('secret')), ask('?')))
      t.notMatch(said.content, /s/)
      t.equal(said.finish, 'content_filter')
    }
  })

  t.test('thoughts count as text', async (t) => {
    upstream.next(
      completion({ reasoning: 'the secret is', text: 'hidden' }),
      completion({ reasoning: 'a secret', text: 'b' }),
    )
    const chunks = await chunksOf(t, guarding(forbids('secret')), ask('?'))
    t.notMatch(JSON.stringify(chunks), /the secret/)
    t.equal(saidIn(chunks).finish, 'content_filter')
    const whole = await guarding(forbids('secret')).complete(ask('?'))
    t.match(whole.choices, [{ finish_reason: 'content_filter', message: { refusal: 'secret is forbidden' } }])
    t.notMatch(JSON.stringify(whole), /a secret/)
  })

  t.test('the upstream call is closed', async (t) => {
    const gate = gated([`secret${long('a')}`, 'b', 'c'])
    upstream.next(gate.behaviour)
    gate.release(2)
    await chunksOf(t, guarding(forbids('secret')), ask('?'))
    t.match(await upstream.last().closed, { aborted: true })
    t.equal(gate.sent, 2)
  })

  t.test('an answer that ends without a finish reason is checked all the same', async (t) => {
    upstream.next(deltas([{ role: 'assistant', content: 'the secret' }], null))
    const chunks: ChatCompletionChunk[] = []
    for await (const chunk of guarding(forbids('secret')).stream(ask('?'))) chunks.push(chunk)
    t.match(saidIn(chunks), { content: '', refusal: 'secret is forbidden' })
  })

  t.test('without output guardrails nothing waits', async (t) => {
    const gate = gated(['a', 'b'])
    upstream.next(gate.behaviour)
    const chunks = guarding({ input: () => null })
      .stream(ask('?'))
      [Symbol.asyncIterator]()
    gate.release(2)
    await chunks.next()
    t.match((await chunks.next()).value, { choices: [{ delta: { content: 'a' } }] })
    await chunks.return?.()
  })
})

t.test('the first that stops the turn, in their order, is the one that is told', async (t) => {
  const slow = Promise.withResolvers<{ reason: string }>()
  const client = guarding(
    { input: () => slow.promise },
    {
      input: () => {
        slow.resolve(stop('first'))
        return stop('second')
      },
    },
  )
  const { reports, call } = reporting()
  t.equal((await saidBy(client, ask('?'), call)).refusal, 'first')
  t.equal(reports.length, 1)
})

t.test('a guardrail that fails, fails the request', async (t) => {
  const broken = new Error('the policy server is down')
  const thrower = () => {
    throw broken
  }
  for (const guardrail of [{ input: thrower }, { input: () => Promise.reject(broken) }, { output: thrower }]) {
    t.equal(await failure(guarding(guardrail, { input: () => null }).complete(ask('?'))), broken)
    t.equal(await failure(chunksOf(t, guarding(guardrail), ask('?'))), broken)
  }
})

t.test('what is neither a reason nor nothing fails the request, too', async (t) => {
  for (const odd of ['a reason', true, 1]) {
    const client = guarding({ input: () => odd as unknown as null })
    t.match(await failure(client.complete(ask('?'))), { message: /"g0" must answer with \{ reason \}/ })
  }
  const vague = guarding({ input: () => ({}) as { reason: string } })
  t.equal((await saidBy(vague, ask('?'))).refusal, 'stopped by a guardrail')
  const falsy = guarding({ input: () => false as unknown as null })
  t.equal((await saidBy(falsy, ask('?'))).finish, 'stop')
})

t.test('what fails behind it fails as it would without', async (t) => {
  upstream.next(failWith(503))
  t.match(await failure(guarding({ output: () => null }).complete(ask('?'))), { kind: 'upstream_overloaded' })
})

t.test('a client that leaves does not wait for a guardrail', async (t) => {
  const client = new AbortController()
  const asked = Promise.withResolvers<AbortSignal | undefined>()
  const never = Promise.withResolvers<null>()
  const guardrail: Partial<Guardrail> = {
    input: (_messages, { signal }) => {
      asked.resolve(signal)
      return never.promise
    },
  }
  const work = failure(guarding(guardrail).complete(ask('?'), { signal: client.signal }))
  t.equal(await asked.promise, client.signal)
  client.abort()
  t.match(await work, { kind: 'client_closed' })
  never.reject(new Error('nobody hears this'))
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(upstream.requests.length, 0)
})

t.test('a guardrail knows whose turn it is', async (t) => {
  const call = { requestId: 'req_1', userId: 'ada', conversationId: 'c1' }
  const contexts: unknown[] = []
  const client = guarding({
    input: (_messages, context) => void contexts.push(context),
    output: (_text, context) => void contexts.push(context),
  })
  await client.complete(ask('?'), call)
  await client.complete(ask('?'))
  t.match(contexts, [call, call, { userId: null }, { userId: null }])
})

t.test('tools', async (t) => {
  const ran: string[] = []
  const tool = (name: string) => ({ name, execute: () => void ran.push(name) })
  const agent = (toolInput: Guardrail['toolInput'], more: Partial<Guardrail> = {}) =>
    new AgentLoop({
      client: model,
      tools: [tool('look'), tool('erase')],
      guardrails: [defineGuardrail({ name: 'careful', ...(toolInput ? { toolInput } : {}), ...more })],
    })
  const careful: Guardrail['toolInput'] = async ({ tool }) => (tool === 'erase' ? stop('nothing is erased') : null)
  t.beforeEach(() => void ran.splice(0))

  t.test('a call is stopped before any tool of its step runs', async (t) => {
    const seen: unknown[] = []
    const watching = agent((call, context) => {
      seen.push(call)
      return careful(call, context)
    })
    const steps = () => upstream.next(completion({ ...calling(['look', '{"at":1}'], ['erase']), text: 'Let me see.' }))
    const { reports, call } = reporting()
    steps()
    const answer = await watching.complete(ask('?'), call)
    assertSchema('CreateChatCompletionResponse', answer)
    t.match(answer.choices, [
      { message: { content: null, refusal: 'nothing is erased' }, finish_reason: 'content_filter' },
    ])
    t.ok(answer.usage?.total_tokens, 'the step has been paid for')
    steps()
    t.match(saidIn(await chunksOf(t, watching, ask('?'), call)), {
      content: 'Let me see.',
      refusal: 'nothing is erased',
      calls: [],
      finish: 'content_filter',
    })
    t.strictSame(ran, [])
    t.strictSame(seen.slice(0, 2), [
      { tool: 'look', arguments: { at: 1 } },
      { tool: 'erase', arguments: {} },
    ])
    t.strictSame(reports[0], { guardrail: 'careful', stage: 'tool_input', reason: 'nothing is erased' })
    t.equal(upstream.requests.length, 2, 'and the model is not asked again')
  })

  t.test('calls that nobody minds run', async (t) => {
    upstream.next(completion(calling(['look'])))
    t.match(await saidBy(agent(careful), ask('hi')), { content: 'You said: hi', finish: 'stop' })
    t.strictSame(ran, ['look'])
  })

  t.test('calls of the caller’s own tools are its own affair', async (t) => {
    upstream.next(completion(calling(['mine'])))
    const seen: unknown[] = []
    const mine = { type: 'function', function: { name: 'mine', parameters: { type: 'object', properties: {} } } }
    const said = await saidBy(
      agent((call) => void seen.push(call)),
      ask('?', { tools: [mine] }),
    )
    t.match(said, { calls: [{ name: 'mine' }] })
    t.strictSame(seen, [])
  })

  t.test('usage of the steps so far ends a stream that was stopped', async (t) => {
    upstream.next(completion(calling(['look'])), completion(calling(['erase'])))
    const chunks = await chunksOf(t, agent(careful), ask('?', { stream_options: { include_usage: true } }))
    t.ok(Number(chunks.at(-1)?.usage?.total_tokens) > 0)
    t.strictSame(ran, ['look'])
  })
})

t.test('defineGuardrail checks the shape', async (t) => {
  const broken: [unknown, string][] = [
    [null, 'a guardrail must be an object'],
    [{ input: () => null }, 'a guardrail needs a name'],
    [{ name: 'g' }, 'guardrail "g" needs input, output or toolInput'],
    [{ name: 'g', output: 'x' }, 'guardrail "g": output must be a function'],
  ]
  for (const [guardrail, message] of broken) {
    t.throws(() => defineGuardrail(guardrail as Guardrail), { name: 'TypeError', message })
  }
})
