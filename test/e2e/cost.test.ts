import t, { type Test } from 'tap'
import { defineGuardrail, defineTool } from '../../src/index.ts'
import { type GatewayOptions, startGateway } from '../gateway.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import { completion, failWith, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const messages = [{ role: 'user' as const, content: 'hi' }]
const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 }
const kind = 'openai-compatible'
/** USD per million tokens. */
const cheap = { prices: { input: 1, output: 10 } }
const dear = { prices: { input: 2, output: 20, cachedInput: 1 } }

/** A gateway in front of the upstream, and what its hooks and its log say of costs. */
async function pricing(t: Test, options: GatewayOptions) {
  const gateway = await startGateway(t, options)
  const told: (number | 'unknown')[] = []
  gateway.hooks.on('onCompletion', ({ costUsd }) => told.push(costUsd))
  return { gateway, client: gateway.client(), told, logged: () => gateway.requestLines().map(({ costUsd }) => costUsd) }
}

const lab = {
  providers: { lab: { kind, baseURL: upstream.baseURL, retries: { max: 0 } } },
  catalog: { 'lab/small': cheap, 'lab/free': { prices: { input: 0, output: 0 } } },
}

t.test('an answer costs what its tokens cost, whole and streamed; the log says the same', async (t) => {
  const { client, told, logged } = await pricing(t, { config: lab })
  upstream.behave(completion({ usage }))
  await client.chat.completions.create({ model: 'lab/small', messages })
  await client.chat.completions.stream({ model: 'lab/small', messages }).finalChatCompletion()
  t.strictSame(told, [0.002, 0.002])
  t.strictSame(logged(), told)
})

t.test('a price that is not known makes the cost unknown, never 0; a price of 0 makes it 0', async (t) => {
  const { client, told, logged } = await pricing(t, { config: lab })
  for (const model of ['lab/other', 'lab/free']) await client.chat.completions.create({ model, messages })
  upstream.behave(completion({ usage: false }))
  await client.chat.completions.create({ model: 'lab/small', messages })
  t.strictSame(told, ['unknown', 0, 'unknown'], 'nor is the cost of tokens that nobody counted')
  t.strictSame(logged(), told)
})

t.test('public prices are known, by what a provider is and not by its name', async (t) => {
  const providers = { 'openai-eu': { kind: 'openai', apiKey: 'k', baseURL: upstream.baseURL } }
  const models = { small: { targets: [{ model: 'openai-eu/gpt-4o-mini' }] } }
  const { client, told } = await pricing(t, { config: { providers, models } })
  upstream.behave(completion({ usage }))
  await client.chat.completions.create({ model: 'small', messages })
  t.match(told, [Number])
  t.ok(Number(told[0]) > 0 && Number(told[0]) < 0.01)
})

t.test('what the provider had cached is cheaper', async (t) => {
  const { client, told } = await pricing(t, { config: { ...lab, catalog: { 'lab/small': dear } } })
  upstream.behave(completion({ usage: { ...usage, prompt_tokens_details: { cached_tokens: 600 } } }))
  await client.chat.completions.create({ model: 'lab/small', messages })
  t.match(told, [(400 * 2 + 600 * 1 + 100 * 20) / 1e6])
})

t.test('of several targets, the price is that of the one that served', async (t) => {
  const models = { fast: { targets: [{ model: 'lab/small' }, { model: 'lab/large' }] } }
  const { client, told, gateway } = await pricing(t, {
    config: { ...lab, models, catalog: { 'lab/small': cheap, 'lab/large': dear } },
  })
  upstream.behave(completion({ usage }))
  for (let n = 0; n < 30; n++) await client.chat.completions.create({ model: 'fast', messages })
  const targets = gateway.requestLines().map(({ target }) => target)
  t.strictSame(new Set(targets), new Set(['lab/small', 'lab/large']))
  t.strictSame(
    told,
    targets.map((target) => (target === 'lab/small' ? 0.002 : 0.004)),
  )
})

t.test('also where any of their models may be asked for, and behind an agent', async (t) => {
  const two = { lab: lab.providers.lab, den: lab.providers.lab }
  const { client, told, gateway } = await pricing(t, {
    config: {
      providers: two,
      models: { 'team/*': { targets: [{ model: 'lab/*' }, { model: 'den/*' }] } },
      agents: { helper: { model: 'team/small' } },
      catalog: { 'lab/small': cheap, 'den/small': dear },
    },
  })
  upstream.behave(completion({ usage }))
  for (let n = 0; n < 20; n++) {
    await client.chat.completions.create({ model: 'team/small', messages })
    await client.chat.completions.stream({ model: 'helper', messages }).finalChatCompletion()
  }
  const targets = gateway.requestLines().map(({ target }) => target)
  t.strictSame(new Set(targets), new Set(['lab/small', 'den/small']), 'the log tells the model that was meant')
  t.strictSame(
    told,
    targets.map((target) => (target === 'lab/small' ? 0.002 : 0.004)),
  )
})

t.test('each step of a run is paid to the target that took it', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const { client, told, gateway } = await pricing(t, {
    extension: { tools: [clock] },
    config: {
      ...lab,
      models: { fast: { targets: [{ model: 'lab/small' }, { model: 'lab/large' }] } },
      agents: { helper: { model: 'fast', tools: ['clock'] } },
      catalog: { 'lab/small': cheap, 'lab/large': dear },
    },
  })
  const asksForClock = completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage })
  for (let n = 0; n < 20; n++) {
    upstream.next(asksForClock, completion({ usage }))
    await client.chat.completions.create({ model: 'helper', messages })
    const asked = upstream.requests.splice(0).map(({ body }) => (body as { model: string }).model)
    t.equal(
      told.at(-1),
      asked.reduce((sum, model) => sum + (model === 'small' ? 0.002 : 0.004), 0),
      asked.join(', '),
    )
  }
  t.match(gateway.requestLines(), { length: 20 })
})

t.test('one of a wildcard is priced by its own name, whatever clients call it', async (t) => {
  const models = { 'ours/*': { targets: [{ model: 'lab/*' }] } }
  const agents = { helper: { model: 'ours/small' }, direct: { model: 'lab/small' } }
  const { client, told } = await pricing(t, { config: { ...lab, models, agents } })
  upstream.behave(completion({ usage }))
  for (const model of ['ours/small', 'ours/other', 'helper', 'direct']) {
    await client.chat.completions.create({ model, messages })
  }
  t.strictSame(told, [0.002, 'unknown', 0.002, 0.002])
})

t.test('the catalog of the configuration wins over public prices, by the name of the provider', async (t) => {
  const providers = {
    openai: { apiKey: 'k', baseURL: upstream.baseURL },
    'openai-eu': { kind: 'openai', apiKey: 'k', baseURL: upstream.baseURL },
  }
  const catalog = { 'openai-eu/gpt-4o-mini': cheap, 'openai/gpt-4o': { contextWindow: 5 } }
  const { client, told } = await pricing(t, { config: { providers, catalog } })
  upstream.behave(completion({ usage }))
  for (const model of ['openai-eu/gpt-4o-mini', 'openai/gpt-4o-mini', 'openai/gpt-4o']) {
    await client.chat.completions.create({ model, messages })
  }
  // gpt-4o-mini: $0.15 and $0.60 a million; gpt-4o: $2.50 and $10.
  t.match(
    told.map((cost) => Number(cost).toFixed(7)),
    ['0.0020000', '0.0002100', '0.0035000'],
  )
})

t.test('a provider that bills in its own format is priced as well', async (t) => {
  const anthropic = await startAnthropic()
  t.teardown(() => anthropic.close())
  const config = {
    providers: { claude: { kind: 'anthropic', apiKey: 'k', baseURL: anthropic.baseURL } },
    catalog: { 'claude/claude-haiku-4-5': cheap },
  }
  const { client, told, logged } = await pricing(t, { config })
  await client.chat.completions.create({ model: 'claude/claude-haiku-4-5', messages })
  await client.chat.completions.stream({ model: 'claude/claude-haiku-4-5', messages }).finalChatCompletion()
  // Its usage: 12 tokens in, 5 out.
  t.strictSame(told, [62e-6, 62e-6])
  t.strictSame(logged(), told)
})

t.test('a run of several steps costs what all of them cost', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agents = { helper: { model: 'lab/small', tools: ['clock'] } }
  const { client, told, gateway } = await pricing(t, { config: { ...lab, agents }, extension: { tools: [clock] } })
  const asksForClock = completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage })
  upstream.next(asksForClock, completion({ usage }), asksForClock, completion({ usage }))
  await client.chat.completions.create({ model: 'helper', messages })
  await client.chat.completions.stream({ model: 'helper', messages }).finalChatCompletion()
  t.strictSame(told, [0.004, 0.004])
  t.match(gateway.requestLines(), [{ promptTokens: 2000 }, { promptTokens: 2000 }])
  upstream.next(asksForClock, completion({ usage: false }))
  await client.chat.completions.create({ model: 'helper', messages })
  t.equal(told.at(-1), 'unknown', 'and is unknown when one of them is')
})

t.test('an answer that its client leaves costs what came of it, as estimated', async (t) => {
  const { client, told, gateway } = await pricing(t, { config: lab })
  upstream.behave(completion({ tokens: Array(50).fill('word '), delayMs: 20 }))
  const over = new Promise((resolve) => gateway.hooks.once('onResponse', resolve))
  let read = 0
  for await (const _ of await client.chat.completions.create({ model: 'lab/small', messages, stream: true })) {
    if (++read === 5) break
  }
  t.match(await over, { outcome: 'client_closed', usage: { estimated: true } })
  t.match(told, [Number])
  t.ok(Number(told[0]) >= 4 * 10e-6 && Number(told[0]) < 50 * 10e-6, String(told[0]))
})

t.test('a run that its client leaves costs the steps that are over, and what came of the last', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agents = { helper: { model: 'lab/small', tools: ['clock'] } }
  const { client, told, gateway } = await pricing(t, { config: { ...lab, agents }, extension: { tools: [clock] } })
  upstream.next(
    completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage }),
    completion({ tokens: Array(50).fill('word '), delayMs: 20 }),
  )
  const over = new Promise((resolve) => gateway.hooks.once('onResponse', resolve))
  let text = ''
  for await (const chunk of await client.chat.completions.create({ model: 'helper', messages, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? ''
    if (text.length > 20) break
  }
  t.match(await over, { outcome: 'client_closed', usage: { estimated: true } })
  t.equal(told.length, 1)
  t.ok(Number(told[0]) > 0.002 && Number(told[0]) < 0.004, String(told[0]))
})

t.test('a run that fails costs the steps before', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agents = { helper: { model: 'lab/small', tools: ['clock'] } }
  const { client, told, logged } = await pricing(t, { config: { ...lab, agents }, extension: { tools: [clock] } })
  const asks: (() => Promise<unknown>)[] = [
    async () => client.chat.completions.create({ model: 'helper', messages }),
    async () => client.chat.completions.stream({ model: 'helper', messages }).finalChatCompletion(),
  ]
  for (const ask of asks) {
    upstream.next(completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage }), failWith(500))
    await t.rejects(ask())
  }
  t.equal(told.length, 2)
  t.ok(
    told.every((cost) => Number(cost) >= 0.002 && Number(cost) < 0.0021),
    told.join(', '),
  )
  t.strictSame(logged(), told)
})

t.test('a turn that a guardrail stops before any model is asked costs nothing', async (t) => {
  const silence = defineGuardrail({ name: 'silence', input: () => ({ reason: 'hush' }) })
  const agents = { helper: { model: 'lab/small', guardrails: ['silence'] } }
  const { client, told } = await pricing(t, { config: { ...lab, agents }, extension: { guardrails: [silence] } })
  await client.chat.completions.create({ model: 'helper', messages })
  await client.chat.completions.stream({ model: 'helper', messages }).finalChatCompletion()
  t.equal(upstream.requests.length, 0)
  t.strictSame(told, [0, 0])
})

t.test('what failed before an answer has no cost in the log', async (t) => {
  const { client, told, logged } = await pricing(t, { config: lab })
  upstream.behave(failWith(500))
  await t.rejects(client.chat.completions.create({ model: 'lab/small', messages }))
  t.strictSame(told, [])
  t.strictSame(logged(), [undefined])
})

t.test('embeddings cost what their tokens cost', async (t) => {
  const { client, told, logged } = await pricing(t, { config: lab })
  await client.embeddings.create({ model: 'lab/small', input: 'a b' })
  await client.embeddings.create({ model: 'lab/other', input: 'a b' })
  t.strictSame(told, [2e-6, 'unknown'])
  t.strictSame(logged(), told)
})

t.test('a response whose run fails costs the steps before, too', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agents = { helper: { model: 'lab/small', tools: ['clock'] } }
  const { client, told } = await pricing(t, { config: { ...lab, agents }, extension: { tools: [clock] } })
  upstream.next(completion({ toolCalls: [{ name: 'clock', arguments: '{}' }], usage }), (_request, exchange) =>
    exchange.json(500, {}),
  )
  const failed = await client.responses.create({ model: 'helper', input: 'hi' }).catch((error: unknown) => error)
  t.match(failed, { status: 502 })
  t.strictSame(told, [0.002])
})
