import t from 'tap'
import { HookBus } from '../../src/hooks/hook-bus.ts'
import { Exchange } from '../../src/server/exchange.ts'
import { OpenExchanges } from '../../src/server/open-exchanges.ts'
import { WebRequest } from '../../src/server/web-request.ts'

const exchange = (requestId: string): Exchange =>
  new Exchange(new WebRequest(new Request('http://localhost/')), { requestId, hooks: new HookBus(), headers: {} })

const ids = (open: OpenExchanges): string[] =>
  open
    .all()
    .map(({ requestId }) => requestId)
    .sort()

t.test('holds what was added and not removed, in whichever order', async (t) => {
  for (const order of ['abcd', 'dcba', 'bdac', 'cabd']) {
    const open = new OpenExchanges()
    const known = new Map([...'abcd'].map((id) => [id, exchange(id)]))
    for (const each of known.values()) open.add(each)
    const left = new Set('abcd')
    for (const id of order) {
      open.remove(known.get(id) as Exchange)
      left.delete(id)
      t.strictSame(ids(open), [...left].sort(), `${order}: without ${id}`)
      t.equal(open.size, left.size)
    }
  }
})

t.test('a place is taken again', async (t) => {
  const open = new OpenExchanges()
  const [a, b, c] = [exchange('a'), exchange('b'), exchange('c')]
  open.add(a)
  open.add(b)
  open.remove(a)
  open.add(c)
  open.remove(b)
  t.strictSame(ids(open), ['c'])
})

t.test('what is removed while one goes through them changes nothing for him', async (t) => {
  const open = new OpenExchanges()
  for (const id of 'abc') open.add(exchange(id))
  const seen: string[] = []
  for (const each of open.all()) {
    seen.push(each.requestId)
    open.remove(each)
  }
  t.strictSame(seen, ['a', 'b', 'c'])
  t.equal(open.size, 0)
})
