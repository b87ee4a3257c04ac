import { setTimeout as sleep } from 'node:timers/promises'
import { createContextKey, ROOT_CONTEXT } from '@opentelemetry/api'
import t from 'tap'
import { RequestContexts } from '../../src/tracing/request-contexts.ts'

const key = createContextKey('name')
const named = (name: string) => ROOT_CONTEXT.setValue(key, name)

t.test('what is begun in a context goes on in it', async (t) => {
  const contexts = new RequestContexts()
  const name = (): unknown => contexts.active().getValue(key)
  const request = async (is: string): Promise<unknown> => {
    contexts.enter(named(is))
    await sleep(Math.random() * 5)
    return name()
  }
  const names = Array.from({ length: 50 }, (_, n) => `r${n}`)
  t.strictSame(await Promise.all(names.map(request)), names)
})

t.test('a function runs in a context, and leaves it', async (t) => {
  const contexts = new RequestContexts()
  const name = (): unknown => contexts.active().getValue(key)
  t.equal(contexts.active(), ROOT_CONTEXT)
  t.equal(contexts.with(named('a'), name), 'a')
  const self = { n: 1 }
  t.equal(
    contexts.with(
      named('a'),
      function (this: typeof self, more: number) {
        return this.n + more
      },
      self,
      2,
    ),
    3,
  )
  t.equal(contexts.bind(named('b'), name)(), 'b')
  t.equal(contexts.bind(named('b'), self), self)
  t.equal(name(), undefined)
  contexts.enable().enter(named('c'))
  t.equal(name(), 'c')
  contexts.disable()
  t.equal(name(), undefined)
})
