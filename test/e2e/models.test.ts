import OpenAI from 'openai'
import t from 'tap'
import { CLIENT_KEY, startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { type Json, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

const target = (model: string) => ({ targets: [{ model: `openai/${model}` }] })
const models = {
  fast: target('gpt-mini'),
  'meta-llama/llama-3.3:8b': { ...target('llama'), capabilities: { tools: true } },
  'team/*': { targets: [{ model: 'openai/*' }] },
}
const providers = { openai: { baseURL: upstream.baseURL, apiKey: 'x' } }
const ask = { messages: [{ role: 'user' as const, content: 'hello there' }] }

const gateway = await startGateway(t, { config: { providers, models } })
const client = gateway.client()

const idsOf = async (client: OpenAI): Promise<string[]> => (await client.models.list()).data.map(({ id }) => id)

t.test('lists what clients may ask for, wildcards included', async (t) => {
  const answer = await fetch(`${gateway.url}/v1/models`)
  const list = await answer.json()
  assertSchema('ListModelsResponse', list)
  t.same(list, {
    object: 'list',
    data: [
      { id: 'fast', object: 'model', created: 0, owned_by: 'openai' },
      { id: 'meta-llama/llama-3.3:8b', object: 'model', created: 0, owned_by: 'openai', capabilities: { tools: true } },
      { id: 'team/*', object: 'model', created: 0, owned_by: 'openai' },
    ],
  })
  t.same(await idsOf(client), ['fast', 'meta-llama/llama-3.3:8b', 'team/*'])
  t.equal(upstream.requests.length, 0, 'the upstream is not asked')
})

t.test('retrieves a model by its id, whether the client encodes it or not', async (t) => {
  const expected = { id: 'meta-llama/llama-3.3:8b', object: 'model', created: 0, owned_by: 'openai' }
  t.match(await client.models.retrieve(expected.id), expected)
  for (const path of [
    'meta-llama/llama-3.3:8b',
    'meta-llama%2Fllama-3.3%3A8b',
    'meta-llama%2fllama-3.3:8b',
    'meta%2Dllama/llama-3.3:8b',
    'meta-llama/llama-3.3:8b?x=1',
    'meta-llama/llama-3.3:8b/',
  ]) {
    const answer = await fetch(`${gateway.url}/v1/models/${path}`)
    t.equal(answer.status, 200, path)
    const model = await answer.json()
    assertSchema('Model', model)
    t.match(model, expected)
  }
})

t.test('a wildcard answers for every id that it serves', async (t) => {
  for (const id of ['team/gpt-4o', 'team/a/b:c.d', 'team/é漢', 'team/100%', 'team/a b?c#d']) {
    t.match(await client.models.retrieve(id), { id, object: 'model', owned_by: 'openai' })
  }
  for (const id of ['team/', 'team', 'other/gpt-4o', 'Team/gpt-4o']) {
    t.type(await t.rejects(client.models.retrieve(id)), OpenAI.NotFoundError, id)
  }
})

t.test('HEAD answers as GET does, without the body', async (t) => {
  for (const path of ['/v1/models', '/v1/models/fast']) {
    const answer = await fetch(gateway.url + path, { method: 'HEAD' })
    t.equal(answer.status, 200)
    t.equal(answer.headers.get('content-type'), 'application/json')
    t.equal(await answer.text(), '')
  }
})

t.test('says the same on every replica and after every restart', async (t) => {
  const list = () => fetch(`${gateway.url}/v1/models`).then((answer) => answer.text())
  const first = await list()
  const replica = await startGateway(t, { config: { providers, models } })
  t.equal(await fetch(`${replica.url}/v1/models`).then((answer) => answer.text()), first)
  t.equal(await list(), first)
})

t.test('without a list of models, every provider is a wildcard', async (t) => {
  const plain = await startGateway(t, { upstream })
  t.same(await idsOf(plain.client()), ['openai/*'])
  const demo = await startGateway(t)
  t.same(await idsOf(demo.client()), ['demo/echo'])
  const answer = await demo.client().chat.completions.create({ model: 'demo/echo', ...ask })
  t.match(answer.choices[0]?.message.content, 'hello there')
})

t.test('a key sees the models that it may use, and no others', async (t) => {
  const keys = [
    { key: CLIENT_KEY },
    { key: 'sk-only-fast', models: ['fast'] },
    { key: 'sk-llama-and-team', models: ['meta-llama/*', 'team/*'] },
    { key: 'sk-nothing-here', models: [] },
  ]
  const locked = await startGateway(t, { config: { providers, models, auth: { keys } } })
  const as = (apiKey: string) => locked.client({ apiKey })
  t.same(await idsOf(as(CLIENT_KEY)), ['fast', 'meta-llama/llama-3.3:8b', 'team/*'])
  t.same(await idsOf(as('sk-only-fast')), ['fast'])
  t.same(await idsOf(as('sk-llama-and-team')), ['meta-llama/llama-3.3:8b', 'team/*'])
  t.same(await idsOf(as('sk-nothing-here')), [])
  t.type(await t.rejects(as('sk-only-fast').models.retrieve('team/gpt-4o')), OpenAI.PermissionDeniedError)
  t.equal((await as('sk-llama-and-team').models.retrieve('team/gpt-4o')).id, 'team/gpt-4o')
})

t.test('an alias reaches its target, a wildcard the model that it matched', async (t) => {
  upstream.reset()
  for (const [model, expected] of [
    ['fast', 'gpt-mini'],
    ['meta-llama/llama-3.3:8b', 'llama'],
    ['team/a/b', 'a/b'],
  ] as const) {
    await client.chat.completions.create({ model, ...ask })
    await client.chat.completions.stream({ model, ...ask }).finalChatCompletion()
    await client.embeddings.create({ model, input: 'text' })
    for (const { body } of upstream.requests.splice(0)) t.equal((body as Json).model, expected)
  }
})

t.test('a model that is taken out of service is gone at once, and one that is put in is there', async (t) => {
  const live = await startGateway(t, { config: { providers, models } })
  const entry = live.app.modelRouter.unregister('fast')
  t.type(await t.rejects(live.client().chat.completions.create({ model: 'fast', ...ask })), OpenAI.NotFoundError)
  t.same(await idsOf(live.client()), ['meta-llama/llama-3.3:8b', 'team/*'])
  if (!entry) throw new Error('there was none')
  live.app.modelRouter.register({ ...entry, created: 1_700_000_000 })
  await live.client().chat.completions.create({ model: 'fast', ...ask })
  t.match(await live.client().models.retrieve('fast'), { id: 'fast', created: 1_700_000_000 })
})
