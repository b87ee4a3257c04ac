import t from 'tap'
import { ConversationHistory, createAgent, createDemo, createLLM, defineTool, ModelRouter } from '../../src/index.ts'
import { completion, startUpstream } from '../upstream.ts'

const client = createDemo()
const routerOf = (...models: string[]): ModelRouter => {
  const router = new ModelRouter()
  for (const model of models) router.register({ model, client })
  return router
}

t.test('an id leads to its entry', async (t) => {
  const router = new ModelRouter()
  const entry = { model: 'gpt', client, capabilities: { vision: true }, created: 5 }
  router.register(entry)
  const route = router.resolve('gpt')
  t.equal(route.entry, entry)
  t.equal(route.model, 'gpt')
  t.equal(router.get('gpt'), entry)
})

t.test('an unknown model is a 404 that names it', async (t) => {
  for (const id of ['other', 'GPT', 'gpt-4', 'gp', '', '__proto__', 'constructor']) {
    t.throws(() => routerOf('gpt').resolve(id), {
      code: 'model_not_found',
      status: 404,
      message: `model "${id}" not found`,
      param: 'model',
    })
  }
})

t.test('one may look whether a model is served', async (t) => {
  const router = routerOf('gpt', 'openai/*')
  t.match(router.find('gpt'), { entry: { model: 'gpt' }, model: 'gpt' })
  t.match(router.find('openai/x'), { entry: { model: 'openai/*' }, model: 'x' })
  t.equal(router.find('other'), undefined)
})

t.test('a wildcard serves every id that begins with it, under the rest of the id', async (t) => {
  const router = routerOf('openai/*')
  t.match(router.resolve('openai/gpt-4o'), { entry: { model: 'openai/*' }, model: 'gpt-4o' })
  t.match(router.resolve('openai/ft:gpt-4o:org/x.1'), { model: 'ft:gpt-4o:org/x.1' })
  for (const id of ['openai/', 'openai', 'xopenai/gpt', 'azure/gpt']) {
    t.throws(() => router.resolve(id), { code: 'model_not_found' }, id)
  }
})

t.test('a lone star serves everything', async (t) => {
  t.match(routerOf('*').resolve('anything/at:all'), { entry: { model: '*' }, model: 'anything/at:all' })
})

t.test('an id wins over wildcards, and a longer wildcard over a shorter, in whatever order they came', async (t) => {
  const ids = ['*', 'a/*', 'a/b/*', 'a/b/c']
  for (const models of [ids, ids.toReversed(), ['a/*', 'a/b/c', '*', 'a/b/*']]) {
    const router = routerOf(...models)
    t.match(router.resolve('a/b/c'), { entry: { model: 'a/b/c' }, model: 'a/b/c' })
    t.match(router.resolve('a/b/d'), { entry: { model: 'a/b/*' }, model: 'd' })
    t.match(router.resolve('a/x'), { entry: { model: 'a/*' }, model: 'x' })
    t.match(router.resolve('x'), { entry: { model: '*' }, model: 'x' })
  }
})

t.test('a second registration of an id throws, and changes nothing', async (t) => {
  for (const model of ['gpt', 'openai/*', '*']) {
    const router = routerOf(model)
    const entry = router.get(model)
    t.throws(() => router.register({ model, client: createDemo() }), {
      message: `model "${model}" is already registered`,
    })
    t.equal(router.get(model), entry)
    t.equal(router.list().length, 1)
  }
})

t.test('a live model is swapped by unregistering it first', async (t) => {
  for (const [model, id] of [
    ['gpt', 'gpt'],
    ['openai/*', 'openai/gpt'],
  ] as const) {
    const router = routerOf(model)
    const before = router.resolve(id).entry
    t.equal(router.unregister(model), before, 'the entry is handed back')
    t.throws(() => router.resolve(id), { code: 'model_not_found' })
    const next = createDemo()
    router.register({ model, client: next })
    t.equal(router.resolve(id).entry.client, next)
  }
})

t.test('unregistering what is not there is undefined, and takes nothing else out', async (t) => {
  const router = routerOf('a', 'a/*')
  t.equal(router.unregister('b'), undefined)
  t.equal(router.unregister('a/b'), undefined)
  t.equal(router.list().length, 2)
  router.unregister('a')
  t.match(router.resolve('a/b'), { entry: { model: 'a/*' } })
})

t.test('the list is in the order of registration, exact ids first', async (t) => {
  t.strictSame(
    routerOf('b', '*', 'a', 'c/*')
      .list()
      .map(({ model }) => model),
    ['b', 'a', 'c/*', '*'],
  )
})

t.test('a pattern is no model: a request for one is refused, not sent to the provider', async (t) => {
  const router = new ModelRouter()
  router.register({ model: 'lab/*', client: createDemo() })
  for (const model of ['lab/*', 'lab/x*']) t.throws(() => router.resolve(model), { message: /not found/ }, model)
  t.ok(router.get('lab/*'), 'though it can be looked up')
})

t.test('an entry’s own tools', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const client = createLLM({ model: 'lab/small', baseURL: upstream.baseURL })
  t.teardown(() => client.close?.())
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const messages = [{ role: 'user' as const, content: 'hi' }]
  const mine = { type: 'function' as const, function: { name: 'mine', parameters: {} } }
  const offered = () =>
    (upstream.last().body as { tools?: { function: { name: string } }[] }).tools?.map((tool) => tool.function.name)

  t.test('are offered beside the caller’s, and run here', async (t) => {
    const router = new ModelRouter()
    router.register({ model: 'm', client, internalTools: [clock] })
    const { entry, client: served } = router.resolve('m')
    t.equal(entry.client, client, 'the entry stays as it was given')
    upstream.next(completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }))
    const answer = await served.complete({ model: 'm', messages, tools: [mine] })
    t.match(answer.choices, [{ finish_reason: 'stop' }])
    t.strictSame(offered(), ['clock', 'mine'])
    t.match((upstream.last().body as { messages: unknown[] }).messages.at(-1), { role: 'tool', content: 'noon' })
  })

  t.test('without the caller’s, where those are not wanted', async (t) => {
    const router = new ModelRouter()
    router.register({ model: 'm', client, internalTools: [clock], allowExternalTools: false })
    router.register({ model: 'n', client, allowExternalTools: false })
    const warnings: string[] = []
    const call = { onWarning: (warning: string) => warnings.push(warning) }
    await router.resolve('m').client.complete({ model: 'm', messages, tools: [mine] }, call)
    t.strictSame(offered(), ['clock'])
    await router.resolve('n').client.complete({ model: 'n', messages, tools: [mine], tool_choice: 'required' }, call)
    t.strictSame(upstream.last().body, { model: 'small', messages })
    t.equal(warnings.length, 2)
  })

  t.test('come on top of those of an agent', async (t) => {
    const router = new ModelRouter()
    const diary = defineTool({ name: 'diary', execute: () => 'a free day' })
    router.register({ model: 'm', client: createAgent({ client, tools: [diary] }), internalTools: [clock] })
    upstream.next(
      completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }),
      completion({ toolCalls: [{ name: 'diary', arguments: '{}' }] }),
    )
    const answer = await router.resolve('m').client.complete({ model: 'm', messages, tools: [mine] })
    t.match(answer.choices, [{ finish_reason: 'stop' }])
    t.strictSame(offered()?.toSorted(), ['clock', 'diary', 'mine'])
    const results = (upstream.last().body as { messages: { role: string; content: string }[] }).messages
    t.strictSame(
      results.filter(({ role }) => role === 'tool').map(({ content }) => content),
      ['noon', 'a free day'],
    )
  })

  t.test('cannot be given to an agent that would ignore them, or keeps its history itself', async (t) => {
    const router = new ModelRouter()
    for (const [options, message] of [
      [
        { allowExternalTools: false },
        /is an agent that takes no tools from outside: give it its tools when it is made/,
      ],
      [{ history: new ConversationHistory() }, /is an agent with a history of its own: give it its tools/],
    ] as const) {
      const agent = createAgent({ client, ...options })
      t.throws(() => router.register({ model: 'm', client: agent, internalTools: [clock] }), { message })
      router.register({ model: 'm', client: agent, internalTools: [], allowExternalTools: false })
      router.unregister('m')
    }
  })

  t.test('cannot be given to an agent that has one of that name', async (t) => {
    const router = new ModelRouter()
    const agent = createAgent({ client, tools: [clock] })
    t.throws(() => router.register({ model: 'm', client: agent, internalTools: [clock] }), {
      message: 'model "m" is an agent that has a tool "clock" already',
    })
    t.equal(router.find('m'), undefined)
  })

  t.test('of one name, or ill-formed, are refused at registration, and the model is not registered', async (t) => {
    const router = new ModelRouter()
    t.throws(() => router.register({ model: 'm', client, internalTools: [clock, clock] }), { message: /"clock"/ })
    const nameless = { name: '', execute: () => 1 }
    t.throws(() => router.register({ model: 'm', client, internalTools: [nameless] }), { name: 'TypeError' })
    t.equal(router.find('m'), undefined)
  })
})

t.test('entries can be replaced by others, all at once', async (t) => {
  const router = new ModelRouter()
  const [a, b, all] = ['a', 'b', 'b/*'].map((model) => ({ model, client: createDemo() }))
  const [c, b2] = ['c', 'b'].map((model) => ({ model, client: createDemo() }))
  if (!a || !b || !all || !c || !b2) throw new Error('there are five')
  const mine = { model: 'mine', client: createDemo() }
  for (const entry of [a, b, all, mine]) router.register(entry)
  const before = router.routes

  const swap = router.replacing([a, b, all], [c, b2])
  t.strictSame(router.list().length, 4, 'nothing has changed yet')
  swap()
  t.strictSame(new Set(router.list()), new Set([mine, c, b2]))
  t.equal(router.resolve('b').entry, b2)
  t.equal(router.find('b/x'), undefined)
  t.equal(before.resolve('b').entry, b, 'who began before has what there was')
  t.equal(before.resolve('b/x').entry, all)

  t.throws(() => router.replacing([c], [{ ...mine }]), { message: 'model "mine" is already registered' })
  t.throws(() => router.replacing([c], [a, { ...a }]), { message: 'model "a" is already registered' })
  t.strictSame(new Set(router.list()), new Set([mine, c, b2]))
})
