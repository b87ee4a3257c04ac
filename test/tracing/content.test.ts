/** What was said: in no trace, unless it is asked for. */
import t from 'tap'
import { defineTool } from '../../src/index.ts'
import { outputMessages } from '../../src/tracing/messages.ts'
import { CLIENT_KEY, GATEWAY_KEY, type GatewayOptions } from '../gateway.ts'
import { startTraced, type TracedGateway } from '../traced.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const execute = () => 'a secret hour'
const tool = defineTool({ name: 'clock', description: '', parameters: { type: 'object', properties: {} }, execute })
const options: GatewayOptions = {
  upstream,
  extension: { tools: [tool] },
  config: {
    auth: { keys: [{ key: CLIENT_KEY }] },
    agents: { helper: { model: 'openai/m', system: 'A secret order.', tools: ['clock'] } },
  },
}
const ask = { messages: [{ role: 'user', content: 'a secret question' }], user: 'a secret user', stream: false }

/** Everything that is in the traces, as text. */
const textOf = ({ collector }: TracedGateway): string =>
  JSON.stringify(collector.spans, (_name, value) => (typeof value === 'bigint' ? undefined : value))

/** A run of an agent, whole or streamed, and an answer that an upstream refuses. */
async function talk({ post }: TracedGateway, stream: boolean): Promise<void> {
  const call = up.completion({
    text: 'a secret thought',
    toolCalls: [{ name: 'clock', arguments: '{"zone":"secret"}' }],
  })
  upstream.next(call, up.completion({ text: 'a secret answer' }))
  const headers = { 'x-conversation-id': 'c1' }
  await (await post('/v1/chat/completions?q=secret', { ...ask, stream, model: 'helper' }, { headers })).text()
  upstream.next(up.failWith(400, { error: { message: 'a secret reason', type: 'invalid_request_error' } }))
  await (await post('/v1/chat/completions', { ...ask, stream, model: 'openai/m' })).text()
}

t.test('by default nothing of it is in a trace, nor any key', async (t) => {
  const gateway = await startTraced(t, options)
  for (const stream of [false, true]) await talk(gateway, stream)
  await gateway.collector.named(/^POST/, 4)
  t.notMatch(textOf(gateway), /secret/)
  for (const key of [CLIENT_KEY, GATEWAY_KEY]) t.notMatch(textOf(gateway), key)
})

t.test('tracing.content: true writes it down in the convention’s form, and still no key', async (t) => {
  for (const stream of [false, true]) {
    const gateway = await startTraced(t, { ...options, config: { ...options.config, tracing: { content: true } } })
    await talk(gateway, stream)
    await gateway.collector.named(/^POST/, 2)
    const [first, second, refused] = await gateway.collector.named('chat m', 3)
    const messages = (span: typeof first, name: string): unknown =>
      JSON.parse(String(span?.attributes[`gen_ai.${name}.messages`]))
    const question = [
      { role: 'system', parts: [{ type: 'text', content: 'A secret order.' }] },
      { role: 'user', parts: [{ type: 'text', content: 'a secret question' }] },
    ]
    const call = { type: 'tool_call', id: String, name: 'clock', arguments: { zone: 'secret' } }
    const thought = { type: 'text', content: 'a secret thought' }
    t.strictSame(messages(first, 'input'), question)
    t.match(messages(first, 'output'), [{ role: 'assistant', parts: [thought, call], finish_reason: 'tool_calls' }])
    t.match(messages(second, 'input'), [
      ...question,
      { role: 'assistant', parts: [thought, call] },
      { role: 'tool', parts: [{ type: 'tool_call_response', id: String, response: 'a secret hour' }] },
    ])
    t.strictSame(messages(second, 'output'), [
      { role: 'assistant', parts: [{ type: 'text', content: 'a secret answer' }], finish_reason: 'stop' },
    ])
    t.notOk('gen_ai.output.messages' in (refused?.attributes ?? {}))
    for (const key of [CLIENT_KEY, GATEWAY_KEY]) t.notMatch(textOf(gateway), key)
    await gateway.close()
  }
})

t.test('of a stream that breaks off, what came of it', async (t) => {
  const gateway = await startTraced(t, { ...options, config: { ...options.config, tracing: { content: true } } })
  upstream.next(up.endWithoutDone(2))
  await (await gateway.post('/v1/chat/completions', { ...ask, stream: true, model: 'openai/m' })).text()
  const { attributes } = await gateway.collector.only('chat m')
  t.match(JSON.parse(String(attributes['gen_ai.output.messages'])), [{ role: 'assistant', finish_reason: 'error' }])
})

t.test('pictures are named, not copied; each choice is a message; thoughts are told from words', async (t) => {
  const gateway = await startTraced(t, { ...options, config: { ...options.config, tracing: { content: true } } })
  const content = [
    { type: 'text', text: 'What is it?' },
    { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
  ]
  await gateway.post('/v1/chat/completions', { model: 'openai/m', n: 2, messages: [{ role: 'user', content }] })
  const { attributes } = await gateway.collector.only('chat m')
  t.strictSame(JSON.parse(String(attributes['gen_ai.input.messages'])), [
    { role: 'user', parts: [{ type: 'text', content: 'What is it?' }, { type: 'image_url' }] },
  ])
  t.equal(JSON.parse(String(attributes['gen_ai.output.messages'])).length, 2)

  const chunk = (index: number, delta: object, finish_reason: 'stop' | null = null) => ({
    ...{ id: 'c', object: 'chat.completion.chunk' as const, created: 1, model: 'm' },
    choices: [{ index, delta, finish_reason }],
  })
  const answer = [
    chunk(0, { reasoning_content: 'Hm.' }),
    chunk(1, { content: 'b' }),
    chunk(0, { content: 'a' }),
    chunk(0, {}, 'stop'),
  ]
  t.strictSame(JSON.parse(outputMessages(answer) ?? ''), [
    {
      role: 'assistant',
      parts: [
        { type: 'reasoning', content: 'Hm.' },
        { type: 'text', content: 'a' },
      ],
      finish_reason: 'stop',
    },
    { role: 'assistant', parts: [{ type: 'text', content: 'b' }], finish_reason: 'error' },
  ])
  t.equal(outputMessages([]), undefined)
})
