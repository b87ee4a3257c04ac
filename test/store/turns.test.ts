import { setImmediate as moment } from 'node:timers/promises'
import t from 'tap'
import { Turns } from '../../src/store/turns.ts'

t.test('what is done to one thing is done in the order of the calls, to others at once', async (t) => {
  const turns = new Turns(10)
  const done: string[] = []
  const work = (name: string, moments: number) => async (): Promise<void> => {
    for (let n = 0; n < moments; n++) await moment()
    done.push(name)
  }
  await Promise.all([turns.take('a', work('a1', 5)), turns.take('a', work('a2', 0)), turns.take('b', work('b', 0))])
  t.strictSame(done, ['b', 'a1', 'a2'])
})

t.test('a failure is told to who called, and does not stop those after it', async (t) => {
  const turns = new Turns(1)
  const failing = turns.take('a', async () => {
    throw new Error('no')
  })
  const next = turns.take('a', async () => 'yes')
  await t.rejects(failing, new Error('no'))
  t.equal(await next, 'yes')
  t.equal(await turns.take('b', async () => 'yes'), 'yes', 'its place is free again')
})

t.test('only so many are at work at once', async (t) => {
  const turns = new Turns(3)
  let atWork = 0
  let most = 0
  const work = async (): Promise<void> => {
    atWork += 1
    most = Math.max(most, atWork)
    await moment()
    atWork -= 1
  }
  await Promise.all(Array.from({ length: 50 }, (_, n) => turns.take(String(n % 20), work)))
  t.equal(most, 3)
  t.equal(atWork, 0)
})
