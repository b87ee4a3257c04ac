import { createDemo, defineTool } from 'signalbox'
import t, { type Test } from 'tap'
import { eventually } from '../core.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { completion, gated, type Json, startUpstream, type Upstream } from '../upstream.ts'

async function startProvider(): Promise<Upstream> {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  t.beforeEach(() => upstream.reset())
  return upstream
}

const [first, second] = [await startProvider(), await startProvider()]
const providersAt = ({ baseURL }: Upstream): Json => ({ openai: { apiKey: 'k', baseURL } })
const models = { fast: { targets: [{ model: 'openai/small' }] } }
const prices = (input: number): Json => ({ 'openai/small': { contextWindow: input, prices: { input, output: 0 } } })
const usage = { prompt_tokens: 1_000_000, completion_tokens: 1, total_tokens: 1_000_001 }
const hello = { messages: [{ role: 'user' as const, content: 'hello' }] }

const start = (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<Gateway> =>
  startGateway(t, { ...options, config: { providers: providersAt(first), models, ...options.config } })

const ask = (gateway: Gateway, model = 'fast') => gateway.client().chat.completions.create({ model, ...hello })

t.test('a reload is told to the hooks and the log', async (t) => {
  const gateway = await start(t)
  const reports: unknown[] = []
  gateway.hooks.on('onConfigReload', (report) => reports.push(report))
  const { revision } = gateway.app.liveConfig
  gateway.logs.splice(0)

  await gateway.reload({ providers: providersAt(second), store: { kind: 'file', directory: '/nowhere' } })
  const now = gateway.app.liveConfig.revision
  const needsRestart = ['store.directory', 'store.kind']
  t.not(now, revision)
  t.strictSame(reports.splice(0), [
    { revision: now, outcome: 'applied', changed: ['providers.openai.baseURL'], needsRestart, problems: [] },
  ])
  t.match(gateway.logs.splice(0), [
    { level: 30, msg: 'the configuration was reloaded', revision: now, changed: ['providers.openai.baseURL'] },
    { level: 40, msg: 'a part of the configuration waits for a restart', needsRestart },
  ])

  await gateway.reload({ providers: { openai: {} }, server: { prot: 1 } })
  t.match(gateway.logs.splice(0), [
    {
      level: 50,
      msg: 'the configuration was not reloaded: the last good one stays in force',
      revision: now,
      problems: ['server.prot: unknown key; did you mean "port"?'],
    },
  ])
  await gateway.reload({ providers: providersAt(second) })
  t.match(gateway.logs.splice(0), [{ level: 30, msg: 'the configuration was read again: it is as it was' }])
  t.match(reports, [{ outcome: 'failed' }, { outcome: 'unchanged', needsRestart: [] }])
})

t.test("an agent's run goes on where it began, between its steps, too", async (t) => {
  const arrived = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const clock = defineTool({
    name: 'clock',
    async execute() {
      arrived.resolve()
      await goOn.promise
      return 'noon'
    },
  })
  const agents = { helper: { model: 'fast', system: 'Old.', tools: ['clock'] } }
  const gateway = await start(t, { extension: { tools: [clock] }, config: { agents } })
  first.next(completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] }), completion({ text: 'At noon.' }))
  const run = ask(gateway, 'helper')
  await arrived.promise
  const report = await gateway.reload({
    providers: providersAt(second),
    agents: { helper: { model: 'fast', system: 'New.' } },
  })
  t.equal(report.outcome, 'applied')
  await ask(gateway, 'helper')
  t.match(second.last().body, { messages: [{ content: 'New.' }, {}] })
  // Nobody calls a provider just now: its connections must stay all the same.
  goOn.resolve()
  t.equal((await run).choices[0]?.message.content, 'At noon.')
  t.equal(first.requests.length, 2)
  t.match(first.last().body, { messages: [{ content: 'Old.' }] })
  await eventually(() => first.openConnections() === 0)
})

t.test('a response that is made in the background ends where it began', async (t) => {
  const gateway = await start(t)
  const gate = gated([' one', ' two'])
  first.next(gate.behaviour)
  const client = gateway.client()
  const { id } = await client.responses.create({ model: 'fast', input: 'hello', background: true })
  await first.request(0)
  await gateway.reload({ providers: providersAt(second) })
  gate.release(100)
  const response = async () => client.responses.retrieve(id)
  while ((await response()).status === 'in_progress' || (await response()).status === 'queued') await ask(gateway)
  t.match(await response(), { status: 'completed', output_text: ' one two' })
  await eventually(() => first.openConnections() === 0)
})

t.test('what a request costs is what it cost when it began', async (t) => {
  const gateway = await start(t, { config: { catalog: prices(1) } })
  const costs: unknown[] = []
  gateway.hooks.on('onCompletion', ({ costUsd }) => costs.push(costUsd))
  const goOn = Promise.withResolvers<void>()
  first.next(async (request, exchange) => {
    await goOn.promise
    await completion({ usage })(request, exchange)
  })
  const window = async () => ((await gateway.client().models.retrieve('fast')) as unknown as Json).capabilities
  t.match(await window(), { context_window: 1 })
  const open = ask(gateway)
  await first.request(0)
  await gateway.reload({ catalog: prices(3) })
  t.match(await window(), { context_window: 3 })
  first.behave(completion({ usage }))
  await ask(gateway)
  t.strictSame(costs.splice(0), [3])
  goOn.resolve()
  await open
  t.strictSame(costs, [1])
})

t.test('limits of bodies and the level of the log', async (t) => {
  const gateway = await start(t)
  await gateway.reload({ server: { bodyLimit: 2000, logLevel: 'error' } })
  t.equal(gateway.app.log.level, 'error')
  gateway.logs.splice(0)
  const content = 'x'.repeat(3000)
  const response = await gateway.post('/v1/chat/completions', { model: 'fast', messages: [{ role: 'user', content }] })
  t.equal(response.status, 413)
  t.strictSame(gateway.requestLines(), [])
})

t.test('models of the host stay, and none may take their names', async (t) => {
  const gateway = await start(t)
  gateway.app.modelRouter.register({ model: 'mine', client: createDemo({ pace: 0 }) })
  await gateway.reload({ models: { other: models.fast } })
  const { data } = await gateway.client().models.list()
  t.strictSame(data.map(({ id }) => id).sort(), ['mine', 'other'])
  const report = await gateway.reload({ models: { ...models, mine: models.fast } })
  t.match(report, { outcome: 'failed', problems: ['model "mine" is already registered'] })
  t.strictSame((await gateway.client().models.list()).data, data)
})

t.test('an auth of the host decides whatever the keys of the configuration become', async (t) => {
  const auth = { verify: () => ({ userId: 'everybody' }) }
  const gateway = await start(t, { auth, config: { auth: { keys: [{ key: 'sk-alice-0001' }] } } })
  const report = await gateway.reload({ auth: { keys: [{ key: 'sk-bobby-0001' }] } })
  t.match(report, { outcome: 'unchanged', needsRestart: ['auth.keys'] })
  t.equal((await ask(gateway)).object, 'chat.completion')
})

t.test('what is retired closes with the app, if it has not before', async (t) => {
  const gateway = await start(t)
  await ask(gateway)
  const gate = gated([' x'])
  first.next(gate.behaviour)
  const open = ask(gateway).catch((error: unknown) => error)
  await first.request(1)
  await gateway.reload({ providers: providersAt(second) })
  await gateway.close()
  await open
  await eventually(() => first.openConnections() === 0)
})
