import t from 'tap'
import { Readiness } from '../../src/index.ts'

t.test('is ready as long as nothing says otherwise', async (t) => {
  const readiness = new Readiness()
  t.strictSame(await readiness.report(), { status: 'ready' })
  readiness.add('store', () => undefined)
  readiness.add('models', async () => undefined)
  t.strictSame(await readiness.report(), { status: 'ready' })
})

t.test('tells every reason, by the name of its check', async (t) => {
  const readiness = new Readiness()
  readiness.add('fine', () => undefined)
  readiness.add('store', () => 'the store is down')
  readiness.add('models', async () => 'no model is loaded')
  t.strictSame(await readiness.report(), {
    status: 'not_ready',
    reasons: { store: 'the store is down', models: 'no model is loaded' },
  })
})

t.test('a check that fails is a reason', async (t) => {
  const readiness = new Readiness()
  readiness.add('throws', () => {
    throw new Error('cannot look')
  })
  readiness.add('rejects', () => Promise.reject('gave up'))
  readiness.add('last', () => 'is asked all the same')
  t.strictSame(await readiness.report(), {
    status: 'not_ready',
    reasons: { throws: 'cannot look', rejects: 'gave up', last: 'is asked all the same' },
  })
})

t.test('asks anew each time', async (t) => {
  const readiness = new Readiness()
  let reason: string | undefined = 'not yet'
  readiness.add('warm-up', () => reason)
  t.equal((await readiness.report()).status, 'not_ready')
  reason = undefined
  t.equal((await readiness.report()).status, 'ready')
})

t.test('a check under a known name replaces the one before', async (t) => {
  const readiness = new Readiness()
  readiness.add('store', () => 'down')
  readiness.add('store', () => undefined)
  t.equal((await readiness.report()).status, 'ready')
})

t.test('a process that drains is unready for good', async (t) => {
  const readiness = new Readiness()
  t.equal(readiness.draining, false)
  readiness.drain()
  t.equal(readiness.draining, true)
  const { status, reasons } = await readiness.report()
  t.equal(status, 'not_ready')
  t.strictSame(Object.keys(reasons ?? {}), ['shutdown'])
})
