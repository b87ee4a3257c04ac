import fc from 'fast-check'
import t from 'tap'
import { estimateTokens } from '../../src/agent/estimate-tokens.ts'
import { truncated } from '../../src/agent/truncate.ts'
import type { ChatMessage } from '../../src/types.ts'

const none = Number.POSITIVE_INFINITY
const system: ChatMessage = { role: 'system', content: 's' }
const developer: ChatMessage = { role: 'developer', content: 'd' }
const user = (content: string): ChatMessage => ({ role: 'user', content })
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content })
const call = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'look', arguments: '{}' } })),
})
const result = (tool_call_id: string): ChatMessage => ({ role: 'tool', tool_call_id, content: 'found' })
const oldCall = (name: string): ChatMessage => ({ role: 'assistant', function_call: { name, arguments: '{}' } })
const oldResult = (name: string): ChatMessage => ({ role: 'function', name, content: 'found' })

const within = (maxMessages: number, ...messages: ChatMessage[]): ChatMessage[] =>
  truncated(messages, { maxMessages, maxTokens: none })

t.test('what is within the limits stays as it is', async (t) => {
  const messages = [system, user('1'), call('a', 'b'), result('a'), result('b'), assistant('2'), user('3')]
  t.strictSame(within(7, ...messages), messages)
  t.strictSame(truncated(messages, { maxMessages: none, maxTokens: estimateTokens(messages) }), messages)
  t.strictSame(within(1), [])
})

t.test('the oldest go first', async (t) => {
  t.strictSame(within(2, user('1'), user('2'), user('3')), [user('2'), user('3')])
  t.strictSame(within(1, user('1'), user('2'), user('3')), [user('3')])
})

t.test('what the user said goes together with what it led to', async (t) => {
  const messages = [user('1'), assistant('2'), user('3'), assistant('4'), user('5')]
  t.strictSame(within(4, ...messages), messages.slice(2))
  for (const limit of [1, 2]) t.strictSame(within(limit, ...messages), messages.slice(4))
  t.strictSame(within(2, assistant('0'), user('1'), assistant('2')), [user('1'), assistant('2')])
})

t.test('the system and developer messages at the front stay, and count', async (t) => {
  t.strictSame(within(3, system, developer, user('1'), user('2')), [system, developer, user('2')])
  t.strictSame(
    within(1, system, developer, user('1'), user('2')),
    [system, developer, user('2')],
    'even over the limit',
  )
  t.strictSame(within(1, system, developer), [system, developer])
})

t.test('one that came later goes as any other', async (t) => {
  t.strictSame(within(2, user('1'), system, user('2'), user('3')), [user('2'), user('3')])
})

t.test('the newest turn stays, even over the limit', async (t) => {
  const turn = [user('1'), call('a', 'b'), result('a'), result('b')]
  t.strictSame(within(1, user('0'), ...turn), turn)
  const long = user('x'.repeat(10_000))
  t.strictSame(truncated([user('1'), long], { maxTokens: 10, maxMessages: none }), [long])
})

t.test('a call and its results stay or go together', async (t) => {
  const messages = [user('1'), call('a', 'b'), result('a'), result('b'), assistant('2'), user('3')]
  t.strictSame(within(6, ...messages), messages)
  for (const limit of [1, 2, 3, 4, 5]) t.strictSame(within(limit, ...messages), [user('3')])
  t.strictSame(within(3, user('1'), oldCall('f'), oldResult('f'), user('2')), [user('2')])
})

t.test('a call that still waits for its results stays', async (t) => {
  t.strictSame(within(1, user('0'), user('1'), call('a')), [user('1'), call('a')])
})

t.test('a result that comes late keeps all that lies between', async (t) => {
  const messages = [user('1'), call('a', 'b'), result('a'), user('wait'), result('b'), user('2')]
  t.strictSame(within(6, user('0'), ...messages), messages)
  t.strictSame(within(5, ...messages), [user('2')])
})

t.test('an id that is used twice belongs to the latest call', async (t) => {
  const turn = (text: string): ChatMessage[] => [user(text), call('a'), result('a')]
  t.strictSame(within(3, ...turn('1'), ...turn('2')), turn('2'))
})

t.test('a result that nobody asked for goes, wherever it is and whatever the limits', async (t) => {
  t.strictSame(within(9, result('x'), user('1')), [user('1')])
  t.strictSame(within(9, system, result('x'), user('1')), [system, user('1')])
  t.strictSame(within(9, user('1'), call('a'), result('x'), result('a')), [user('1'), call('a'), result('a')])
  t.strictSame(
    within(9, user('1'), result('a'), call('a')),
    [user('1'), call('a')],
    'nor one that comes before its call',
  )
  t.strictSame(within(9, user('1'), oldCall('f'), oldResult('g')), [user('1'), oldCall('f')])
  t.strictSame(within(9, user('1'), result('x')), [user('1')])
})

t.test('calls that are none are no trouble', async (t) => {
  for (const odd of [null, 'text', { length: 1 }, [null], [1], [{}]]) {
    const calling = { role: 'assistant', content: null, tool_calls: odd, function_call: null } as unknown as ChatMessage
    t.strictSame(
      within(3, user('1'), calling, result('a'), user('2')),
      [user('1'), calling, user('2')],
      JSON.stringify(odd),
    )
  }
})

t.test('a client cannot make it slow with its calls and results', async (t) => {
  const ids = Array.from({ length: 50_000 }, (_, n) => String(n))
  const backwards = ids.toReversed().map(result)
  const conversations: ChatMessage[][] = [
    [call(...ids), ...backwards],
    [...ids.map((id) => call(id)), ...backwards],
    [...ids.map(user), ...backwards],
  ]
  for (const messages of conversations) {
    // If it took its time by the square of them, this would not end before the test's own time is over.
    t.ok(within(50, ...messages).length <= messages.length)
  }
})

t.test('both limits hold', async (t) => {
  const messages = [user('1'), user('2'), user('x'.repeat(400)), user('3'), user('4')]
  t.strictSame(truncated(messages, { maxMessages: 3, maxTokens: none }), messages.slice(2))
  t.strictSame(truncated(messages, { maxMessages: 3, maxTokens: 50 }), messages.slice(3))
  t.strictSame(truncated(messages, { maxMessages: 1, maxTokens: 50 }), messages.slice(4))
})

t.test('of any conversation, within any limits', async (t) => {
  const id = fc.constantFrom('a', 'b', 'c')
  const message = fc.oneof(
    fc.constantFrom(system, developer),
    fc.string({ maxLength: 60 }).map(user),
    fc.string({ maxLength: 60 }).map(assistant),
    fc.array(id, { minLength: 1, maxLength: 2 }).map((ids) => call(...ids)),
    id.map(result),
  )
  const limit = fc.integer({ min: 1, max: 12 })
  const property = fc.property(fc.array(message), limit, limit, (messages, maxMessages, tens) => {
    const limits = { maxMessages, maxTokens: tens * 10 }
    const kept = truncated(messages, limits)
    const asked = new Set<string>()
    for (const message of kept) {
      if (message.role === 'assistant') for (const { id } of message.tool_calls ?? []) asked.add(id)
      if (message.role === 'tool' && !asked.has(message.tool_call_id)) return false
    }
    const isFront = ({ role }: ChatMessage): boolean => role === 'system' || role === 'developer'
    const front = messages.slice(
      0,
      messages.findIndex((message) => !isFront(message)),
    )
    if (front.some((message, index) => kept[index] !== message)) return false
    let from = -1
    return (
      kept.every((message) => {
        from = messages.indexOf(message, from + 1)
        return from >= 0
      }) && JSON.stringify(truncated(kept, limits)) === JSON.stringify(kept)
    )
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
})
