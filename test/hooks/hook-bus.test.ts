import t from 'tap'
import { HookBus } from '../../src/index.ts'

const request = (requestId: string) => ({ requestId, method: 'GET', path: '/health' })
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

t.test('listeners hear the payload, in the order in which they were added', async (t) => {
  const bus = new HookBus()
  const heard: string[] = []
  bus.on('onRequest', ({ requestId }) => heard.push(`first ${requestId}`))
  bus.on('onRequest', ({ requestId }) => heard.push(`second ${requestId}`))
  bus.emit('onRequest', request('a'))
  bus.emit('onRequest', request('b'))
  t.strictSame(heard, ['first a', 'second a', 'first b', 'second b'])
})

t.test('an event without listeners goes nowhere', async (t) => {
  const bus = new HookBus()
  let heard = 0
  bus.on('onAuthFail', () => heard++)
  bus.emit('onRequest', request('a'))
  t.equal(heard, 0)
})

t.test('a listener is removed', async (t) => {
  const bus = new HookBus()
  let heard = 0
  const listener = () => heard++

  t.test('by off', async (t) => {
    bus.on('onRequest', listener)
    bus.off('onRequest', listener)
    bus.emit('onRequest', request('a'))
    t.equal(heard, 0)
  })

  t.test('by the function that on returns', async (t) => {
    const off = bus.on('onRequest', listener)
    off()
    bus.emit('onRequest', request('a'))
    t.equal(heard, 0)
  })

  t.test('from its own event only', async (t) => {
    bus.on('onRequest', listener)
    bus.off('onError', listener)
    bus.emit('onRequest', request('a'))
    t.equal(heard, 1)
    bus.off('onRequest', listener)
  })

  t.test('and one that was never added is nobody else', async (t) => {
    bus.on('onRequest', listener)
    bus.off('onRequest', () => {})
    heard = 0
    bus.emit('onRequest', request('a'))
    t.equal(heard, 1)
    bus.off('onRequest', listener)
  })

  t.test('once for each time it was added', async (t) => {
    heard = 0
    const off = bus.on('onRequest', listener)
    bus.on('onRequest', listener)
    bus.emit('onRequest', request('a'))
    t.equal(heard, 2)
    off()
    off()
    bus.emit('onRequest', request('b'))
    t.equal(heard, 3, 'removing one registration twice leaves the other')
  })
})

t.test('once', async (t) => {
  t.test('hears one event only, also when it emits that event itself', async (t) => {
    const bus = new HookBus()
    const heard: string[] = []
    bus.once('onRequest', ({ requestId }) => {
      heard.push(requestId)
      bus.emit('onRequest', request('from the listener'))
    })
    bus.emit('onRequest', request('a'))
    bus.emit('onRequest', request('b'))
    t.strictSame(heard, ['a'])
  })

  t.test('is removed before its event by the function that it returns', async (t) => {
    const bus = new HookBus()
    let heard = 0
    bus.once('onRequest', () => heard++)()
    bus.emit('onRequest', request('a'))
    t.equal(heard, 0)
  })

  t.test('is removed before its event by off', async (t) => {
    const bus = new HookBus()
    let heard = 0
    const listener = () => heard++
    bus.once('onRequest', listener)
    bus.off('onRequest', listener)
    bus.emit('onRequest', request('a'))
    t.equal(heard, 0)
  })
})

t.test('a listener may change the listeners while it runs', async (t) => {
  const bus = new HookBus()
  const heard: string[] = []
  const last = () => heard.push('last')
  const first = () => {
    heard.push('first')
    bus.off('onRequest', first)
    bus.off('onRequest', last)
    bus.on('onRequest', () => heard.push('added'))
  }
  bus.on('onRequest', first)
  bus.on('onRequest', last)
  bus.emit('onRequest', request('a'))
  t.strictSame(heard, ['first', 'last'], 'an event goes to those who listened when it happened')
  bus.emit('onRequest', request('b'))
  t.strictSame(heard, ['first', 'last', 'added'])
})

t.test('a listener that throws', async (t) => {
  const bus = new HookBus()
  const reports: unknown[] = []
  const broken = new Error('broken listener')
  let heard = 0
  bus.on('onListenerError', (report) => reports.push(report))
  bus.on('onRequest', () => {
    throw broken
  })
  bus.on('onRequest', () => heard++)
  t.doesNotThrow(() => bus.emit('onRequest', request('a')))
  t.equal(heard, 1, 'the others hear the event all the same')
  t.strictSame(reports, [{ event: 'onRequest', error: broken }])
})

t.test('a listener whose promise rejects is reported too', async (t) => {
  const bus = new HookBus()
  const reports: unknown[] = []
  const broken = new Error('rejected')
  bus.on('onListenerError', (report) => reports.push(report))
  bus.on('onRequest', async () => {
    throw broken
  })
  bus.emit('onRequest', request('a'))
  await nextTurn()
  t.strictSame(reports, [{ event: 'onRequest', error: broken }])
})

t.test('a failure that nobody listens for is no unhandled rejection', async (t) => {
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const bus = new HookBus()
  bus.on('onRequest', () => Promise.reject(new Error('nobody listens')))
  bus.emit('onRequest', request('a'))
  await nextTurn()
  await nextTurn()
  t.strictSame(unhandled, [])
})

t.test('a reporter that fails itself is not told of it', async (t) => {
  const bus = new HookBus()
  let throwing = 0
  let rejecting = 0
  bus.on('onListenerError', () => {
    throwing++
    throw new Error('the reporter')
  })
  bus.on('onListenerError', async () => {
    rejecting++
    throw new Error('the other reporter')
  })
  bus.on('onRequest', () => {
    throw new Error('the listener')
  })
  t.doesNotThrow(() => bus.emit('onRequest', request('a')))
  await nextTurn()
  t.equal(throwing, 1)
  t.equal(rejecting, 1)
})
