import t from 'tap'
import {
  AgentLoop,
  type AgentLoopOptions,
  type CallOptions,
  ConversationHistory,
  createLLM,
  type Guardrail,
} from '../../src/index.ts'
import { callersTool, eventually, glance, messagesOf } from '../core.ts'
import { completion, dropAfter, failWith, gated, hang, type Json, startUpstream } from '../upstream.ts'
import { ask, calling, chunksOf, clock, failure, saidBy, saidIn } from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => model.close?.())

const agent = (options: Partial<AgentLoopOptions> = {}) => new AgentLoop({ client: model, ...options })
const offered = (): string[] =>
  ((upstream.last().body as { tools?: { function: { name: string } }[] }).tools ?? []).map((tool) => tool.function.name)

t.test('it is a client, with instructions before everything', async (t) => {
  const brief = agent({ system: 'Be brief.' })
  t.match(brief, {
    provider: 'lab',
    model: 'm',
    agent: { allowExternalTools: true, toolNames: [] },
    history: undefined,
  })
  t.match(await saidBy(brief, ask('hi')), { content: 'You said: hi', finish: 'stop' })
  t.strictSame(glance(messagesOf(upstream.last())), ['system Be brief.', 'user hi'])
  t.match(saidIn(await chunksOf(t, brief, ask('hi'))), { content: 'You said: hi', finish: 'stop' })
})

t.test('with nothing but a model it is the model', async (t) => {
  await agent().complete(ask('hi', { x: 1 }))
  t.strictSame(upstream.last().body, ask('hi', { x: 1 }))
})

t.test('instructions, tools and guardrails together', async (t) => {
  const seen: string[] = []
  const spy: Guardrail = {
    name: 'spy',
    input: (messages) => void seen.push(`input ${messages.length}`),
    toolInput: ({ tool }) => void seen.push(`tool ${tool}`),
    output: (text) => void seen.push(`output ${text}`),
  }
  const full = agent({ system: 'Be brief.', tools: [clock], guardrails: [spy] })
  t.strictSame(full.agent, { allowExternalTools: true, toolNames: ['clock'], keepsHistory: false })
  upstream.next(completion(calling(['clock'])), completion({ text: 'Noon.' }))
  t.match(await saidBy(full, ask('?')), { content: 'Noon.' })
  t.strictSame(seen, ['input 1', 'tool clock', 'output Noon.'])
  t.strictSame(glance(messagesOf(upstream.last())), ['system Be brief.', 'user ?', 'calls call_1', 'call_1: noon'])
})

t.test('the tools of callers', async (t) => {
  const request = ask('?', { tools: [callersTool('weather')] })
  await agent({ tools: [clock] }).complete(request)
  t.strictSame(offered(), ['clock', 'weather'])

  const closed = agent({ tools: [clock], allowExternalTools: false })
  t.equal(closed.agent.allowExternalTools, false)
  const warnings: string[] = []
  const call = { onWarning: (warning: string) => void warnings.push(warning) }
  await closed.complete(request, call)
  t.strictSame(offered(), ['clock'])
  t.match(warnings, [/takes no tools from its callers/])

  await closed.complete(ask('?', { tools: [callersTool('clock')], tool_choice: 'none', functions: [{ name: 'f' }] }))
  t.strictSame(offered(), ['clock'], 'what is ignored does not clash')
})

t.test('what cannot be is refused when it is made', async (t) => {
  const broken: [Partial<AgentLoopOptions>, string][] = [
    [{ tools: [clock, clock] }, 'two tools are named "clock"'],
    [
      { tools: [{ name: 'x y', execute: () => '' }] },
      'a tool\'s name must be 1 to 64 letters, digits, "_" and "-", not "x y"',
    ],
    [{ maxSteps: 0 }, 'maxSteps must be a positive integer, not 0'],
    [{ maxSteps: 1.5 }, 'maxSteps must be a positive integer, not 1.5'],
    [{ guardrails: [{ name: 'g' }] }, 'guardrail "g" needs input, output or toolInput'],
  ]
  for (const [options, message] of broken) t.throws(() => agent(options), { name: 'TypeError', message })
})

t.test('it asks ten times at most, or as often as it is told', async (t) => {
  upstream.behave(completion(calling(['clock'])))
  t.match(await saidBy(agent({ tools: [clock] }), ask('?')), { finish: 'length', calls: [] })
  t.equal(upstream.requests.length, 10)
  upstream.reset()
  upstream.behave(completion(calling(['clock'])))
  t.match(await saidBy(agent({ tools: [clock], maxSteps: 2 }), ask('?')), { finish: 'length' })
  t.equal(upstream.requests.length, 2)
})

t.test('an agent may be the client of another agent', async (t) => {
  const outer = new AgentLoop({
    client: agent({ tools: [clock] }),
    tools: [{ name: 'calendar', execute: () => 'monday' }],
    maxSteps: 2,
  })
  const steps = () => [
    completion(calling(['clock'])),
    completion(calling(['clock'], ['calendar'])),
    completion({ text: 'Monday, noon.' }),
  ]
  const run = ['calls call_1', 'call_1: noon', 'calls call_1 call_2', 'call_1: noon', 'call_2: monday']
  for (const stream of [false, true]) {
    const turns: string[][] = []
    const usages: unknown[] = []
    const call: CallOptions = {
      onTurn: (messages) => turns.push(glance(messages)),
      onUsage: (usage) => usages.push(usage?.total_tokens),
    }
    upstream.reset()
    upstream.next(...steps())
    const said = stream ? saidIn(await chunksOf(t, outer, ask('?'), call)) : await saidBy(outer, ask('?'), call)
    t.match(said, { content: 'Monday, noon.', calls: [], finish: 'stop' })
    t.strictSame(glance(messagesOf(upstream.last())), ['user ?', ...run], 'the model sees all that it has done')
    t.strictSame(turns, [[...run, 'assistant Monday, noon.']], 'and so does who listens, once')
    t.equal(usages.length, 3, 'no step is counted twice')
  }
  t.strictSame(offered().sort(), ['calendar', 'clock'])

  const turns: string[][] = []
  upstream.next(completion(calling(['calendar'])), completion(calling(['clock'], ['calendar'])))
  const call: CallOptions = { onTurn: (messages) => turns.push(glance(messages)) }
  t.match(await saidBy(outer, ask('?'), call), { calls: [], finish: 'length' })
  t.strictSame(turns, [['calls call_1', 'call_1: monday', 'calls call_1', 'call_1: noon']])
})

t.test('closing it closes its client', async (t) => {
  const own = new AgentLoop({
    client: createLLM({ model: 'lab/m', baseURL: upstream.baseURL }),
    system: 'x',
    tools: [clock],
  })
  await own.complete(ask('?'))
  await own.close()
  await t.rejects(own.complete(ask('?')))
})

t.test('with a history, it keeps its own conversation', async (t) => {
  const remembering = (more: Partial<AgentLoopOptions> = {}) => agent({ history: new ConversationHistory(), ...more })
  const kept = ({ history }: AgentLoop) => glance(history?.messages ?? [])

  t.test('each request is a turn of it', async (t) => {
    const own = remembering({ system: 'Be brief.' })
    await own.complete(ask('1'))
    await chunksOf(t, own, ask('2'))
    t.strictSame(glance(messagesOf(upstream.last())), ['system Be brief.', 'user 1', 'assistant You said: 1', 'user 2'])
    t.strictSame(kept(own), ['user 1', 'assistant You said: 1', 'user 2', 'assistant You said: 2'])
  })

  t.test('with the steps that nobody has seen', async (t) => {
    const own = remembering({ tools: [clock] })
    upstream.next(completion(calling(['clock'])), completion({ text: 'Noon.' }))
    await own.complete(ask('?'))
    t.strictSame(kept(own), ['user ?', 'calls call_1', 'call_1: noon', 'assistant Noon.'])
  })

  t.test('what it was made with is its beginning, and stays as it was', async (t) => {
    const history = new ConversationHistory([
      { role: 'user', content: '0' },
      { role: 'assistant', content: 'a' },
    ])
    const own = remembering({ history })
    await own.complete(ask('1'))
    t.strictSame(kept(own), ['user 0', 'assistant a', 'user 1', 'assistant You said: 1'])
    t.strictSame(glance(history.messages), ['user 0', 'assistant a'])
  })

  t.test('turns are taken one after the other, in the order in which they came', async (t) => {
    const own = remembering()
    const numbers = Array.from({ length: 20 }, (_, index) => index)
    await Promise.all(numbers.map((n) => (n % 2 ? chunksOf(t, own, ask(`${n}`)) : own.complete(ask(`${n}`)))))
    t.strictSame(
      kept(own),
      numbers.flatMap((n) => [`user ${n}`, `assistant You said: ${n}`]),
    )
  })

  t.test('a turn that fails leaves it as it was', async (t) => {
    const stopping: Guardrail = { name: 'g', output: (text) => (text.includes('bad') ? { reason: 'no' } : null) }
    const own = remembering({ tools: [clock], guardrails: [stopping] })
    await own.complete(ask('1'))
    const before = kept(own)
    upstream.next(failWith(500))
    await failure(own.complete(ask('2')))
    upstream.next(completion(calling(['clock'])), dropAfter(2))
    await failure(chunksOf(t, own, ask('3')))
    t.match(await saidBy(own, ask('bad')), { finish: 'content_filter' })
    const gate = gated(['a', 'b'])
    upstream.next(gate.behaviour)
    gate.release()
    for await (const { choices } of own.stream(ask('4'))) if (choices.length > 0) break
    t.match(await failure(own.complete(ask('5', { n: 2 }))), { param: 'n' })
    t.strictSame(kept(own), before)
    await own.complete(ask('6'))
    t.strictSame(kept(own), [...before, 'user 6', 'assistant You said: 6'])
  })

  t.test('a client that leaves while it waits for its turn does not wait, and holds up nobody', async (t) => {
    const own = remembering()
    upstream.next(hang())
    const first = new AbortController()
    const second = new AbortController()
    const begun = failure(own.complete(ask('1'), { signal: first.signal }))
    await upstream.request(0)
    const waiting = failure(own.complete(ask('2'), { signal: second.signal }))
    const third = own.complete(ask('3'))
    second.abort()
    t.match(await waiting, { kind: 'client_closed' })
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.equal(upstream.requests.length, 1, 'the third still waits for the first')
    first.abort()
    await begun
    await third
    t.strictSame(kept(own), ['user 3', 'assistant You said: 3'])
  })

  t.test('two agents share nothing', async (t) => {
    const [a, b] = [remembering(), remembering()]
    await Promise.all([a.complete(ask('a')), b.complete(ask('b'))])
    t.strictSame(
      [kept(a), kept(b)],
      [
        ['user a', 'assistant You said: a'],
        ['user b', 'assistant You said: b'],
      ],
    )
  })
})

t.test('a run leaves nothing behind on the client’s signal', async (t) => {
  const { signal } = new AbortController()
  let listeners = 0
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners += 1
    addEventListener.apply(signal, args)
  }
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners -= 1
    removeEventListener.apply(signal, args)
  }
  const own = agent({
    tools: [clock],
    guardrails: [{ name: 'g', input: () => null, output: () => null, toolInput: () => null }],
    history: new ConversationHistory(),
  })
  for (let n = 0; n < 3; n++) {
    for (let step = 0; step < 8; step++) upstream.next(completion(calling(['clock'], ['clock'])))
    if (n % 2) await own.complete(ask('?'), { signal })
    else await chunksOf(t, own, ask('?'), { signal })
  }
  await eventually(() => listeners === 0)
  t.equal(listeners, 0)
  t.equal((upstream.last().body as Json).model, 'm')
})
