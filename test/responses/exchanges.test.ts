import fc from 'fast-check'
import t from 'tap'
import { toMessages } from '../../src/responses/chat-messages.ts'
import { exchangesOf } from '../../src/responses/exchanges.ts'
import { toStoredItem } from '../../src/responses/input-items.ts'
import type { StoredItem } from '../../src/responses/response-types.ts'

const user = (content: string) => toStoredItem({ role: 'user', content })
const system = (content: string) => toStoredItem({ role: 'system', content })
const said = (content: string) => toStoredItem({ role: 'assistant', content })
const thought = () => toStoredItem({ type: 'reasoning', id: '', summary: [] })
const call = (call_id: string) => toStoredItem({ type: 'function_call', call_id, name: 'f', arguments: '' })
const output = (call_id: string) => toStoredItem({ type: 'function_call_output', call_id, output: '' })

const shape = (items: StoredItem[]) => exchangesOf(items).exchanges.map((exchange) => exchange.map(({ type }) => type))

t.test('the standing messages at the front stay', async (t) => {
  const items = [system('1'), system('2'), user('u'), system('3')]
  t.strictSame(exchangesOf(items), { front: items.slice(0, 2), exchanges: [[items[2]], [items[3]]] })
  t.strictSame(exchangesOf([]), { front: [], exchanges: [] })
  t.strictSame(exchangesOf([system('1')]).exchanges, [])
})

t.test('a turn of the model goes as a whole, with what its calls brought', async (t) => {
  t.strictSame(shape([user('u'), thought(), said('a'), call('c'), output('c'), thought(), said('b')]), [
    ['message'],
    ['reasoning', 'message', 'function_call', 'function_call_output'],
    ['reasoning', 'message'],
  ])
})

t.test('whatever stands between a call and its output goes with them', async (t) => {
  t.strictSame(shape([call('c'), user('wait'), output('c'), user('u')]), [
    ['function_call', 'message', 'function_call_output'],
    ['message'],
  ])
})

t.test('without any number of the oldest exchanges, what is left is a chat', async (t) => {
  const step = fc.constantFrom<StoredItem[]>(
    [user('u')],
    [said('a')],
    [thought(), call('a'), call('b'), output('b'), output('a')],
    [call('a'), user('wait'), call('b'), output('a'), said('hm'), output('b')],
  )
  const property = fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
    const items = steps.flat().map((item) => ({ ...item }))
    const { exchanges } = exchangesOf(items)
    const calls = toMessages(items, String).filter(({ role }) => role === 'tool').length
    for (const [n] of exchanges.entries()) {
      const rest = exchanges.slice(n).flat()
      const dropped = exchanges
        .slice(0, n)
        .flat()
        .filter(({ type }) => type === 'function_call_output').length
      if (toMessages(rest, String).filter(({ role }) => role === 'tool').length !== calls - dropped) return false
    }
    return exchanges.flat().length === items.length
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})
