import t, { type Test } from 'tap'
import { HiddenSteps, type HiddenStepsOptions } from '../../src/agent/hidden-steps.ts'
import {
  AgentLoop,
  type CallOptions,
  type ChatMessage,
  createLLM,
  defineTool,
  FilePersistence,
  type LLMClient,
  MemoryPersistence,
  type Persistence,
} from '../../src/index.ts'
import { assistant, callersTool, glance, messagesOf, toolCall, toolResult, user } from '../core.ts'
import { complaint } from '../upstream/transcript.ts'
import { completion, type Json, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => Promise.all([upstream.close(), model.close?.()]))
t.beforeEach(() => upstream.reset())

const clock = defineTool({ name: 'clock', execute: () => 'noon' })
const agent = new AgentLoop({ client: model, tools: [clock] })

const step = (...calls: [id: string, name: string][]) =>
  completion({ toolCalls: calls.map(([id, name]) => ({ id, name, arguments: '{}' })) })

type Way = (client: LLMClient, messages: ChatMessage[], call?: CallOptions) => Promise<ChatMessage>
const tools = [callersTool('weather'), callersTool('news')]

/** The message that a caller gets, whole or put together from a stream. */
const ways: Record<string, Way> = {
  async whole(client, messages, call) {
    const { choices } = await client.complete({ model: 'm', messages, tools }, call)
    return choices[0]?.message as ChatMessage
  },
  async streamed(client, messages, call) {
    const calls: ReturnType<typeof toolCall>[] = []
    let content = ''
    for await (const { choices } of client.stream({ model: 'm', messages, tools, stream: true }, call)) {
      content += choices[0]?.delta.content ?? ''
      for (const { index, id, function: f } of choices[0]?.delta.tool_calls ?? []) {
        calls[index] ??= toolCall(id ?? '', f?.name ?? '', '')
        calls[index].function.arguments += f?.arguments ?? ''
      }
    }
    return { role: 'assistant', content, ...(calls.length > 0 ? { tool_calls: calls } : {}) }
  },
}

/** What the provider was sent last: always a transcript that OpenAI takes. */
function sent(t: Test): string[] {
  const messages = messagesOf(upstream.last())
  t.equal(complaint(messages as unknown as Json[]), undefined, 'a valid transcript')
  return glance(messages)
}

const restoring = (persistence: Persistence = new MemoryPersistence(), options?: HiddenStepsOptions): LLMClient =>
  new HiddenSteps(persistence, options).restoring(agent, 'alice')

for (const [way, ask] of Object.entries(ways)) {
  t.test(`${way}: calls of both in one step`, async (t) => {
    for (const order of [
      ['clock', 'weather'],
      ['weather', 'clock'],
    ]) {
      const client = restoring()
      upstream.next(step(...order.map((name): [string, string] => [`call_${name}`, name])))
      const seen = await ask(client, [user('1')])
      t.strictSame(glance([seen]), ['calls call_weather'], 'the caller sees its own')
      await ask(client, [user('1'), seen, toolResult('call_weather', 'sunny')])
      const calls = order.map((name) => `call_${name}`).join(' ')
      t.strictSame(sent(t), ['user 1', `calls ${calls}`, 'call_clock: noon', 'call_weather: sunny'])
    }
  })

  t.test(`${way}: steps before the one with the caller's calls, round after round`, async (t) => {
    const client = restoring()
    upstream.next(step(['c1', 'clock']), step(['w1', 'weather'], ['n1', 'news']))
    const seen = [user('1')]
    seen.push(await ask(client, seen), toolResult('w1', 'sunny'), toolResult('n1', 'none'))
    upstream.next(step(['c2', 'clock']), step(['c3', 'clock'], ['w2', 'weather']))
    seen.push(await ask(client, seen), toolResult('w2', 'rain'))
    seen.push(await ask(client, seen), user('2'))
    await ask(client, seen)
    const first = ['user 1', 'calls c1', 'c1: noon', 'calls w1 n1', 'w1: sunny', 'n1: none']
    const second = ['calls c2', 'c2: noon', 'calls c3 w2', 'c3: noon', 'w2: rain']
    t.strictSame(sent(t), [...first, ...second, 'assistant You said: 1', 'user 2'])
  })

  t.test(`${way}: a provider that numbers its calls from the start in each step`, async (t) => {
    const client = restoring()
    upstream.next(step(['call_0', 'clock']), step(['call_0', 'weather']))
    const seen = await ask(client, [user('1')])
    await ask(client, [user('1'), seen, toolResult('call_0', 'sunny')])
    t.strictSame(sent(t), ['user 1', 'calls call_0', 'call_0: noon', 'calls call_0', 'call_0: sunny'])
  })

  t.test(`${way}: of two messages with the same calls and the same words before, the newer is meant`, async (t) => {
    const client = restoring()
    const seen: ChatMessage[] = []
    for (const n of ['1', '2']) {
      upstream.next(step([`clock_${n}`, 'clock']), step(['call_0', 'weather']))
      seen.push(user('next'))
      seen.push(await ask(client, seen), toolResult('call_0', n), assistant('ok'))
    }
    await ask(client, [...seen, user('end')])
    const round = (n: string): string[] => [...(n === '2' ? ['calls clock_2', 'clock_2: noon'] : []), 'calls call_0']
    const rounds = ['1', '2'].flatMap((n) => ['user next', ...round(n), `call_0: ${n}`, 'assistant ok'])
    t.strictSame(sent(t), [...rounds, 'user end'])
  })

  t.test(`${way}: a run without hidden steps takes the place of one with them`, async (t) => {
    const client = restoring()
    upstream.next(step(['c1', 'clock']), step(['call_0', 'weather']))
    await ask(client, [user('1')])
    upstream.next(step(['call_0', 'weather']))
    const seen = await ask(client, [user('1')])
    await ask(client, [user('1'), seen, toolResult('call_0', 'sunny')])
    t.strictSame(sent(t), ['user 1', 'calls call_0', 'call_0: sunny'])
  })

  t.test(`${way}: another user, another model or other words before them: other steps`, async (t) => {
    const steps = new HiddenSteps(new MemoryPersistence())
    upstream.next(step(['c1', 'clock']), step(['w1', 'weather']))
    const seen = await ask(steps.restoring(agent, 'alice'), [user('1')])
    const bare = ['calls w1', 'w1: sunny']
    for (const userId of ['bob', null]) {
      await ask(steps.restoring(agent, userId), [user('1'), seen, toolResult('w1', 'sunny')])
      t.strictSame(sent(t), ['user 1', ...bare])
    }
    await ask(steps.restoring(agent, 'alice'), [user('other'), seen, toolResult('w1', 'sunny')])
    t.strictSame(sent(t), ['user other', ...bare])
  })

  t.test(`${way}: a store that fails, or does not answer, costs the steps and not the answer`, async (t) => {
    const never = (): Promise<never> => new Promise(() => {})
    const fails = (): Promise<never> => Promise.reject(new Error('no connection'))
    for (const broken of [never, fails]) {
      const client = restoring({ get: broken, set: broken, delete: broken }, { timeoutMs: 20 })
      const warnings: string[] = []
      const call: CallOptions = { onWarning: (warning) => void warnings.push(warning) }
      upstream.next(step(['c1', 'clock']), step(['w1', 'weather']))
      const seen = await ask(client, [user('1')], call)
      t.strictSame(glance([seen]), ['calls w1'])
      const again = [1, 2, 3].flatMap((n) => [user(`${n}`), seen, toolResult('w1', 'sunny')])
      await ask(client, again, call)
      t.strictSame(glance(messagesOf(upstream.last())), glance(again))
      t.strictSame(warnings, [
        'the steps of this run could not be kept: the next turn goes on without them',
        'the earlier steps of this run could not be read: it goes on without them',
      ])
    }
  })

  t.test(`${way}: what a client sends as calls need not be any`, async (t) => {
    const client = restoring()
    const warnings: string[] = []
    for (const call of [{}, { id: 'w1', function: null }, { id: 'w1', custom: {} }, { id: 7, function: { name: 7 } }]) {
      const odd = { role: 'assistant', tool_calls: [call] } as unknown as ChatMessage
      await ask(client, [user('1'), odd], { onWarning: (warning) => void warnings.push(warning) })
      t.same(messagesOf(upstream.last()), [user('1'), odd], 'it is the provider that says so')
    }
    t.strictSame(warnings, [])
  })

  t.test(`${way}: steps that this version does not understand are none`, async (t) => {
    const persistence = new MemoryPersistence()
    const odd: Persistence = { ...methodsOf(persistence), get: async () => value }
    let value: unknown
    for (value of [null, 'text', { version: 2, messages: [] }, { version: 1 }, { version: 1, messages: 'text' }]) {
      const seen: ChatMessage = { role: 'assistant', content: null, tool_calls: [toolCall('w1', 'weather')] }
      await ask(restoring(odd), [user('1'), seen, toolResult('w1', 'sunny')])
      t.strictSame(sent(t), ['user 1', 'calls w1', 'w1: sunny'])
    }
  })
}

t.test('they outlive the process that kept them', async (t) => {
  const directory = t.testdir()
  const ask = ways.whole as Way
  upstream.next(step(['c1', 'clock']), step(['w1', 'weather']))
  const seen = await ask(restoring(new FilePersistence({ directory })), [user('1')])
  await ask(restoring(new FilePersistence({ directory })), [user('1'), seen, toolResult('w1', 'sunny')])
  t.strictSame(sent(t), ['user 1', 'calls c1', 'c1: noon', 'calls w1', 'w1: sunny'])
})

t.test('a client that repeats its calls gets no more for it', async (t) => {
  const client = restoring()
  const ask = ways.whole as Way
  upstream.next(step(['c1', 'clock']), step(['w1', 'weather']))
  const seen = await ask(client, [user('1')])
  const many = Array.from({ length: 500 }, () => [user('1'), seen, toolResult('w1', 'sunny')]).flat()
  await ask(client, many)
  t.equal(sent(t).length, many.length + 2)
})

t.test('a stream that its caller leaves keeps nothing', async (t) => {
  const persistence = new MemoryPersistence()
  const written: string[] = []
  const noting: Persistence = { ...methodsOf(persistence), set: async (key) => void written.push(key) }
  upstream.next(step(['c1', 'clock'], ['w1', 'weather']))
  for await (const _chunk of restoring(noting).stream({ model: 'm', messages: [user('1')], tools, stream: true })) break
  t.strictSame(written, [])
})

function methodsOf(persistence: Persistence): Persistence {
  return {
    get: (key) => persistence.get(key),
    set: (key, value, options) => persistence.set(key, value, options),
    delete: (key) => persistence.delete(key),
  }
}
