/** The AI SDK, in front of an agent. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, generateText, isStepCount, Output, streamText, tool } from 'ai'
import t from 'tap'
import { z } from 'zod'
import { errorEventAfter, failWith } from '../upstream.ts'
import { called, calls, clockCall, noon, result, says, startHelper, system, weatherCall } from './helper.ts'

const { upstream, baseURL, sent, tools: offered } = await startHelper(t)

const provider = createOpenAICompatible({
  name: 'signalbox',
  baseURL,
  apiKey: 'any',
  includeUsage: true,
  supportsStructuredOutputs: true,
})
const model = provider('helper')
const prompt = 'What time is it?'
const question = { role: 'user', content: prompt }

const weather = tool({
  description: 'The weather in a city',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
})
const sunny = result(weatherCall, 'sunny in Lisbon')

t.test('generateText', async (t) => {
  t.test('the agent’s tool has run, and is not seen', async (t) => {
    upstream.next(calls([clockCall]), says('It is noon.'))
    const answer = await generateText({ model, prompt })
    t.equal(answer.text, 'It is noon.')
    t.same(answer.toolCalls, [])
    t.equal(answer.finishReason, 'stop')
    t.match(answer.usage, { inputTokens: 20, outputTokens: 4, totalTokens: 24 }, 'of both steps')
    t.match(sent(), [system, question, called(clockCall), noon])
  })

  for (const [order, steps] of [
    ['in one step', [calls([clockCall, weatherCall])]],
    ['in two steps', [calls([clockCall]), calls([weatherCall])]],
  ] as const) {
    t.test(`a tool of the caller’s and the agent’s ${order}`, async (t) => {
      upstream.next(...steps, says('Noon, and sunny.'))
      const answer = await generateText({ model, prompt, tools: { weather }, stopWhen: isStepCount(5) })
      t.equal(answer.text, 'Noon, and sunny.')
      t.match(
        answer.steps.map(({ toolCalls, toolResults }) => [
          toolCalls.map(({ toolName, input }) => [toolName, input]),
          toolResults.map(({ output }) => output),
        ]),
        [
          [[['weather', { city: 'Lisbon' }]], ['sunny in Lisbon']],
          [[], []],
        ],
      )
      t.equal(answer.totalUsage.totalTokens, 12 * (steps.length + 1))
      t.same(offered(), ['clock', 'weather'])
      const hidden =
        steps.length === 1 ? [called(clockCall, weatherCall), noon] : [called(clockCall), noon, called(weatherCall)]
      t.match(sent(), [system, question, ...hidden, sunny])
      t.equal(sent().length, 3 + hidden.length)
    })
  }

  t.test('structured output', async (t) => {
    upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12,"zone":"Lisbon"}'))
    const schema = z.object({ hour: z.number(), zone: z.string() })
    const answer = await generateText({ model, prompt, output: Output.object({ schema }) })
    t.strictSame(answer.output, { hour: 12, zone: 'Lisbon' })
    t.match(upstream.last().body, {
      response_format: { type: 'json_schema', json_schema: { schema: { type: 'object' } } },
    })
  })
})

t.test('streamText', async (t) => {
  t.test('token by token', async (t) => {
    upstream.next(calls([clockCall]), says('It is noon.'))
    const answer = streamText({ model, prompt })
    const pieces: string[] = []
    for await (const piece of answer.textStream) pieces.push(piece)
    t.same(pieces, ['It', ' is', ' noon.'])
    t.match(await answer.usage, { inputTokens: 20, outputTokens: 4, totalTokens: 24 })
    t.equal(await answer.finishReason, 'stop')
  })

  t.test('several steps, with tools of the caller’s and the agent’s', async (t) => {
    upstream.next(
      calls([clockCall, weatherCall], 'Let me see.'),
      calls([{ ...clockCall, id: 'call_again' }]),
      says('Noon, and sunny.'),
    )
    const answer = streamText({ model, prompt, tools: { weather }, stopWhen: isStepCount(5) })
    const parts: string[] = []
    for await (const part of answer.fullStream) {
      if (part.type === 'tool-call') parts.push(`${part.toolName} ${JSON.stringify(part.input)}`)
      if (part.type === 'tool-result') parts.push(String(part.output))
      if (part.type === 'error') throw part.error
    }
    t.same(parts, ['weather {"city":"Lisbon"}', 'sunny in Lisbon'])
    t.equal(await answer.text, 'Noon, and sunny.')
    t.equal((await answer.steps).length, 2)
    t.match(await answer.totalUsage, { inputTokens: 30, outputTokens: 6, totalTokens: 36 })
    t.match(sent(), [
      system,
      question,
      { ...called(clockCall, weatherCall), content: 'Let me see.' },
      noon,
      sunny,
      called({ ...clockCall, id: 'call_again' }),
      { ...noon, tool_call_id: 'call_again' },
    ])
    t.equal(sent().length, 7)
  })

  t.test('structured output', async (t) => {
    upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12,"zone":"Lisbon"}'))
    const schema = z.object({ hour: z.number(), zone: z.string() })
    const answer = streamText({ model, prompt, output: Output.object({ schema }) })
    let last: unknown
    for await (const partial of answer.partialOutputStream) last = partial
    t.strictSame(last, { hour: 12, zone: 'Lisbon' })
    t.strictSame(await answer.output, { hour: 12, zone: 'Lisbon' })
  })

  t.test('a stream that breaks in the second step', async (t) => {
    upstream.next(calls([clockCall]), errorEventAfter(3))
    const errors: unknown[] = []
    const answer = streamText({ model, prompt, maxRetries: 0, onError: ({ error }) => void errors.push(error) })
    await answer.consumeStream()
    t.equal(errors.length, 1)
    t.match(errors, [/provider/])
  })
})

t.test('a conversation, named by a header', async (t) => {
  const headers = { 'x-conversation-id': 'ai-sdk' }
  await generateText({ model, prompt: 'one', headers })
  t.equal(await streamText({ model, prompt: 'two', headers }).text, 'You said: two')
  t.same(
    sent().map(({ content }) => content),
    ['Be brief.', 'one', 'You said: one', 'two'],
  )
})

t.test('what a guardrail stops', async (t) => {
  const discreet = { model: provider('discreet'), prompt }
  upstream.next(says('The secret is 42.'), says('The secret is 42.'))
  const answer = await generateText(discreet)
  t.equal(answer.finishReason, 'content-filter')
  t.equal(answer.text, 'That is a secret.', 'the reason: this SDK shows refusals as text')
  const streamed = streamText(discreet)
  t.equal(await streamed.text, 'That is a secret.')
  t.equal(await streamed.finishReason, 'content-filter')
})

t.test('errors', async (t) => {
  t.test('a model that is not there is not asked for again', async (t) => {
    const error = await t.rejects(generateText({ model: provider('nobody'), prompt }))
    t.type(error, APICallError)
    t.match(error, { message: 'model "nobody" not found', statusCode: 404, isRetryable: false })
  })

  t.test('an upstream that fails once is asked again', async (t) => {
    upstream.next(calls([clockCall]), failWith(500))
    t.equal((await generateText({ model, prompt })).text, `You said: ${prompt}`)
    t.equal(upstream.requests.length, 3)
  })

  t.test('an upstream that fails', async (t) => {
    upstream.next(failWith(500))
    const error = await t.rejects(generateText({ model, prompt, maxRetries: 0 }))
    t.type(error, APICallError)
    t.match(error, { statusCode: 502, data: { error: { code: 'upstream_error' } } })
  })
})
