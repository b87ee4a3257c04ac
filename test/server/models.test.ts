import t, { type Test } from 'tap'
import { createAgent, createDemo, defineTool, OaiServer, type ServerEntry } from '../../src/index.ts'
import { type GatewayOptions, startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'

const client = createDemo({ pace: 0 })
const clock = defineTool({ name: 'clock', execute: () => 'noon' })

/** What a list of models says, by id. */
async function listed(server: OaiServer, models?: string[]): Promise<Record<string, unknown>> {
  const principal = models ? { userId: 'alice', metadata: { models } } : null
  const response = await server.handle(new Request('http://localhost/v1/models'), { principal })
  const list = await response.json()
  assertSchema('ListModelsResponse', list)
  const { data } = list as { data: { id: string; capabilities?: unknown }[] }
  return Object.fromEntries(data.map(({ id, capabilities }) => [id, capabilities]))
}

const serving = (...entries: ServerEntry[]): OaiServer => new OaiServer({ entries })

t.test('an agent says that it is one, and whether it takes tools of its callers', async (t) => {
  const open = createAgent({ client })
  const closed = createAgent({ client, allowExternalTools: false })
  const server = serving(
    { model: 'plain', client },
    { model: 'open', client: open },
    { model: 'closed', client: closed },
    { model: 'closed by its entry', client: open, allowExternalTools: false },
    { model: 'with tools of its entry', client, internalTools: [clock] },
    { model: 'with tools, closed', client, internalTools: [clock], allowExternalTools: false },
    { model: 'no agent, though closed', client, allowExternalTools: false },
  )
  t.strictSame(await listed(server), {
    plain: undefined,
    open: { agent: true, external_tools: true },
    closed: { agent: true, external_tools: false },
    'closed by its entry': { agent: true, external_tools: false },
    'with tools of its entry': { agent: true, external_tools: true },
    'with tools, closed': { agent: true, external_tools: false },
    'no agent, though closed': undefined,
  })
})

t.test('what an entry says of itself is added, and wins', async (t) => {
  const server = serving({ model: 'a', client: createAgent({ client }), capabilities: { vision: true, agent: 'yes' } })
  t.strictSame(await listed(server), { a: { agent: 'yes', external_tools: true, vision: true } })
})

t.test('a context window is that of the model which is meant, also of one that a wildcard serves', async (t) => {
  const asked: string[] = []
  const contextWindow = (model: string) => {
    asked.push(model)
    return model === 'small' ? 8192 : undefined
  }
  const server = serving(
    { model: 'small', client, contextWindow },
    { model: 'mine', client, contextWindow: () => 5, capabilities: { context_window: 6 } },
    { model: 'lab/*', client, contextWindow },
  )
  t.strictSame(await listed(server), {
    small: { context_window: 8192 },
    mine: { context_window: 6 },
    'lab/*': undefined,
  })
  t.strictSame(await listed(server, ['lab/small', 'lab/x']), {
    'lab/small': { context_window: 8192 },
    'lab/x': undefined,
  })
  const one = async (id: string): Promise<unknown> =>
    (await server.handle(new Request(`http://localhost/v1/models/${id}`))).json()
  t.match(await one('lab/small'), { id: 'lab/small', capabilities: { context_window: 8192 } })
  for (const id of ['lab/x', 'lab/*']) t.notOk('capabilities' in ((await one(id)) as object), id)
  t.notOk(asked.includes('*') || asked.includes('lab/*'), 'a pattern is no model')
})

t.test('one model is told as it is in the list', async (t) => {
  const server = serving({ model: 'org/helper:1', client: createAgent({ client }), created: 7 })
  const [inList] = (
    (await (await server.handle(new Request('http://localhost/v1/models'))).json()) as { data: object[] }
  ).data
  const answer = await server.handle(new Request('http://localhost/v1/models/org/helper:1'))
  const model = await answer.json()
  assertSchema('Model', model)
  t.strictSame(model, inList)
  t.match(model, { id: 'org/helper:1', created: 7, owned_by: 'demo', capabilities: { agent: true } })
})

t.test('a key sees the agents that it may use, by name or by pattern, and not the models behind them', async (t) => {
  const agent = createAgent({ client })
  const server = serving({ model: 'demo/*', client }, { model: 'team-a', client: agent }, { model: 'b', client: agent })
  const ids = async (...models: string[]) => Object.keys(await listed(server, models))
  t.strictSame(await ids('b'), ['b'])
  t.strictSame(await ids('team-*'), ['team-a'])
  t.strictSame(await ids('demo/echo', 'b'), ['b', 'demo/echo'])
  t.strictSame(await ids('nothing', 'other/*'), [])
  t.strictSame(await ids(), [])
})

t.test('in the service', async (t) => {
  const providers = {
    'openai-eu': { kind: 'openai', apiKey: 'k', baseURL: 'http://127.0.0.1:1/v1' },
    lab: { kind: 'openai-compatible', baseURL: 'http://127.0.0.1:1/v1' },
  }
  const models = {
    mini: { targets: [{ model: 'openai-eu/gpt-4o-mini' }] },
    small: { targets: [{ model: 'lab/small' }], capabilities: { vision: true } },
    'eu/*': { targets: [{ model: 'openai-eu/*' }] },
  }
  const agents = {
    helper: { model: 'small', capabilities: { tone: 'kind' } },
    clerk: { model: 'eu/gpt-4o-mini', allowExternalTools: false },
    stranger: { model: 'lab/unheard-of' },
  }
  const keys = [
    { key: 'sk-of-everybody', user: 'ann' },
    { key: 'sk-of-the-helper', user: 'bob', models: ['helper'] },
  ]
  const start = (t: Test, config: GatewayOptions['config']) =>
    startGateway(t, { config: { auth: { keys }, ...config } })

  t.test('context windows are those of the catalog, or of the configuration', async (t) => {
    const gateway = await start(t, { providers, models, agents, catalog: { 'lab/small': { contextWindow: 8192 } } })
    const { data } = await gateway.client({ apiKey: 'sk-of-everybody' }).models.list()
    const shown = Object.fromEntries(data.map((model) => [model.id, (model as { capabilities?: object }).capabilities]))
    t.match(shown, {
      mini: { context_window: 128_000 },
      small: { context_window: 8192, vision: true },
      helper: { agent: true, external_tools: true, context_window: 8192, tone: 'kind' },
      clerk: { agent: true, external_tools: false, context_window: 128_000 },
    })
    t.strictSame(shown.stranger, { agent: true, external_tools: true }, 'not shown where it is not known')
    t.strictSame(shown['eu/*'], undefined)
    t.match(await gateway.client({ apiKey: 'sk-of-everybody' }).models.retrieve('eu/gpt-4o-mini'), {
      capabilities: { context_window: 128_000 },
    })
  })

  t.test('a key for an agent alone may use it, and not the model behind it', async (t) => {
    const gateway = await start(t, { agents: { helper: { model: 'demo/echo' } } })
    const bob = gateway.client({ apiKey: 'sk-of-the-helper' })
    const ask = (model: string) => ({ model, messages: [{ role: 'user' as const, content: 'hi' }] })
    t.match(await bob.chat.completions.create(ask('helper')), { choices: [{ message: { content: /hi/ } }] })
    t.match(await bob.chat.completions.stream(ask('helper')).finalContent(), /hi/)
    t.match(await bob.models.retrieve('helper'), { id: 'helper', capabilities: { agent: true } })
    t.strictSame(
      (await bob.models.list()).data.map(({ id }) => id),
      ['helper'],
    )
    const refused = { status: 403, code: 'model_not_allowed' }
    await t.rejects(bob.chat.completions.create(ask('demo/echo')), refused)
    await t.rejects(bob.models.retrieve('demo/echo'), refused)
  })
})
