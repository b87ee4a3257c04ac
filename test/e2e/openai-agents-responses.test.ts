/** OpenAI's Agents SDK as it comes: it speaks the Responses API, to an agent of the gateway's. */
import { Agent, ModelBehaviorError, run, setDefaultOpenAIClient, setTracingDisabled, tool } from '@openai/agents'
import t from 'tap'
import { z } from 'zod'
import { failWith } from '../upstream.ts'
import { called, calls, clockCall, noon, result, says, startHelper, system, weatherCall } from './helper.ts'

const { upstream, gateway, sent, tools } = await startHelper(t)

setTracingDisabled(true)
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

t.test('it is the Responses API that it speaks', async (t) => {
  upstream.next(says('Hello.'))
  const lines = gateway.requestLines().length
  t.equal((await run(agent, 'Hi!')).finalOutput, 'Hello.')
  t.match(gateway.requestLines().slice(lines), [{ route: '/v1/responses' }])
})

t.test('a tool of the caller’s and the agent’s', async (t) => {
  for (const [order, steps] of [
    ['in one step', [calls([clockCall, weatherCall])]],
    ['in two steps', [calls([clockCall]), calls([weatherCall])]],
  ] as const) {
    for (const stream of [false, true]) {
      t.test(`${order}, ${stream ? 'streamed' : 'whole'}`, async (t) => {
        upstream.next(...steps, says('Noon, and sunny.'))
        const answer = stream ? await run(agent, 'How is it?', { stream: true }) : await run(agent, 'How is it?')
        if ('completed' in answer) await answer.completed
        t.equal(answer.finalOutput, 'Noon, and sunny.')
        t.same(cities, ['Lisbon'])
        t.same(tools(), ['clock', 'weather'])
        const hidden =
          steps.length === 1 ? [called(clockCall, weatherCall), noon] : [called(clockCall), noon, called(weatherCall)]
        t.match(sent(), [system, instructions, question, ...hidden, sunny])
        t.equal(sent().length, 4 + hidden.length)
        t.equal(
          answer.rawResponses.reduce((sum, { usage }) => sum + usage.totalTokens, 0),
          12 * (steps.length + 1),
          'of all steps',
        )
      })
    }
  }
})

t.test('a second run that goes on from the first, by its history or by its id', async (t) => {
  upstream.next(calls([clockCall, weatherCall]), says('Sunny.'))
  const first = await run(agent, 'How is it?')
  await run(agent, [...first.history, { role: 'user', content: 'Sure?' }])
  const expected = [
    system,
    instructions,
    question,
    called(clockCall, weatherCall),
    noon,
    sunny,
    { role: 'assistant', content: 'Sunny.' },
    { role: 'user', content: 'Sure?' },
  ]
  t.match(sent(), expected)
  await run(agent, 'Sure?', { previousResponseId: first.lastResponseId ?? '' })
  t.match(sent(), expected)
  t.equal(sent().length, expected.length)
})

t.test('a run with a tool that sends only what is new', async (t) => {
  upstream.next(says('Hello.'), calls([weatherCall]), says('Sunny.'))
  const first = await run(agent, 'Hi!')
  const second = await run(agent, 'How is it?', { previousResponseId: first.lastResponseId ?? '' })
  t.equal(second.finalOutput, 'Sunny.')
  t.match(sent(), [system, instructions, question, { role: 'assistant' }, question, called(weatherCall), sunny])
  t.equal(sent().length, 7)
})

t.test('an output of a type', async (t) => {
  const typed = new Agent({ name: 'Typed', model: 'helper', outputType: z.object({ hour: z.number() }) })
  upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12}'))
  t.strictSame((await run(typed, 'What time is it?')).finalOutput, { hour: 12 })
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

t.test('what a guardrail stops', async (t) => {
  const discreet = new Agent({ name: 'Discreet', model: 'discreet' })
  upstream.next(says('The secret is 42.'), says('The secret is 42.'))
  const refusal = await t.rejects(run(discreet, 'Tell me.'))
  t.type(refusal, ModelBehaviorError, 'an answer that is incomplete is none to it')
  t.match(refusal, { message: /response\.incomplete/ })
  const streamed = await run(discreet, 'Tell me.', { stream: true })
  t.type(await t.rejects(streamed.completed), ModelBehaviorError)
})

t.test('errors of the upstream reach the caller', async (t) => {
  upstream.next(calls([clockCall]), failWith(500))
  await t.rejects(run(agent, 'Hello!'), { code: 'upstream_error', status: 502 })
})
