import t, { type Test } from 'tap'
import { defineTool } from '../../src/index.ts'
import { type GatewayOptions, startGateway } from '../gateway.ts'
import { completion, startUpstream } from '../upstream.ts'

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
  providers: { lab: { kind, baseURL: upstream.baseURL } },
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

t.test('embeddings cost what their tokens cost', async (t) => {
  const { client, told } = await pricing(t, { config: lab })
  await client.embeddings.create({ model: 'lab/small', input: 'a b' })
  t.strictSame(told, [2e-6])
})
