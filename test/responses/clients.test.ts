import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { Agent, OpenAIResponsesModel, Runner, setTracingDisabled, tool } from '@openai/agents'
import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { toChatRequest } from '../../src/responses/chat-request.ts'
import { inputItems } from '../../src/responses/input-items.ts'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { ResponseBuilder } from '../../src/responses/response-builder.ts'
import type { ChatCompletionChunk, ChatRequest } from '../../src/types.ts'
import { listening } from '../listening.ts'
import { assertSchema } from '../openapi.ts'
import { call, chunk, end } from './chunks.ts'

setTracingDisabled(true)
const state = { google: { thoughtSignature: 's' } }

/** A stateless `/v1/responses` in front of a chat model that says what it is told to; remembers what the model was asked. */
async function serve(t: Test, answers: ChatCompletionChunk[][]) {
  const asked: ChatRequest[] = []
  const server = createServer(async (incoming, outgoing) => {
    const request = asResponseRequest(await json(incoming))
    const builder = new ResponseBuilder(request)
    const chat = toChatRequest(request, inputItems(request, builder.id))
    assertSchema('CreateChatCompletionRequest', chat)
    asked.push(chat)
    const events = [
      ...builder.start(),
      ...(answers.shift() ?? []).flatMap((each) => builder.add(each)),
      ...builder.finish(),
    ]
    outgoing.setHeader('content-type', request.stream ? 'text/event-stream' : 'application/json')
    if (request.stream)
      outgoing.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''))
    else outgoing.end(JSON.stringify(builder.response))
  })
  const port = await listening(t, server)
  return { asked, client: new OpenAI({ apiKey: 'x', baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 }) }
}

const weatherCall = [
  chunk({ reasoning_content: 'look it up' }),
  chunk({ extra_content: state }),
  call(0, {
    id: 'c1',
    type: 'function',
    function: { name: 'weather', arguments: '{"city":"Rome"}' },
    extra_content: state,
  }),
  end('tool_calls'),
]

/** What the model is to see when the tool has run: its own turn as it was, thought and signatures included. */
const secondTurn = [
  { role: 'user', content: 'weather in Rome?' },
  {
    role: 'assistant',
    content: null,
    reasoning_content: 'look it up',
    extra_content: state,
    tool_calls: [
      { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' }, extra_content: state },
    ],
  },
  { role: 'tool', tool_call_id: 'c1', content: 'sunny' },
]

t.test('OpenAI’s SDK sends back what it got, in a loop with a tool', async (t) => {
  const { asked, client } = await serve(t, [weatherCall, [chunk({ content: 'Sunny.' }), end('stop')]])
  const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'weather in Rome?' }]
  const first = await client.responses.create({ model: 'm', input })
  input.push(...(first.output as OpenAI.Responses.ResponseInputItem[]))
  input.push({ type: 'function_call_output', call_id: 'c1', output: 'sunny' })
  const second = await client.responses.create({ model: 'm', input })
  t.equal(second.output_text, 'Sunny.')
  t.strictSame(asked[1]?.messages, secondTurn)
})

t.test('OpenAI’s SDK parses structured output', async (t) => {
  const { asked, client } = await serve(t, [[chunk({ content: '{"sky":"blue"}' }), end('stop')]])
  const format = zodTextFormat(z.object({ sky: z.string() }), 'weather')
  const parsed = await client.responses.parse({ model: 'm', input: 'sky?', text: { format } })
  t.strictSame(parsed.output_parsed, { sky: 'blue' })
  t.match(asked[0]?.response_format, { type: 'json_schema', json_schema: { name: 'weather', strict: true } })
})

for (const stream of [false, true]) {
  t.test(`OpenAI’s agents run a tool, ${stream ? 'streamed' : 'not streamed'}`, async (t) => {
    const { asked, client } = await serve(t, [weatherCall, [chunk({ content: 'Sunny.' }), end('stop')]])
    const weather = tool({
      name: 'weather',
      description: 'tells the weather',
      parameters: z.object({ city: z.string() }),
      execute: () => 'sunny',
    })
    const agent = new Agent({ name: 'a', model: new OpenAIResponsesModel(client, 'm'), tools: [weather] })
    const runner = new Runner()
    const result = stream
      ? await runner.run(agent, 'weather in Rome?', { stream: true })
      : await runner.run(agent, 'weather in Rome?')
    if ('completed' in result) await result.completed
    t.equal(result.finalOutput, 'Sunny.')
    t.match(asked[0]?.tools, [{ type: 'function', function: { name: 'weather', strict: true } }])
    t.strictSame(asked[1]?.messages, secondTurn)
  })
}
