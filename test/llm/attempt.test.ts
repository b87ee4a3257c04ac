import t from 'tap'
import { Attempt } from '../../src/llm/attempt.ts'
import { outputMessages } from '../../src/tracing/messages.ts'
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

for (const choices of ['none', { 0: 'x' }, [null, 'x'], 1]) {
  t.test(`an answer whose choices are ${JSON.stringify(choices)} is the client's to judge`, async (t) => {
    const ends: AttemptEnd[] = []
    const observer = { keepsAnswer: true, onFirstToken: () => undefined, onEnd: (end: AttemptEnd) => ends.push(end) }
    const answer = { id: 'chatcmpl-1', choices }
    t.equal(await new Attempt(observer, {}).whole(Promise.resolve(answer), (facts) => facts), answer)
    t.match(ends, [{ outcome: 'ok', responseId: 'chatcmpl-1', finishReasons: undefined }])
    const [end] = ends
    t.equal(outputMessages(end?.answer?.() ?? []), undefined, 'and nothing was said')
  })
}
