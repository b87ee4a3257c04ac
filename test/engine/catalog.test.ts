import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
import { mock } from 'node:test'
import { calcPrice, extractUsage, findProvider, waitForUpdate } from '@pydantic/genai-prices'
import fc from 'fast-check'
import t from 'tap'
import { type CatalogOverrides, createCatalog } from '../../src/index.ts'
import type { Usage } from '../../src/types.ts'

// The CommonJS one, which the catalog loads; this file imports the other.
const isLoaded = (): boolean =>
  Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('genai-prices'))

const usage = (prompt_tokens: number, completion_tokens: number, details: Partial<Usage> = {}): Usage => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
  ...details,
})
const cached = (cached_tokens: number): Partial<Usage> => ({ prompt_tokens_details: { cached_tokens } })
const reasoned = (reasoning_tokens: number): Partial<Usage> => ({ completion_tokens_details: { reasoning_tokens } })

const million = 1_000_000

// First, while nothing else of this file has asked for a price.
t.test('the prices are loaded when the first one is asked for', async (t) => {
  const ofOwnServer = createCatalog({}, { gpu: 'vllm', lab: 'openai-compatible' })
  for (const provider of ['gpu', 'lab', 'ollama']) t.equal(ofOwnServer.cost(provider, 'gpt-4o', usage(1, 1)), undefined)
  t.equal(isLoaded(), false, "a server of one's own has no price to be looked up")
  const catalog = createCatalog({ 'lab/small': { contextWindow: 8000 } })
  t.equal(isLoaded(), false)
  t.type(catalog.cost('openai', 'gpt-4o', usage(1, 1)), 'number')
  t.equal(isLoaded(), true)
})

t.test('nothing is asked of the network', async (t) => {
  let connections = 0
  const count = (): void => {
    connections += 1
  }
  for (const channel of ['net.client.socket', 'undici:request:create']) {
    subscribe(channel, count)
    t.teardown(() => unsubscribe(channel, count))
  }
  const catalog = createCatalog()
  catalog.find('openai', 'gpt-4o')
  catalog.find('nobody', 'knows')
  catalog.cost('anthropic', 'claude-haiku-4-5', usage(1, 1))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(connections, 0)

  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const socket = connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1')
  await once(socket.resume(), 'close')
  server.close()
  t.equal(connections, 1, 'and a connection would have been seen')
})

t.test('a model has a context window and prices', async (t) => {
  const catalog = createCatalog()
  t.strictSame(catalog.find('openai', 'gpt-4o'), {
    contextWindow: 128_000,
    prices: { input: 2.5, output: 10, cachedInput: 1.25 },
  })
  t.strictSame(catalog.find('openai', 'gpt-4o-2024-08-06'), catalog.find('openai', 'gpt-4o'), 'by a dated name, too')
  t.match(catalog.find('anthropic', 'claude-haiku-4-5'), {
    contextWindow: 200_000,
    prices: { input: 1, output: 5, cacheWrite: 1.25 },
  })
  t.match(catalog.find('google', 'gemini-2.5-pro'), { prices: { input: 1.25, output: 10 } }, 'those of a short prompt')
  t.strictSame(catalog.find('openai', 'gpt-4o'), catalog.find('openai', 'gpt-4o'), 'asked again')
})

t.test('every provider of ours that the library prices is found by our name for it', async (t) => {
  const catalog = createCatalog()
  for (const [provider, model] of [
    ['openai', 'gpt-4o-mini'],
    ['azure', 'gpt-4o'],
    ['anthropic', 'claude-sonnet-4-20250514'],
    ['google', 'gemini-2.5-flash'],
    ['xai', 'grok-4'],
    ['openrouter', 'openai/gpt-4o'],
    ['groq', 'llama-3.3-70b-versatile'],
    ['mistral', 'mistral-large-latest'],
    ['deepseek', 'deepseek-chat'],
    ['together', 'meta-llama/Llama-3.3-70B-Instruct-Turbo'],
    ['cohere', 'command-r'],
    ['vertex', 'gemini-2.5-pro'],
    ['google-vertex', 'gemini-2.5-pro'],
    ['bedrock', 'anthropic.claude-3-5-sonnet-20241022-v2:0'],
    ['amazon-bedrock', 'anthropic.claude-3-5-sonnet-20241022-v2:0'],
  ] as const) {
    const cost = catalog.cost(provider, model, usage(1000, 100))
    t.ok(cost !== undefined && cost > 0, `${provider}/${model} ${cost}`)
  }
})

t.test('what a completion costs', async (t) => {
  const catalog = createCatalog()
  const near = (actual: number | undefined, expected: number, what: string): void => {
    t.ok(actual !== undefined && Math.abs(actual - expected) < 1e-9, `${what}: ${actual}, not ${expected}`)
  }

  near(catalog.cost('openai', 'gpt-4o', usage(1000, 100)), (1000 * 2.5 + 100 * 10) / million, 'prompt and answer')
  near(
    catalog.cost('openai', 'gpt-4o', usage(1000, 100, cached(600))),
    (400 * 2.5 + 600 * 1.25 + 100 * 10) / million,
    'cached tokens, which the prompt includes',
  )
  near(
    catalog.cost('openai', 'gpt-4o', usage(1000, 100, reasoned(80))),
    (1000 * 2.5 + 100 * 10) / million,
    'reasoning, which the answer includes',
  )
  near(
    catalog.cost('xai', 'grok-4', usage(1000, 100, reasoned(80))),
    (1000 * 3 + 180 * 15) / million,
    'reasoning of xAI, which the answer does not include',
  )
  near(
    catalog.cost('anthropic', 'claude-haiku-4-5', {
      ...usage(1000, 100),
      prompt_tokens_details: { cached_tokens: 500, cache_write_tokens: 300 },
    }),
    (200 * 1 + 500 * 0.1 + 300 * 1.25 + 100 * 5) / million,
    'tokens that were written to the cache',
  )
  near(
    catalog.cost('google', 'gemini-2.5-pro', usage(300_000, 100)),
    (300_000 * 2.5 + 100 * 15) / million,
    'a long prompt, where prices rise with it',
  )
  near(
    catalog.cost('groq', 'llama-3.3-70b-versatile', usage(1000, 100, cached(600))),
    (1000 * 0.59 + 100 * 0.79) / million,
    'cached tokens of a model that has no price for them',
  )
  near(catalog.cost('openai', 'text-embedding-3-small', usage(1000, 0)), (1000 * 0.02) / million, 'an embedding')
  t.equal(catalog.cost('openai', 'gpt-4o', usage(0, 0)), 0, 'nothing')
})

t.test('details that are null are none', async (t) => {
  const details = { prompt_tokens_details: null, completion_tokens_details: { reasoning_tokens: null } }
  const sent = { ...usage(1000, 100), ...details } as unknown as Usage
  const catalog = createCatalog()
  t.equal(catalog.cost('openai', 'gpt-4o', sent), catalog.cost('openai', 'gpt-4o', usage(1000, 100)))
})

t.test('a price that is not known is undefined, never 0', async (t) => {
  const catalog = createCatalog({ 'lab/half': { prices: { input: 1 } }, 'lab/window': { contextWindow: 8000 } })
  for (const [provider, model, why] of [
    ['nobody', 'knows', 'an unknown provider'],
    ['openai', 'no-such-model', 'an unknown model'],
    ['openai', '', 'no model'],
    ['', 'gpt-4o', 'no provider'],
    ['openai-compatible', 'gpt-4o', 'a server of one’s own, though its name contains OpenAI’s'],
    ['my-openai', 'gpt-4o', 'another one'],
    ['ollama', 'llama3', 'a local model'],
    ['demo', 'echo', 'the demo'],
    ['constructor', 'x', 'a name that every object has'],
    ['github-copilot', 'gpt-4o', 'a model that is listed without a price'],
    ['groq', 'whisper-large-v3', 'a model that is priced by the hour'],
    ['openai', 'text-embedding-3-small', 'an answer of a model that has a price for prompts only'],
    ['lab', 'half', 'an override with half of the prices'],
    ['lab', 'window', 'an override without any'],
  ] as const) {
    t.equal(catalog.cost(provider, model, usage(1000, 100)), undefined, why)
  }
  t.equal(catalog.find('nobody', 'knows'), undefined)
  t.equal(catalog.find('openai-compatible', 'gpt-4o'), undefined)
  t.strictSame(catalog.find('github-copilot', 'gpt-4o'), { contextWindow: 128_000 })
})

t.test('a usage that contradicts itself has no cost', async (t) => {
  const catalog = createCatalog()
  for (const wrong of [
    usage(100, 10, cached(200)),
    usage(-1, 10),
    usage(Number.NaN, 10),
    { total_tokens: 10 } as Usage,
    { prompt_tokens: '10', completion_tokens: 1 } as unknown as Usage,
  ]) {
    t.equal(catalog.cost('openai', 'gpt-4o', wrong), undefined, JSON.stringify(wrong))
  }
  const lab = createCatalog({ 'lab/m': { prices: { input: 3, output: 9, cachedInput: 1, cacheWrite: 5 } } })
  const tooMuch = { prompt_tokens_details: { cached_tokens: 60, cache_write_tokens: 50 } }
  t.equal(lab.cost('lab', 'm', usage(100, 10, tooMuch)), undefined, 'read and written are more than there was')
})

t.test('the kind of a provider tells what the library is asked, its name what is overridden', async (t) => {
  const catalog = createCatalog(
    {
      'openai-eu/gpt-4o-mini': { prices: { input: 7, output: 7 } },
      'xai-eu/mine': { prices: { input: 1, output: 1 } },
    },
    { 'openai-eu': 'openai', grok: 'xai', 'xai-eu': 'xai', openai: 'openai-compatible' },
  )
  const plain = createCatalog()
  const sent = usage(1000, 100, reasoned(80))
  t.equal(catalog.cost('openai-eu', 'gpt-4o', sent), plain.cost('openai', 'gpt-4o', sent))
  t.strictSame(catalog.find('openai-eu', 'gpt-4o'), plain.find('openai', 'gpt-4o'))
  t.equal(catalog.cost('openai-eu', 'gpt-4o-mini', usage(million, 0)), 7, 'an override, by the name')
  t.equal(
    catalog.cost('grok', 'grok-4', sent),
    plain.cost('xai', 'grok-4', sent),
    'reasoning is counted as the kind does',
  )
  t.equal(catalog.cost('xai-eu', 'mine', usage(0, million, reasoned(million))), 2, 'with prices of one’s own, too')
  t.equal(catalog.cost('openai', 'gpt-4o', sent), undefined, 'a server of one’s own that is called openai')
  t.equal(catalog.cost('anthropic', 'claude-haiku-4-5', usage(1000, 0)), 0.001, 'a name without a kind is its own')
})

t.test('what is computed quickly is what the library computes, for all of its models and any usage', async (t) => {
  const byLibrary = (providerId: string, model: string, sent: Usage): number | undefined => {
    const reader = findProvider({ providerId: providerId === 'x-ai' ? 'x-ai' : 'openai' })
    try {
      const counted = reader ? extractUsage(reader, { usage: sent }, 'chat').usage : {}
      const { model_price, total_price } = calcPrice(counted, model, { providerId }) ?? {}
      if (!model_price || (counted.input_tokens && model_price.input_mtok === undefined)) return undefined
      return counted.output_tokens && model_price.output_mtok === undefined ? undefined : total_price
    } catch {
      return undefined
    }
  }
  const agree = (a: number | undefined, b: number | undefined): boolean =>
    a === b || (a !== undefined && b !== undefined && Math.abs(a - b) <= 1e-9 * Math.max(a, b))

  const models = ((await waitForUpdate()) ?? []).flatMap(({ id, models }) =>
    models.map((model) => [id, model.id] as const),
  )
  t.ok(models.length > 1000, `${models.length} models`)
  const catalog = createCatalog()
  const known = models.filter(([provider, model]) => catalog.cost(provider, model, usage(1, 1)) !== undefined)
  t.ok(known.length > 1000, `${known.length} with prices`)

  const often = (count: fc.Arbitrary<unknown>) => fc.oneof({ weight: 6, arbitrary: count }, fc.constant(undefined))
  const few = fc.constantFrom<unknown[]>(0, 0, 0, 1, 70, null, -1, 0.5, Number.NaN, '5')
  const detail = often(fc.oneof({ weight: 5, arbitrary: fc.nat({ max: 2000 }) }, few))
  const total = fc.oneof({ weight: 9, arbitrary: fc.nat({ max: 400_000 }) }, few)
  const usages = fc.record({
    prompt_tokens: total,
    completion_tokens: total,
    prompt_tokens_details: fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ cached_tokens: detail, cache_write_tokens: detail, audio_tokens: often(few) }),
      },
      fc.constantFrom(undefined, null, 'text', 5, []),
    ),
    completion_tokens_details: fc.oneof(
      { weight: 8, arbitrary: fc.record({ reasoning_tokens: detail, audio_tokens: often(few) }) },
      fc.constantFrom(undefined, null),
    ),
  }) as fc.Arbitrary<unknown> as fc.Arbitrary<Usage>
  const property = fc.property(fc.constantFrom(...models), usages, ([provider, model], sent) =>
    agree(catalog.cost(provider, model, sent), byLibrary(provider, model, sent)),
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 20_000 }))
  const each = models.filter(([provider, model]) => {
    const sent = {
      ...usage(1000, 200, reasoned(50)),
      prompt_tokens_details: { cached_tokens: 300, cache_write_tokens: 90 },
    }
    return !agree(catalog.cost(provider, model, sent), byLibrary(provider, model, sent))
  })
  t.strictSame(each, [], 'each of them, once')
})

t.test('a price that changes with the time is that of the time', async (t) => {
  t.teardown(() => mock.timers.reset())
  const catalog = createCatalog()
  const at = (time: string, provider: string, model: string): (number | undefined)[] => {
    mock.timers.reset()
    mock.timers.enable({ apis: ['Date'], now: new Date(time) })
    return [catalog.cost(provider, model, usage(million, 0)), catalog.find(provider, model)?.prices?.input]
  }
  t.strictSame(at('2025-06-01T12:00:00Z', 'deepseek', 'deepseek-chat'), [0.27, 0.27])
  t.strictSame(at('2025-06-01T20:00:00Z', 'deepseek', 'deepseek-chat'), [0.135, 0.135], 'at night')
  t.strictSame(at('2025-06-02T12:00:00Z', 'deepseek', 'deepseek-chat'), [0.27, 0.27], 'and the next day')
  t.strictSame(at('2026-12-31T23:59:59Z', 'google', 'gemini-3.6-flash'), [0.75, 0.75])
  t.strictSame(at('2027-01-01T00:00:00Z', 'google', 'gemini-3.6-flash'), [1.5, 1.5], 'from a date on')
})

t.test('a name that nobody would give a model is not looked up', async (t) => {
  t.equal(createCatalog().find('openai', `gpt-4o${'x'.repeat(1_000_000)}`), undefined)
})

t.test('overrides win', async (t) => {
  const catalog = createCatalog({
    'openai/gpt-4o': { prices: { input: 1, output: 2 } },
    'azure/gpt-4o': { contextWindow: 64_000 },
    'lab/org/small:7b': { contextWindow: 8000, prices: { input: 1, output: 4, cachedInput: 0.5, cacheWrite: 2 } },
    'ollama/free': { prices: { input: 0, output: 0 } },
  })
  t.equal(catalog.cost('openai', 'gpt-4o', usage(million, million)), 3)
  t.equal(catalog.cost('openai', 'gpt-4o', usage(million, 0, cached(million))), 1, 'as a whole: cached is as input')
  t.strictSame(catalog.find('openai', 'gpt-4o'), { contextWindow: 128_000, prices: { input: 1, output: 2 } })
  t.match(catalog.find('azure', 'gpt-4o'), { contextWindow: 64_000, prices: { input: 2.5, output: 10 } })
  t.equal(catalog.cost('azure', 'gpt-4o', usage(million, 0)), 2.5)
  t.equal(catalog.cost('openai', 'gpt-4o-mini', usage(million, 0)), 0.15, 'others are as they were')

  t.match(catalog.find('lab', 'org/small:7b'), { contextWindow: 8000 })
  const details = { prompt_tokens_details: { cached_tokens: million / 2, cache_write_tokens: million / 4 } }
  t.equal(catalog.cost('lab', 'org/small:7b', usage(million, million, details)), 0.25 + 0.25 + 0.5 + 4)
  t.equal(catalog.cost('ollama', 'free', usage(million, million)), 0, 'a price of 0 is known')
})

t.test('what was overridden does not change with the caller’s object', async (t) => {
  const entry = { prices: { input: 1, output: 1 } }
  const overrides: Record<string, { prices: { input: number; output: number } }> = { 'lab/m': entry }
  const catalog = createCatalog(overrides)
  entry.prices.input = 100
  delete overrides['lab/m']
  t.equal(catalog.cost('lab', 'm', usage(million, 0)), 1)
})

t.test('an override that cannot be is refused by its name', async (t) => {
  const refused: [CatalogOverrides, string][] = [
    [{ 'gpt-4o': {} }, 'catalog override "gpt-4o" must be named provider/model'],
    [{ '/gpt-4o': {} }, 'catalog override "/gpt-4o" must be named provider/model'],
    [{ 'openai/': {} }, 'catalog override "openai/" must be named provider/model'],
    [{ 'a/b': { contextWindow: 0 } }, 'catalog override "a/b": contextWindow must be a positive integer, not 0'],
    [{ 'a/b': { contextWindow: 1.5 } }, 'catalog override "a/b": contextWindow must be a positive integer, not 1.5'],
    [
      { 'a/b': { prices: { input: -1 } } },
      'catalog override "a/b": prices.input must be USD per million tokens, not -1',
    ],
    [
      { 'a/b': { prices: { output: Number.NaN } } },
      'catalog override "a/b": prices.output must be USD per million tokens, not NaN',
    ],
    [
      { 'a/b': { prices: { output: 1, cachedInput: 1 } } },
      'catalog override "a/b": a price of cached tokens needs prices.input',
    ],
    [{ 'a/b': { prices: { cacheWrite: 1 } } }, 'catalog override "a/b": a price of cached tokens needs prices.input'],
  ]
  for (const [overrides, message] of refused) t.throws(() => createCatalog(overrides), new Error(message))
})
