/** LangChain's client, in front of an agent. */
import { AIMessage, type AIMessageChunk, HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI, type ChatOpenAIFields } from '@langchain/openai'
import t from 'tap'
import { z } from 'zod'
import { completion, failWith } from '../upstream.ts'
import { called, calls, clockCall, noon, result, says, startHelper, system, weatherCall } from './helper.ts'

const { upstream, baseURL, sent, tools } = await startHelper(t)

const modelOf = (fields: ChatOpenAIFields = {}): ChatOpenAI =>
  new ChatOpenAI({ model: 'helper', apiKey: 'any', maxRetries: 0, configuration: { baseURL }, ...fields })
const model = modelOf()

const question = { role: 'user', content: 'What time is it?' }
const weather = tool(({ city }) => `sunny in ${city}`, {
  name: 'weather',
  description: 'The weather in a city',
  schema: z.object({ city: z.string() }),
})

t.test('invoke: the agent’s tool has run, and is not seen', async (t) => {
  upstream.next(calls([clockCall]), says('It is noon.'))
  const answer = await model.invoke(question.content)
  t.equal(answer.content, 'It is noon.')
  t.same(answer.tool_calls, [])
  t.match(answer.usage_metadata, { input_tokens: 20, output_tokens: 4, total_tokens: 24 }, 'of both steps')
  t.match(answer.response_metadata, { finish_reason: 'stop' })
  t.match(sent(), [system, question, called(clockCall), noon])
  t.match(upstream.last().body, { model: 'gpt-4o-mini' })
})

t.test('stream: token by token, with the usage at the end', async (t) => {
  upstream.next(calls([clockCall]), says('It is noon.'))
  let whole: AIMessageChunk | undefined
  const pieces: unknown[] = []
  for await (const chunk of await model.stream(question.content)) {
    if (chunk.content) pieces.push(chunk.content)
    whole = whole?.concat(chunk) ?? chunk
  }
  t.same(pieces, ['It', ' is', ' noon.'])
  t.same(whole?.tool_calls, [])
  t.match(whole?.usage_metadata, { input_tokens: 20, output_tokens: 4, total_tokens: 24 })
  t.match(whole?.response_metadata, { finish_reason: 'stop' })
})

t.test('bindTools: a tool of the caller’s, beside the agent’s', async (t) => {
  const bound = model.bindTools([weather])
  const sunny = result(weatherCall, 'sunny in Lisbon')

  t.test('invoke', async (t) => {
    upstream.next(calls([clockCall]), calls([weatherCall]), says('Noon, and sunny.'))
    const asked = await bound.invoke(question.content)
    t.match(asked.tool_calls, [{ id: 'call_weather', name: 'weather', args: { city: 'Lisbon' } }])
    t.equal(asked.tool_calls?.length, 1)
    t.match(asked.usage_metadata, { total_tokens: 24 })
    t.same(tools(), ['clock', 'weather'])

    const [call] = asked.tool_calls ?? []
    if (!call) throw new Error('there must be a call')
    const answered: ToolMessage = await weather.invoke({ ...call, type: 'tool_call' })
    const answer = await bound.invoke([new HumanMessage(question.content), asked, answered])
    t.equal(answer.content, 'Noon, and sunny.')
    t.match(sent(), [system, question, called(clockCall), noon, called(weatherCall), sunny])
    t.equal(sent().length, 6)
  })

  t.test('stream', async (t) => {
    upstream.next(calls([clockCall, weatherCall]), says('Noon, and sunny.'))
    let asked: AIMessageChunk | undefined
    for await (const chunk of await bound.stream(question.content)) asked = asked?.concat(chunk) ?? chunk
    t.match(asked?.tool_calls, [{ id: 'call_weather', name: 'weather', args: { city: 'Lisbon' } }])
    t.equal(asked?.tool_calls?.length, 1)

    const messages = [
      new HumanMessage(question.content),
      new AIMessage({ content: '', tool_calls: asked?.tool_calls ?? [] }),
      new ToolMessage({ content: 'sunny in Lisbon', tool_call_id: 'call_weather' }),
    ]
    t.equal((await bound.invoke(messages)).content, 'Noon, and sunny.')
    t.match(sent(), [system, question, called(clockCall, weatherCall), noon, sunny])
    t.equal(sent().length, 5)
  })
})

t.test('withStructuredOutput', async (t) => {
  const Time = z.object({ hour: z.number(), zone: z.string() })

  t.test('by JSON schema', async (t) => {
    upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12,"zone":"Lisbon"}'))
    const structured = model.withStructuredOutput(Time, { name: 'time', method: 'jsonSchema' })
    t.strictSame(await structured.invoke(question.content), { hour: 12, zone: 'Lisbon' })
    t.match(upstream.last().body, { response_format: { type: 'json_schema', json_schema: { name: 'time' } } })
  })

  t.test('by a tool that must be called', async (t) => {
    const answer = { id: 'call_time', name: 'time', arguments: { hour: 12, zone: 'Lisbon' } }
    upstream.next(calls([clockCall]), calls([answer]))
    const structured = model.withStructuredOutput(Time, { name: 'time', method: 'functionCalling' })
    t.strictSame(await structured.invoke(question.content), { hour: 12, zone: 'Lisbon' })
    t.match(upstream.requests[0]?.body, { tool_choice: { type: 'function', function: { name: 'time' } } })
    t.same(tools(), ['clock', 'time'])
  })
})

t.test('a conversation, named by a header', async (t) => {
  const talking = modelOf({ configuration: { baseURL, defaultHeaders: { 'x-conversation-id': 'langchain' } } })
  await talking.invoke('one')
  const pieces: unknown[] = []
  for await (const { content } of await talking.stream('two')) pieces.push(content)
  t.equal(pieces.join(''), 'You said: two')
  t.same(
    sent().map(({ content }) => content),
    ['Be brief.', 'one', 'You said: one', 'two'],
  )
})

t.test('what a guardrail stops', async (t) => {
  upstream.next(says('The secret is 42.'))
  const answer = await modelOf({ model: 'discreet' }).invoke('Tell me.')
  t.equal(answer.content, '')
  t.match(answer.response_metadata, { finish_reason: 'content_filter' })
})

t.test('errors', async (t) => {
  t.test('a model that is not there', async (t) => {
    await t.rejects(modelOf({ model: 'nobody' }).invoke('Hello!'), { message: /model "nobody" not found/, status: 404 })
  })

  t.test('an upstream that fails in the middle of a run', async (t) => {
    upstream.next(calls([clockCall]), failWith(500))
    await t.rejects(model.invoke('Hello!'), { code: 'upstream_error', status: 502 })
  })

  t.test('is tried again, when it is told to', async (t) => {
    upstream.next(failWith(500), completion({ text: 'Hello again!' }))
    t.equal((await modelOf({ maxRetries: 1 }).invoke('Hello!')).content, 'Hello again!')
  })
})
