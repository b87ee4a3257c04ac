import t from 'tap'
import { startGateway } from '../gateway.ts'
import { startUpstream } from '../upstream.ts'

t.test('a model of several targets: which one served is in the log, and in the hooks', async (t) => {
  const [one, two] = await Promise.all([startUpstream(), startUpstream()])
  t.teardown(() => Promise.all([one.close(), two.close()]))
  const kind = 'openai-compatible'
  const providers = { one: { kind, baseURL: one.baseURL }, two: { kind, baseURL: two.baseURL } }
  const models = { fast: { targets: [{ model: 'one/small' }, { model: 'two/tiny' }] } }
  const gateway = await startGateway(t, { config: { providers, models } })
  const completed: string[] = []
  gateway.hooks.on('onCompletion', ({ provider }) => completed.push(provider))
  const client = gateway.client()
  for (let i = 0; i < 40; i++) {
    await client.chat.completions.create({ model: 'fast', messages: [{ role: 'user', content: 'hi' }] })
  }
  const served = gateway.requestLines().map(({ model, provider, target }) => ({ model, provider, target }))
  const times = (target: string): number => served.filter((line) => line.target === target).length
  t.equal(times('one/small'), one.requests.length)
  t.equal(times('two/tiny'), two.requests.length)
  t.equal(times('one/small') + times('two/tiny'), 40)
  t.ok(one.requests.length > 0 && two.requests.length > 0, 'both had their share')
  t.match(served[0], { model: 'fast', provider: /^(one|two)$/ })
  t.strictSame(
    completed,
    served.map(({ provider }) => provider),
  )
})
