import t, { type Test } from 'tap'
import { OpenRequests } from '../../src/metrics/open-requests.ts'

/** A clock that the test sets. */
function clock(t: Test) {
  const time = { now: 0 }
  t.intercept(performance, 'now', { value: () => time.now })
  return time
}

t.test('requests and streams are open until they end, each once', async (t) => {
  const open = new OpenRequests()
  open.begin('a')
  open.begin('b')
  open.stream('a')
  open.stream('a')
  t.strictSame([open.size, open.streams], [2, 1])
  t.equal(open.end('a')?.isStream, true)
  t.equal(open.end('a'), undefined)
  t.strictSame([open.size, open.streams], [1, 0])
  open.stream('a')
  open.end('b')
  t.strictSame([open.size, open.streams], [0, 0], 'one that has ended has no stream')
})

t.test('attempts that overlap are waited for once', async (t) => {
  const time = clock(t)
  const open = new OpenRequests()
  open.begin('a')
  const request = open.get('a')
  const events: [at: number, event: 'ask' | 'answered'][] = [
    [10, 'ask'],
    [20, 'ask'],
    [30, 'answered'],
    [50, 'answered'],
    [70, 'ask'],
    [75, 'answered'],
  ]
  for (const [at, event] of events) {
    time.now = at
    request?.[event]()
  }
  time.now = 100
  t.equal(request?.waitedMs, 40 + 5)
})

t.test('an attempt that is still open counts until now', async (t) => {
  const time = clock(t)
  const open = new OpenRequests()
  open.begin('a')
  open.get('a')?.ask()
  time.now = 30
  t.equal(open.end('a')?.waitedMs, 30)
})
