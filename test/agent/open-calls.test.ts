import t from 'tap'
import { openCallsOf, withAnswers } from '../../src/agent/open-calls.ts'
import type { ChatMessage } from '../../src/types.ts'
import { glance, toolCall, toolResult, user } from '../core.ts'

const calling = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  tool_calls: ids.map((id) => toolCall(id, 'f')),
})

/** A conversation that ends with open calls, and the turn after it, as a provider is sent them. */
function joined(before: ChatMessage[], turn: ChatMessage[]): string[] {
  const open = openCallsOf(before)
  if (!open) throw new Error('no call is open')
  return glance(withAnswers(before, turn, open))
}

t.test('calls are open until each has its result', async (t) => {
  t.equal(openCallsOf([]), undefined)
  t.equal(openCallsOf([user('1'), { role: 'assistant', content: 'a' }]), undefined)
  t.equal(openCallsOf([user('1'), calling('c1', 'c2'), toolResult('c1', 'x'), toolResult('c2', 'y')]), undefined)
  t.strictSame(openCallsOf([user('1'), calling('c1', 'c2'), toolResult('c1', 'x')])?.ids, new Set(['c2']))
})

t.test('results that a turn brings answer them', async (t) => {
  t.strictSame(joined([user('1'), calling('c1')], [toolResult('c1', 'x'), user('2')]), [
    'user 1',
    'calls c1',
    'c1: x',
    'user 2',
  ])
})

t.test('a call that its caller has given up is answered for it, before anything else is said', async (t) => {
  const none = 'No result: the caller went on without it.'
  t.strictSame(joined([user('1'), calling('c1')], [user('2')]), ['user 1', 'calls c1', `c1: ${none}`, 'user 2'])
  t.strictSame(joined([user('1'), calling('c1', 'c2')], [toolResult('c1', 'x'), user('2')]), [
    'user 1',
    'calls c1 c2',
    'c1: x',
    `c2: ${none}`,
    'user 2',
  ])
  t.strictSame(joined([user('1'), calling('c1', 'c2'), toolResult('c2', 'y')], [user('2')]), [
    'user 1',
    'calls c1 c2',
    'c2: y',
    `c1: ${none}`,
    'user 2',
  ])
})

t.test('a call that was cut off has arguments that a provider takes', async (t) => {
  const cut: ChatMessage = {
    role: 'assistant',
    tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"city": "Par' } }],
  }
  const open = openCallsOf([cut])
  t.ok(open)
  if (!open) return
  t.match(withAnswers([cut], [user('2')], open)[0], { tool_calls: [{ id: 'c1', function: { arguments: '{}' } }] })
})
