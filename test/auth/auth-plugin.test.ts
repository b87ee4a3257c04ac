import t from 'tap'
import { allowedModels, mayUse } from '../../src/auth/auth-plugin.ts'

t.test('the models of a user', async (t) => {
  t.strictSame(allowedModels({ userId: 'a', metadata: { models: ['x', 'y/*'] } }), ['x', 'y/*'])
  t.strictSame(allowedModels({ userId: 'a', metadata: { models: [] } }), [], 'none at all')
})

t.test('are all models when nothing is said of them', async (t) => {
  for (const principal of [null, undefined, { userId: 'a' }, { userId: 'a', metadata: {} }]) {
    t.equal(allowedModels(principal), undefined)
    t.ok(mayUse(allowedModels(principal), 'anything'))
  }
})

t.test('an id allows itself', async (t) => {
  t.ok(mayUse(['a', 'openai/gpt-4o'], 'openai/gpt-4o'))
  for (const model of ['openai/gpt-4o-mini', 'openai/gpt-4', 'OPENAI/GPT-4O', 'gpt-4o', '']) {
    t.notOk(mayUse(['a', 'openai/gpt-4o'], model), model)
  }
})

t.test('a pattern allows what begins with it', async (t) => {
  t.ok(mayUse(['openai/*'], 'openai/gpt-4o'))
  t.ok(mayUse(['*'], 'anything/at:all'))
  for (const model of ['openai', 'xopenai/gpt', 'azure/gpt']) t.notOk(mayUse(['openai/*'], model), model)
  t.notOk(mayUse(['*/gpt'], 'openai/gpt'), 'a star is one only at the end')
})

t.test('an empty list allows nothing', async (t) => {
  t.notOk(mayUse([], 'a'))
  t.notOk(mayUse([], '*'))
})
