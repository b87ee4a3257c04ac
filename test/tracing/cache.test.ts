import t from 'tap'
import { startTraced, treeOf } from '../traced.ts'
import { startUpstream } from '../upstream.ts'

t.test('a span tells whether its answer was there already: then no provider is below it', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const models = { faq: { targets: [{ model: 'openai/m' }], cache: { ttl: '1h' } } }
  const { client, collector } = await startTraced(t, { upstream, config: { models } })
  const ask = () => client().chat.completions.create({ model: 'faq', messages: [{ role: 'user', content: 'hi' }] })
  await ask()
  await ask()
  const name = 'POST /v1/chat/completions'
  const servers = await collector.named(name, 2)
  t.strictSame(servers.map(({ attributes }) => attributes['signalbox.cache']).sort(), ['hit', 'miss'])
  for (const { traceId, attributes } of servers) {
    const tree = treeOf(collector.spans.filter((span) => span.traceId === traceId)).join('\n')
    t.equal(/^ +chat m$/m.test(tree), attributes['signalbox.cache'] === 'miss', tree)
  }
})
