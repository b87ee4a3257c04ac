import t from 'tap'
import {
  createAgent,
  createLLM,
  defineTool,
  GatewayError,
  MemoryPersistence,
  OaiServer,
  type Persistence,
} from '../../src/index.ts'
import { cached } from '../../src/router/cached.ts'
import { toJSONText } from '../../src/source.ts'
import type { CacheReport, CallOptions, ChatCompletionChunk, ChatRequest } from '../../src/types.ts'
import { chat } from '../core.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const lab = createLLM({ model: 'lab/small', baseURL: upstream.baseURL })
t.teardown(() => lab.close?.())

const request: ChatRequest = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }
const ttlSeconds = 60

/** Hears how each request fared. */
function hearing(): { call: CallOptions; heard: CacheReport['outcome'][] } {
  const heard: CacheReport['outcome'][] = []
  return { heard, call: { onCache: ({ outcome }) => heard.push(outcome) } }
}

async function textsOf(chunks: AsyncIterable<ChatCompletionChunk>): Promise<string[]> {
  const texts: string[] = []
  for await (const chunk of chunks) texts.push(toJSONText(chunk))
  return texts
}

t.test('what comes again has the texts that it came with', async (t) => {
  const client = cached(lab, { store: new MemoryPersistence(), ttlSeconds })
  upstream.behave(up.completion({ extra: { x_vendor: null } }))
  const first = await client.complete(request)
  t.equal(toJSONText(await client.complete(request)), toJSONText(first))
  const chunks = await textsOf(client.stream(request))
  t.ok(chunks.length > 3)
  t.strictSame(await textsOf(client.stream(request)), chunks)
  t.equal(upstream.requests.length, 2)
})

t.test('an answer is as it came though a number in it is one that no double holds', async (t) => {
  const client = cached(lab, { store: new MemoryPersistence(), ttlSeconds })
  const text = '{"id":"c","choices":[{"index":0,"message":{},"finish_reason":"stop"}],"x":12345678901234567890,"y":1.0}'
  upstream.behave((_request, { raw }) => void raw.writeHead(200, { 'content-type': 'application/json' }).end(text))
  for (let n = 0; n < 2; n++) t.equal(toJSONText(await client.complete(request)), text)
  t.equal(upstream.requests.length, 1)
})

t.test('a store that never answers holds up a request for its time only, a broken one not at all', async (t) => {
  const never = (): Promise<never> => new Promise(() => {})
  const broken = async (): Promise<never> => {
    throw new Error('away')
  }
  for (const work of [never, broken]) {
    const store: Persistence = { get: work, set: work, delete: work }
    const client = cached(lab, { store, ttlSeconds, storeTimeoutMs: 20 })
    const { call, heard } = hearing()
    t.match(await client.complete(request, call), { choices: [{ finish_reason: 'stop' }] })
    t.ok((await textsOf(client.stream(request, call))).length > 3)
    t.strictSame(heard, ['error', 'error'])
  }
})

t.test('what is no answer of a cache is a miss, and is replaced', async (t) => {
  const store = new MemoryPersistence()
  const keys: string[] = []
  const client = cached(lab, {
    store: {
      get: (key) => store.get(key),
      set(key, value) {
        keys.push(key)
        return store.set(key, value)
      },
      delete: async () => false,
    },
    ttlSeconds,
  })
  await client.complete(request)
  for (const value of [
    null,
    'text',
    {},
    { pieces: [], warnings: [] },
    { pieces: [1], warnings: [] },
    { pieces: ['no JSON'], warnings: [] },
  ]) {
    await store.set(keys[0] ?? '', value)
    const { call, heard } = hearing()
    await client.complete(request, call)
    await client.complete(request, call)
    t.strictSame(heard, ['error', 'hit'], JSON.stringify(value))
  }
})

t.test('in memory there is a bound: the answers that were used last stay', async (t) => {
  const store = new MemoryPersistence({ maxBytes: 20_000 })
  const client = cached(lab, { store, ttlSeconds, maxBytes: 5000 })
  upstream.behave(up.completion({ text: 'x'.repeat(3000) }))
  const ask = async (seed: number): Promise<string | undefined> => {
    const { call, heard } = hearing()
    await client.complete({ ...request, seed }, call)
    return heard[0]
  }
  for (let seed = 0; seed < 20; seed++) t.equal(await ask(seed), 'miss')
  t.equal(await ask(19), 'hit')
  t.equal(await ask(0), 'miss')
})

t.test('what a provider could not honour is told again with the answer', async (t) => {
  const anthropic = await startAnthropic()
  const claude = createLLM({ model: 'anthropic/claude-haiku-4-5', apiKey: 'k', baseURL: anthropic.baseURL })
  t.teardown(() => Promise.all([claude.close?.(), anthropic.close()]))
  const client = cached(claude, { store: new MemoryPersistence(), ttlSeconds })
  const warnings: string[] = []
  const asked = { ...request, logit_bias: { 1: 1 } }
  const call: CallOptions = { onWarning: (warning) => warnings.push(warning) }
  const first = await textsOf(client.stream(asked, call))
  t.strictSame(await textsOf(client.stream(asked, call)), first)
  t.equal(anthropic.requests.length, 1)
  t.equal(warnings.length, 2)
  t.equal(warnings[0], warnings[1])
})

t.test('a step of a run, and a turn of a conversation, is asked anew', async (t) => {
  const client = cached(lab, { store: new MemoryPersistence(), ttlSeconds })
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agent = createAgent({ client, tools: [clock] })
  for (let n = 0; n < 2; n++) {
    await agent.complete(request)
    await client.complete(request, { conversationId: 'c' })
  }
  t.equal(upstream.requests.length, 4)
  t.throws(() => cached(agent, { store: new MemoryPersistence(), ttlSeconds }), TypeError)
})

t.test('a client that makes no embeddings, or speaks the Responses API, stays one', async (t) => {
  const options = { store: new MemoryPersistence(), ttlSeconds }
  const { embed: _embed, ...without } = lab
  t.equal(cached(without, options).embed, undefined)
  const native = createLLM({ model: 'lab/small', baseURL: upstream.baseURL, responses: 'native' })
  t.teardown(() => native.close?.())
  t.equal(cached(native, options).responses, native.responses)
  t.equal(cached(lab, options).responses, undefined)
})

t.test('a client that cannot stream is asked once, and each request fares in one way', async (t) => {
  const outcomes: string[] = []
  const client = cached(
    {
      ...lab,
      stream() {
        throw new GatewayError('unsupported', 'no streams')
      },
    },
    { store: new MemoryPersistence(), ttlSeconds },
  )
  const server = new OaiServer({ entries: [{ model: 'm', client }] })
  server.hooks.on('onCache', ({ outcome }) => outcomes.push(outcome))
  const texts: string[] = []
  for (let n = 0; n < 2; n++) texts.push(await (await chat(server, { ...request, stream: true })).text())
  t.match(texts[0], /said[\s\S]*\[DONE\]/)
  t.equal(texts[1], texts[0])
  t.equal(upstream.requests.length, 1)
  t.strictSame(outcomes, ['miss', 'hit'])
})
