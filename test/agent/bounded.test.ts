import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { bounded, TimeoutError } from '../../src/agent/bounded.ts'

t.test('what comes in time is what it comes to', async (t) => {
  t.equal(await bounded(1000, async () => 'late enough'), 'late enough')
  t.equal(await bounded(1000, () => 'at once'), 'at once')
  t.equal(await bounded(0, () => 'at once'), 'at once')
})

t.test('what it throws is thrown, also before it returns a promise', async (t) => {
  const failure = new Error('it failed')
  await t.rejects(
    bounded(1000, () => {
      throw failure
    }),
    failure,
  )
  await t.rejects(
    bounded(1000, async () => {
      throw failure
    }),
    failure,
  )
})

t.test('what takes longer is given up', async (t) => {
  await t.rejects(
    bounded(30, () => new Promise(() => {})),
    new TimeoutError('it took longer than 30 ms'),
  )
})

t.test('what fails after it was given up troubles nobody', async (t) => {
  const failing = async (): Promise<void> => {
    await sleep(20)
    throw new Error('too late')
  }
  await t.rejects(bounded(5, failing), TimeoutError)
  await sleep(40)
})

t.test('a bound longer than a timer can be is not over at once', async (t) => {
  for (const ms of [2 ** 31, Number.POSITIVE_INFINITY]) {
    t.equal(await bounded(ms, () => sleep(20, 'done')), 'done')
  }
})
