/** OpenAI's Agents SDK, whose agent has an agent of the gateway's for a model. */
import {
  Agent,
  MaxTurnsExceededError,
  ModelRefusalError,
  OpenAIProvider,
  Runner,
  run,
  setDefaultOpenAIClient,
  setOpenAIAPI,
  setTracingDisabled,
  tool,
} from '@openai/agents'
import t from 'tap'
import { z } from 'zod'
import { failWith } from '../upstream.ts'
import { called, calls, clockCall, noon, result, says, startHelper, system, weatherCall } from './helper.ts'

const { upstream, gateway, sent, tools } = await startHelper(t)

setTracingDisabled(true)
setOpenAIAPI('chat_completions')
setDefaultOpenAIClient(gateway.client())

const instructions = { role: 'system', content: 'You are the client.' }
const question = { role: 'user' }
const cities: string[] = []
const weather = tool({
  name: 'weather',
  description: 'The weather in a city',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    cities.push(city)
    return `sunny in ${city}`
  },
})
const agent = new Agent({ name: 'Client', instructions: instructions.content, model: 'helper', tools: [weather] })
const sunny = result(weatherCall, 'sunny in Lisbon')
t.beforeEach(() => {
  cities.length = 0
})

t.test('run: a tool of the caller’s and the agent’s', async (t) => {
  for (const [order, steps] of [
    ['in one step', [calls([clockCall, weatherCall])]],
    ['in two steps', [calls([clockCall]), calls([weatherCall])]],
  ] as const) {
    t.test(order, async (t) => {
      upstream.next(...steps, says('Noon, and sunny.'))
      const { finalOutput, rawResponses } = await run(agent, 'How is it?')
      t.equal(finalOutput, 'Noon, and sunny.')
      t.same(cities, ['Lisbon'])
      t.same(tools(), ['clock', 'weather'])
      const hidden =
        steps.length === 1 ? [called(clockCall, weatherCall), noon] : [called(clockCall), noon, called(weatherCall)]
      t.match(sent(), [system, instructions, question, ...hidden, sunny])
      t.equal(sent().length, 4 + hidden.length)
      t.equal(
        rawResponses.reduce((sum, { usage }) => sum + usage.totalTokens, 0),
        12 * (steps.length + 1),
        'of all steps',
      )
    })
  }
})

t.test('run, streamed', async (t) => {
  upstream.next(calls([clockCall]), calls([weatherCall]), calls([{ ...clockCall, id: 'call_again' }]), says('Sunny.'))
  const streamed = await run(agent, 'How is it?', { stream: true })
  const items: string[] = []
  let text = ''
  for await (const event of streamed) {
    if (event.type === 'run_item_stream_event') items.push(event.name)
    if (event.type === 'raw_model_stream_event' && event.data.type === 'output_text_delta') text += event.data.delta
  }
  await streamed.completed
  t.equal(streamed.finalOutput, 'Sunny.')
  t.equal(text, 'Sunny.')
  t.same(items, ['tool_called', 'tool_output', 'message_output_created'])
  t.same(cities, ['Lisbon'])
  t.match(sent(), [
    system,
    instructions,
    question,
    called(clockCall),
    noon,
    called(weatherCall),
    sunny,
    called({ ...clockCall, id: 'call_again' }),
    { ...noon, tool_call_id: 'call_again' },
  ])
  t.equal(sent().length, 9)
  t.equal(
    streamed.rawResponses.reduce((sum, { usage }) => sum + usage.totalTokens, 0),
    48,
  )
})

t.test('a second run that goes on from the first', async (t) => {
  upstream.next(calls([clockCall, weatherCall]), says('Sunny.'))
  const first = await run(agent, 'How is it?')
  await run(agent, [...first.history, { role: 'user', content: 'Sure?' }])
  t.match(sent(), [
    system,
    instructions,
    question,
    called(clockCall, weatherCall),
    noon,
    sunny,
    { role: 'assistant' },
    { role: 'user' },
  ])
})

t.test('an output of a type', async (t) => {
  const typed = new Agent({ name: 'Typed', model: 'helper', outputType: z.object({ hour: z.number() }) })
  upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12}'))
  const { finalOutput } = await run(typed, 'What time is it?')
  t.strictSame(finalOutput, { hour: 12 })
  t.match(upstream.last().body, { response_format: { type: 'json_schema' } })
})

t.test('a hand-off to another agent', async (t) => {
  const other = new Agent({ name: 'Other', instructions: 'You are the other.', model: 'helper' })
  const first = Agent.create({ name: 'First', model: 'helper', handoffs: [other] })
  upstream.next(
    calls([clockCall, { id: 'call_handoff', name: 'transfer_to_Other', arguments: {} }]),
    says('The other speaks.'),
  )
  const { finalOutput, lastAgent } = await run(first, 'Hello!')
  t.equal(finalOutput, 'The other speaks.')
  t.equal(lastAgent?.name, 'Other')
})

t.test('a conversation, named by a header of the client', async (t) => {
  const openAIClient = gateway.client({ defaultHeaders: { 'x-conversation-id': 'agents' } })
  const runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient, useResponses: false }) })
  await runner.run(agent, 'one')
  upstream.next(calls([clockCall]), says('It is noon.'))
  await runner.run(agent, 'two')
  await runner.run(agent, 'three')
  t.same(
    sent().map(({ role, tool_calls }) => (tool_calls ? 'calls' : role)),
    ['system', 'system', 'user', 'assistant', 'user', 'calls', 'tool', 'assistant', 'user'],
    'what the client sends as its instructions is there once',
  )
})

t.test('what a guardrail stops', async (t) => {
  const discreet = new Agent({ name: 'Discreet', model: 'discreet' })
  upstream.next(says('The secret is 42.'), says('The secret is 42.'))
  const refusal = await t.rejects(run(discreet, 'Tell me.'))
  t.type(refusal, ModelRefusalError)
  t.match(refusal, { message: /That is a secret\./ })
  const streamed = await run(discreet, 'Tell me.', { stream: true })
  t.type(await t.rejects(streamed.completed), ModelRefusalError)
})

t.test('errors', async (t) => {
  t.test('of the upstream reach the caller', async (t) => {
    upstream.next(calls([clockCall]), failWith(500))
    await t.rejects(run(agent, 'Hello!'), { code: 'upstream_error', status: 502 })
  })

  t.test('the turns of the caller’s are counted without the agent’s own steps', async (t) => {
    upstream.next(calls([clockCall]), calls([{ ...clockCall, id: 'call_again' }]), says('Noon.'))
    t.equal((await run(agent, 'Hello!', { maxTurns: 1 })).finalOutput, 'Noon.')
    upstream.next(calls([weatherCall]))
    t.type(await t.rejects(run(agent, 'Hello!', { maxTurns: 1 })), MaxTurnsExceededError)
  })
})
