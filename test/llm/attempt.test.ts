import t from 'tap'
import { Attempt } from '../../src/llm/attempt.ts'
import type { AttemptEnd } from '../../src/types.ts'

t.test('an answer that nothing can be told of ends its attempt, as one that failed', async (t) => {
  const ends: AttemptEnd[] = []
  const attempt = new Attempt({ onFirstToken: () => undefined, onEnd: (end) => ends.push(end) }, {})
  const unreadable = (): never => {
    throw new TypeError('there is nothing to be read')
  }
  await t.rejects(attempt.whole(Promise.resolve({}), unreadable), { message: 'there is nothing to be read' })
  t.match(ends, [{ outcome: 'error', errorCode: 'internal_error' }])
  t.equal(ends.length, 1)
})
