/** Each phase of a call that takes too long has a code of its own; a model may have its own times. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type OpenAI from 'openai'
import t, { type Test } from 'tap'
import { type Gateway, startGateway } from '../gateway.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const messages = [{ role: 'user' as const, content: 'hi' }]

const start = (t: Test, provider: up.Json, model: up.Json = {}): Promise<Gateway> =>
  startGateway(t, {
    config: {
      providers: {
        lab: { kind: 'openai-compatible', baseURL: upstream.baseURL, retries: { max: 0 }, ...provider },
      },
      models: { fast: { targets: [{ model: 'lab/small' }], ...model }, other: { targets: [{ model: 'lab/small' }] } },
      agents: { helper: { model: 'fast' } },
    },
  })

/** How many chunks came, and the code of the error after them. */
async function streamed(client: OpenAI, model = 'fast'): Promise<{ chunks: number; code?: unknown; status?: unknown }> {
  let chunks = 0
  try {
    for await (const _chunk of await client.chat.completions.create({ model, messages, stream: true })) chunks++
    return { chunks }
  } catch (error) {
    const { code, status } = error as { code?: unknown; status?: unknown }
    return { chunks, code, status }
  }
}
const complete = (client: OpenAI, model = 'fast') => client.chat.completions.create({ model, messages })

/** A head at once, comments for ever, and nothing else. */
const onlyComments: up.Behaviour = async (_request, exchange) => {
  exchange.startStream()
  for (;;) {
    await exchange.write(': wait\n\n')
    await exchange.sleep(20)
  }
}
const twoThenNothing = up.completion({ tokens: ['One', ' two'], delayMs: 60_000 })
const drip = up.completion({ tokens: Array<string>(200).fill('x'), delayMs: 20 })

t.test('connect', async (t) => {
  const deaf = createServer((socket) => void socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await once(deaf, 'listening')
  t.teardown(() => deaf.close())
  const baseURL = `https://127.0.0.1:${(deaf.address() as AddressInfo).port}/v1`
  const client = (await start(t, { baseURL, timeouts: { connect: '100ms' } })).client()
  const code = 'upstream_connect_timeout'
  await t.rejects(complete(client), { status: 504, code })
  t.strictSame(await streamed(client), { chunks: 0, code, status: 504 })
  t.strictSame(await streamed(client, 'helper'), { chunks: 0, code, status: 504 })
})

t.test('first token: a head and comments are none', async (t) => {
  const client = (await start(t, { timeouts: { firstToken: '120ms', idle: '60ms' } })).client()
  for (const behaviour of [up.hang(), up.stallFirstByte(60_000), onlyComments]) {
    upstream.behave(behaviour)
    for (const model of ['fast', 'helper']) {
      t.strictSame(await streamed(client, model), { chunks: 0, code: 'upstream_first_token_timeout', status: 504 })
    }
  }
  t.ok((await upstream.last().closed).aborted)
})

t.test('first token of a native response: that it has begun is none', async (t) => {
  const client = (await start(t, { responses: 'native', timeouts: { firstToken: '120ms', idle: '60ms' } })).client()
  const beginning = {
    id: 'resp_1',
    object: 'response',
    created_at: 1,
    model: 'small',
    status: 'in_progress',
    output: [],
  }
  upstream.behave(async (_request, exchange) => {
    exchange.startStream()
    await exchange.event({ type: 'response.created', sequence_number: 0, response: beginning })
  })
  const events: unknown[] = []
  const read = async (): Promise<void> => {
    for await (const event of await client.responses.create({ model: 'fast', input: 'hi', stream: true })) {
      events.push(event)
    }
  }
  await t.rejects(read(), { message: 'the upstream provider did not start to answer in time' })
  t.match(events, [{ type: 'response.created' }])
})

t.test('between two tokens', async (t) => {
  const client = (await start(t, { timeouts: { idle: '100ms' } })).client()
  upstream.behave(twoThenNothing)
  for (const model of ['fast', 'helper']) {
    const { chunks, code } = await streamed(client, model)
    t.ok(chunks > 0)
    t.equal(code, 'upstream_idle_timeout')
  }
  upstream.behave(up.completion({ tokens: Array<string>(10).fill('x'), delayMs: 30 }))
  t.match(await streamed(client), { code: undefined }, 'one that goes on, however slowly, goes on')
})

t.test('the whole', async (t) => {
  const client = (await start(t, { timeouts: { total: '200ms' } })).client()
  upstream.behave(up.hang())
  await t.rejects(complete(client), { status: 504, code: 'upstream_timeout' })
  await t.rejects(client.embeddings.create({ model: 'fast', input: 'x' }), { status: 504, code: 'upstream_timeout' })
  upstream.behave(drip)
  const { chunks, code } = await streamed(client)
  t.ok(chunks > 0)
  t.equal(code, 'upstream_timeout')
})

t.test('a provider with a format of its own', async (t) => {
  const anthropic = await startAnthropic()
  t.teardown(() => anthropic.close())
  const provider = { kind: 'anthropic', apiKey: 'k', baseURL: anthropic.baseURL }
  const client = (await start(t, { ...provider, timeouts: { firstToken: '150ms', idle: '100ms' } })).client()
  for (const behaviour of [up.hang(), onlyComments]) {
    anthropic.behave(behaviour)
    t.strictSame(await streamed(client), { chunks: 0, code: 'upstream_first_token_timeout', status: 504 })
  }
  anthropic.behave(async (_request, exchange) => {
    exchange.startStream()
    const usage = { input_tokens: 1, output_tokens: 1 }
    const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'small', content: [], usage }
    const events = [
      { type: 'message_start', message },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'One' } },
    ]
    for (const event of events) await exchange.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  })
  const { chunks, code } = await streamed(client)
  t.ok(chunks > 0)
  t.equal(code, 'upstream_idle_timeout')
})

t.test('a model may have its own, beside others at the same provider', async (t) => {
  const client = (
    await start(
      t,
      { timeouts: { firstToken: '5s', total: '5s' } },
      { timeouts: { firstToken: '100ms', total: '200ms' } },
    )
  ).client()
  upstream.behave(up.stallFirstByte(600))
  t.match(await streamed(client), { code: 'upstream_first_token_timeout' })
  await t.rejects(complete(client), { code: 'upstream_timeout' })
  t.match(await streamed(client, 'helper'), { code: 'upstream_first_token_timeout' })
  t.match(await streamed(client, 'other'), { code: undefined })
  await t.resolves(complete(client, 'other'))
})
