import t from 'tap'
import { type ChatMessage, createLLM } from '../../src/index.ts'
import { callersTool, glance, messagesOf, toolCall } from '../core.ts'
import { completion, type Json, startUpstream } from '../upstream.ts'
import {
  answering,
  ask,
  bodiesOf,
  calling,
  chunksOf,
  deltas,
  failure,
  loopAround,
  offeredBy,
  runBoth,
  saidBy,
  saidIn,
} from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => model.close?.())
const loop = loopAround(model)()
const both = runBoth(upstream)

t.test('the caller’s own tools', async (t) => {
  const withTool = (more: Json = {}) => ask('?', { tools: [callersTool('weather'), callersTool('mail')], ...more })

  t.test('are offered beside the gateway’s, and their calls end the run', async (t) => {
    const said = await both(t, loop, withTool(), completion(calling(['weather', '{"city":"Ghent"}'], ['mail'])))
    t.match(said, {
      calls: [
        { id: 'call_1', name: 'weather', arguments: '{"city":"Ghent"}' },
        { id: 'call_2', name: 'mail', arguments: '{}' },
      ],
      finish: 'tool_calls',
    })
    t.equal(upstream.requests.length, 1)
    t.strictSame(offeredBy(upstream), ['clock', 'echo', 'weather', 'mail'])
  })

  t.test('are called after steps of the gateway’s own', async (t) => {
    const steps = [completion(calling(['clock'])), completion(calling(['weather', '{"at":"noon"}']))]
    t.match(await both(t, loop, withTool(), ...steps), {
      calls: [{ id: 'call_1', name: 'weather', arguments: '{"at":"noon"}' }],
      finish: 'tool_calls',
    })
  })

  t.test('in one step with the gateway’s: those run, and the caller sees only its own', async (t) => {
    const mixed = calling(['clock'], ['weather', '{"city":"Ghent"}'], ['echo', '{"say":"hi"}'], ['mail', '{"to":"a"}'])
    const turn: ChatMessage[] = []
    for (const finishReason of ['tool_calls', 'stop']) {
      const said = await both(t, loop, withTool(), completion({ ...mixed, text: 'A moment.', finishReason }))
      t.strictSame(said, {
        content: 'A moment.',
        refusal: '',
        thoughts: '',
        calls: [
          { id: 'call_2', name: 'weather', arguments: '{"city":"Ghent"}' },
          { id: 'call_4', name: 'mail', arguments: '{"to":"a"}' },
        ],
        finish: 'tool_calls',
      })
      t.equal(upstream.requests.length, 1)
    }
    upstream.next(completion(mixed))
    await loop.complete(withTool(), { onTurn: (messages) => void turn.push(...messages) })
    t.strictSame(glance(turn), ['calls call_1 call_2 call_3 call_4', 'call_1: noon', 'call_3: hi'])
  })

  t.test('also when a stream names a call late, and interleaves them', async (t) => {
    upstream.next(
      deltas([
        { role: 'assistant', content: null },
        { tool_calls: [{ index: 0, id: 'i', type: 'function', function: { arguments: '' } }] },
        { tool_calls: [{ index: 1, id: 'c', type: 'function', function: { arguments: '{"a"' } }] },
        {
          tool_calls: [
            { index: 1, function: { arguments: ':1' } },
            { index: 0, function: { name: 'clock' } },
          ],
        },
        { tool_calls: [{ index: 1, function: { name: 'weather' } }] },
        {
          tool_calls: [
            { index: 0, function: { arguments: '{}' } },
            { index: 1, function: { arguments: '}' } },
          ],
        },
      ]),
    )
    t.match(saidIn(await chunksOf(t, loop, withTool())), {
      calls: [{ id: 'c', name: 'weather', arguments: '{"a":1}' }],
      finish: 'tool_calls',
    })
  })

  t.test('keep the finish reason that the provider gave', async (t) => {
    t.match(await both(t, loop, withTool(), completion({ ...calling(['mail']), finishReason: 'stop' })), {
      calls: [{ name: 'mail' }],
      finish: 'stop',
    })
  })

  t.test('may be custom ones', async (t) => {
    const custom = { id: 'c', type: 'custom', custom: { name: 'shell', input: 'ls' } }
    const request = ask('?', { tools: [{ type: 'custom', custom: { name: 'shell' } }] })
    upstream.next(answering({ tool_calls: [toolCall('i', 'clock'), custom] }, 'tool_calls'))
    t.strictSame((await loop.complete(request)).choices[0]?.message.tool_calls, [custom])
    upstream.next(
      deltas([
        { role: 'assistant', tool_calls: [{ index: 0, ...toolCall('i', 'clock') }] },
        { tool_calls: [{ index: 1, ...custom }] },
        { tool_calls: [{ index: 1, custom: { input: ' -l' } }] },
      ]),
    )
    const seen: unknown[] = []
    for await (const { choices } of loop.stream(request)) seen.push(...(choices[0]?.delta.tool_calls ?? []))
    t.strictSame(seen, [
      { ...custom, index: 0 },
      { index: 0, custom: { input: ' -l' } },
    ])
  })

  t.test('may not have the name of one of the gateway’s', async (t) => {
    const request = ask('?', { tools: [callersTool('weather'), callersTool('clock')] })
    t.match(await failure(loop.complete(request)), { status: 400, param: 'tools', message: /"clock"/ })
    t.match(await failure(chunksOf(t, loop, request)), { status: 400, param: 'tools' })
    t.equal(upstream.requests.length, 0)
  })

  t.test('the turn that brings their results goes on', async (t) => {
    const turn: ChatMessage[] = []
    upstream.next(completion(calling(['clock'], ['weather'])))
    const request = withTool()
    await loop.complete(request, { onTurn: (messages) => void turn.push(...messages) })
    const result: ChatMessage = { role: 'tool', tool_call_id: 'call_2', content: 'rain' }
    const next = { ...request, messages: [...request.messages, ...turn, result] }
    t.match(await both(t, loop, next, completion({ text: 'Rain at noon.' })), { content: 'Rain at noon.' })
    t.strictSame(glance(messagesOf(upstream.last())).slice(1), ['calls call_1 call_2', 'call_1: noon', 'call_2: rain'])
  })
})

t.test('tool_choice', async (t) => {
  const tools = [callersTool('weather'), callersTool('mail')]
  /** What is sent in two steps, the first of which calls a tool of the gateway's. */
  const choices = async (more: Json): Promise<unknown[]> => {
    upstream.reset()
    upstream.next(completion(calling(['clock'])))
    await loop.complete(ask('?', more))
    return bodiesOf(upstream).map(({ tool_choice }) => tool_choice)
  }

  t.test('none is said of the tools that the caller knows', async (t) => {
    t.strictSame(await choices({ tools, tool_choice: 'none' }), [undefined, undefined])
    t.strictSame(offeredBy(upstream), ['clock', 'echo'])
  })

  t.test('auto stays', async (t) => {
    t.strictSame(await choices({ tools, tool_choice: 'auto' }), ['auto', 'auto'])
  })

  t.test('required holds until a tool of the caller’s is called', async (t) => {
    t.strictSame(await choices({ tools, tool_choice: 'required' }), ['required', 'required'])
  })

  t.test('required without tools of the caller’s holds once', async (t) => {
    t.strictSame(await choices({ tool_choice: 'required' }), ['required', undefined])
  })

  t.test('a tool of the caller’s', async (t) => {
    const named = { type: 'function', function: { name: 'mail' } }
    t.strictSame(await choices({ tools, tool_choice: named }), [named, named])
  })

  t.test('some tools of the caller’s: the gateway’s are not among those that are forbidden', async (t) => {
    const some = { mode: 'auto', tools: [{ type: 'function', function: { name: 'mail' } }] }
    const all = [...['clock', 'echo', 'mail'].map((name) => ({ type: 'function', function: { name } }))]
    const sent = { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: all } }
    t.strictSame(await choices({ tools, tool_choice: { type: 'allowed_tools', allowed_tools: some } }), [sent, sent])
  })

  t.test('a tool that the caller has not sent is refused, also one of the gateway’s', async (t) => {
    for (const name of ['clock', 'unknown']) {
      const request = ask('?', { tools, tool_choice: { type: 'function', function: { name } } })
      t.match(await failure(loop.complete(request)), { status: 400, param: 'tool_choice', message: new RegExp(name) })
    }
    const custom = ask('?', { tool_choice: { type: 'custom', custom: { name: 'x' } } })
    t.match(await failure(loop.complete(custom)), { status: 400, param: 'tool_choice' })
  })
})

t.test('what cannot be done with tools of the gateway’s is refused', async (t) => {
  t.match(await failure(loop.complete(ask('?', { n: 2 }))), { status: 400, param: 'n' })
  t.match(await failure(loop.complete(ask('?', { functions: [{ name: 'f' }] }))), { status: 400, param: 'functions' })
  t.match(await failure(chunksOf(t, loop, ask('?', { n: 2 }))), { status: 400, param: 'n' })
  t.equal(upstream.requests.length, 0)
  for (const nothing of [{ n: 1 }, { n: null }, { functions: [] }, { tools: null }, { response_format: { type: 5 } }]) {
    t.equal((await saidBy(loop, ask('hi', nothing))).content, 'You said: hi')
  }
})
