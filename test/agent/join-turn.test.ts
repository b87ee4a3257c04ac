import fc from 'fast-check'
import t, { type Test } from 'tap'
import { joinTurn } from '../../src/agent/join-turn.ts'
import { type ChatMessage, ConversationHistory } from '../../src/index.ts'
import { assistant, glance, system, toolCall, toolResult, user } from '../core.ts'

const stored = (...messages: ChatMessage[]): ConversationHistory => new ConversationHistory(messages)

/** What the conversation is after the request has joined it; the model is sent the same. */
function joined(t: Test, before: ConversationHistory, request: ChatMessage[]): string[] {
  const { history, messages } = joinTurn(before.fork(), request)
  t.strictSame(glance(messages), glance(history.messages), 'the model is sent what is kept')
  return glance(history.messages)
}

t.test('new turns are appended', async (t) => {
  t.strictSame(joined(t, stored(), [user('1')]), ['user 1'])
  t.strictSame(joined(t, stored(user('1'), assistant('a')), [user('2'), user('3')]), [
    'user 1',
    'assistant a',
    'user 2',
    'user 3',
  ])
})

t.test('a transcript replaces what is stored', async (t) => {
  const before = stored(system('s'), user('1'), assistant('a'), user('2'), assistant('b'))
  t.strictSame(joined(t, before, [user('1'), assistant('other'), user('3')]), ['user 1', 'assistant other', 'user 3'])
  t.strictSame(joined(t, before, [user('1'), assistant('begun')]), ['user 1', 'assistant begun'])
})

t.test('system messages at the front replace those at the front', async (t) => {
  const before = stored(system('old'), { role: 'developer', content: 'older' }, user('1'), assistant('a'))
  t.strictSame(joined(t, before, [system('new'), user('2')]), ['system new', 'user 1', 'assistant a', 'user 2'])
  t.strictSame(joined(t, before, [system('x'), { role: 'developer', content: 'y' }, user('2')]).slice(0, 3), [
    'system x',
    'developer y',
    'user 1',
  ])
})

t.test('a turn without them keeps those that are there', async (t) => {
  t.strictSame(joined(t, stored(system('s'), user('1'), assistant('a')), [user('2')]), [
    'system s',
    'user 1',
    'assistant a',
    'user 2',
  ])
})

t.test('a turn of nothing but system messages loses no turn', async (t) => {
  t.strictSame(joined(t, stored(system('old'), user('1'), assistant('a')), [system('new')]), [
    'system new',
    'user 1',
    'assistant a',
  ])
})

t.test('a system message between turns is one of the turn, and stays where it was said', async (t) => {
  const request = [user('2'), system('be brief')]
  t.strictSame(joined(t, stored(system('s'), user('1'), assistant('a')), request), [
    'system s',
    'user 1',
    'assistant a',
    'user 2',
    'system be brief',
  ])
})

t.test('the result of a tool follows its call', async (t) => {
  const calling: ChatMessage = { role: 'assistant', tool_calls: [toolCall('c1', 'f')] }
  t.strictSame(joined(t, stored(user('1'), calling), [toolResult('c1', 'sunny')]), ['user 1', 'calls c1', 'c1: sunny'])
  t.strictSame(joined(t, stored(system('s'), user('1'), calling), [system('s2'), toolResult('c1', 'x'), user('2')]), [
    'system s2',
    'user 1',
    'calls c1',
    'c1: x',
    'user 2',
  ])
})

t.test(
  'a transcript of one turn, which a tool of the caller’s goes on, replaces that turn; those before it stay',
  async (t) => {
    const calling: ChatMessage = { role: 'assistant', content: '', tool_calls: [toolCall('c1', 'f', '{"a": 1}')] }
    const asShown = { ...calling, content: null, refusal: null, tool_calls: [toolCall('c1', 'f', '{"a":1}')] }
    const before = [system('s'), user('1'), assistant('a'), user('2'), user('3')]
    const turn = [user('2'), user('3'), asShown, toolResult('c1', 'x')]
    const after = ['system s', 'user 1', 'assistant a', 'user 2', 'user 3', 'calls c1', 'c1: x']
    t.strictSame(joined(t, stored(...before, calling), turn), after)
    t.strictSame(joined(t, stored(...before, calling), [system('new'), ...turn]), ['system new', ...after.slice(1)])

    t.test('also when it is sent again after it has been answered', async (t) => {
      t.strictSame(joined(t, stored(...before, calling, toolResult('c1', 'x'), assistant('b')), turn), after)
    })
    t.test('in its second round', async (t) => {
      const again: ChatMessage = { role: 'assistant', tool_calls: [toolCall('c1', 'f')] }
      const second = [...turn, again, toolResult('c1', 'y')]
      const both = [...after, 'calls c1', 'c1: y']
      t.strictSame(joined(t, stored(...before, calling, toolResult('c1', 'x'), again), second), both)
    })
    t.test('but not when it is of another turn, or another answer, or goes on with a question', async (t) => {
      const whole = glance(turn)
      t.strictSame(joined(t, stored(...before.with(3, user('other')), calling), turn), whole)
      t.strictSame(joined(t, stored(...before, { ...calling, tool_calls: [toolCall('c2', 'f')] }), turn), whole)
      t.strictSame(joined(t, stored(...before, assistant('b')), turn), whole)
      const window = [user('3'), assistant('b'), user('4')]
      t.strictSame(joined(t, stored(...before, assistant('b')), window), glance(window))
    })
  },
)

t.test('what is stored is not changed by a turn with instructions, nor are the messages of the request', async (t) => {
  const request = [system('new'), { ...user('2'), unknown: { field: [1] } }]
  const before = stored(system('old'), user('1'))
  const { history } = joinTurn(before, request)
  t.strictSame(glance(before.messages), ['system old', 'user 1'])
  t.match(history.messages.at(-1), { unknown: { field: [1] } })
  t.notOk(Object.isFrozen(request[1]))
})

t.test('within limits: the oldest turns go, a call and its result stay together', async (t) => {
  const calling: ChatMessage = { role: 'assistant', tool_calls: [toolCall('c1', 'f')] }
  const before = stored(system('s'), user('1'), assistant('a'), user('2'), calling)
  const { history, messages } = joinTurn(before, [toolResult('c1', 'x')], { maxMessages: 3 })
  t.strictSame(glance(messages), ['system s', 'user 2', 'calls c1', 'c1: x'])
  t.strictSame(glance(history.messages), glance(messages))
  const transcript = [user('1'), assistant('a'), user('2')]
  t.strictSame(glance(joinTurn(stored(), transcript, { maxMessages: 2 }).messages), ['user 2'])
})

t.test('what a model thought in earlier turns is kept but not sent; in this turn it is sent', async (t) => {
  const thinking = (content: string): ChatMessage => ({ ...assistant(content), reasoning_content: `about ${content}` })
  const calling: ChatMessage = { role: 'assistant', tool_calls: [toolCall('c1', 'f')], reasoning_content: 'call it' }
  const { history, messages } = joinTurn(stored(user('1'), thinking('a'), user('2'), calling), [toolResult('c1', 'x')])
  const thoughts = (all: readonly ChatMessage[]): unknown[] =>
    all.flatMap((message) => (message.reasoning_content ? [message.reasoning_content] : []))
  t.strictSame(thoughts(history.messages), ['about a', 'call it'])
  t.strictSame(thoughts(messages), ['call it'])
  t.strictSame(messages[1], assistant('a'))
})

t.test('no turn is ever lost: whatever new turns come, all before them stay, in order', async (t) => {
  const role = fc.constantFrom('user', 'system', 'developer')
  const turn = fc.array(fc.record({ role, content: fc.string() }), { minLength: 1, maxLength: 4 })
  const property = fc.property(fc.array(turn, { maxLength: 5 }), (turns) => {
    let history = new ConversationHistory()
    const said: object[] = []
    for (const messages of turns) {
      history = joinTurn(history, messages as ChatMessage[]).history.append(assistant('a'))
      const first = messages.findIndex(({ role }) => role === 'user')
      said.push(...(first === -1 ? [] : messages.slice(first)), assistant('a'))
      const kept = history.messages
      const front = kept.findIndex(({ role }) => role !== 'system' && role !== 'developer')
      const rest = kept.slice(front).map(({ role, content }) => ({ role, content }))
      if (JSON.stringify(rest) !== JSON.stringify(said)) return false
    }
    return true
  })
  t.doesNotThrow(() => fc.assert(property))
})
