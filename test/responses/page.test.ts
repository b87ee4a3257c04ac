import fc from 'fast-check'
import t from 'tap'
import { page } from '../../src/responses/page.ts'
import { refusal } from './refusal.ts'

const items = Array.from({ length: 45 }, (_, n) => ({ id: `item_${n}` }))
const ids = (data: { id: string }[]): string[] => data.map(({ id }) => id)

t.test('the newest 20 first, unless told', async (t) => {
  const { data, ...rest } = page(items)
  t.strictSame(ids(data), ids(items.toReversed().slice(0, 20)))
  t.strictSame(rest, { object: 'list', first_id: 'item_44', last_id: 'item_25', has_more: true })
})

t.test('oldest first, on request', async (t) => {
  t.match(page(items, { order: 'asc', limit: '2' }), { first_id: 'item_0', last_id: 'item_1', has_more: true })
})

t.test('a list without items', async (t) => {
  t.strictSame(page([]), { object: 'list', data: [], first_id: '', last_id: '', has_more: false })
})

t.test('pages make up the whole list, each item once', async (t) => {
  const property = fc.property(
    fc.integer({ min: 1, max: 100 }),
    fc.constantFrom('asc', 'desc'),
    fc.integer({ min: 0, max: 45 }),
    (limit, order, length) => {
      const list = items.slice(0, length)
      const seen: string[] = []
      let next = page(list, { limit, order })
      seen.push(...ids(next.data))
      while (next.has_more) {
        next = page(list, { limit, order, after: next.last_id })
        if (next.data.length === 0) return false
        seen.push(...ids(next.data))
      }
      return seen.join() === ids(order === 'asc' ? list : list.toReversed()).join()
    },
  )
  t.doesNotThrow(() => fc.assert(property))
})

t.test('a query that makes no sense is refused', async (t) => {
  for (const [query, param] of [
    [{ limit: '0' }, 'limit'],
    [{ limit: 101 }, 'limit'],
    [{ limit: '' }, 'limit'],
    [{ limit: '1.5' }, 'limit'],
    [{ limit: 'many' }, 'limit'],
    [{ order: 'up' }, 'order'],
    [{ after: 'item_99' }, 'after'],
  ] as const) {
    t.match(
      refusal(() => page(items, query)),
      { kind: 'invalid_request', status: 400, param },
      JSON.stringify(query),
    )
  }
  t.equal(page(items, { limit: '100' }).data.length, 45)
})
