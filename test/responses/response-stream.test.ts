import { createServer } from 'node:http'
import fc from 'fast-check'
import OpenAI from 'openai'
import { accumulateResponse } from 'openai/lib/responses/ResponseAccumulator'
import t from 'tap'
import { MessageCollector } from '../../src/agent/message-collector.ts'
import { toChatRequest } from '../../src/responses/chat-request.ts'
import { foldEvents } from '../../src/responses/fold-events.ts'
import { inputItems } from '../../src/responses/input-items.ts'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import type { OutputItem, ResponseEvent, ResponseObject } from '../../src/responses/response-types.ts'
import { listening } from '../listening.ts'
import { assertSchema } from '../openapi.ts'
import { play, script } from './scripts.ts'
import { assertStream } from './stream-rules.ts'

const same = (actual: unknown, expected: unknown, what: string): void => {
  // As it comes out of JSON: a field that is undefined is none.
  const [a, b] = [actual, expected].map((value) => JSON.stringify(sorted(value)))
  if (a !== b) throw new Error(`${what}:\n${a}\nis not\n${b}`)
}

/** With the names of objects in order, and without what the SDKs add for convenience. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).filter(
    ([name]) => !/^(output_text|output_parsed|parsed|parsed_arguments)$/.test(name),
  )
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, field]) => [name, sorted(field)]))
}

/** As it was stored when it began. */
const blank = (response: ResponseObject): ResponseObject => ({ ...response, output: [] })

/** What a provider wants to see again comes with the end of an item, and with no delta before. */
const withoutState = (output: OutputItem[]): object[] =>
  output.map((item) => ({ ...item, encrypted_content: undefined }))

t.test('the events of any stream keep the rules, and amount to the response', async (t) => {
  const seen = new Set<string>()
  const property = fc.property(script, (script) => {
    const { events, response } = play(script)
    assertStream(events)
    assertSchema('Response', response)
    same(foldEvents(blank(response), events), response, 'the events together')
    for (const { type } of events) seen.add(type)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
  t.equal(seen.size, 22, `every kind of event was seen: ${[...seen].sort()}`)
})

t.test('at every moment the events so far amount to the response so far', async (t) => {
  const property = fc.property(script, (script) => {
    play(script, ({ response, sequence }, events) => {
      same(sequence, events.length, 'the next number')
      same(withoutState(foldEvents(blank(response), events).output), withoutState(response.output), 'the events so far')
      assertSchema('Response', response)
    })
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

t.test('no event changes after it was sent', async (t) => {
  const property = fc.property(script, (script) => {
    const sent: string[] = []
    const { events } = play(script, (_, events) => {
      for (const event of events.slice(sent.length)) sent.push(JSON.stringify(event))
    })
    same(
      events.map((event) => JSON.stringify(event)),
      sent,
      'the events at the end',
    )
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

t.test('the accumulator of OpenAI’s SDK comes to the same response', async (t) => {
  const property = fc.property(script, (script) => {
    const { events, response } = play(script)
    type Snapshot = ReturnType<typeof accumulateResponse>
    const snapshot = events.reduce<Snapshot | undefined>(
      (snapshot, event) => accumulateResponse(structuredClone(event) as never, snapshot),
      undefined,
    )
    same(snapshot, response, 'the snapshot of the SDK')
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('the stream helper of OpenAI’s SDK', async (t) => {
  let replay: ResponseEvent[] = []
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    response.end(replay.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''))
  })
  const port = await listening(t, server)
  const client = new OpenAI({ apiKey: 'x', baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 })
  const property = fc.asyncProperty(script, async (script) => {
    const { events, response } = play(script)
    replay = events
    const deltas: string[] = []
    const stream = client.responses.stream({ model: 'm', input: 'hi' })
    stream.on('response.output_text.delta', ({ delta }) => deltas.push(delta))
    const final = await stream.finalResponse().catch((error: unknown) => error)
    if (response.status === 'failed') {
      const raised = final instanceof OpenAI.APIError
      if (!raised) throw new Error(`no error was raised for ${response.error?.message}`)
      same(final.code, script.ending === 'fail' ? 'upstream_error' : 'upstream_truncated', 'the code')
    } else same(final, response, 'the final response of the SDK')
    const texts = response.output.flatMap((item) =>
      item.type === 'message' ? item.content.map((part) => ('text' in part ? part.text : '')) : [],
    )
    same(deltas.join(''), texts.join(''), 'the deltas')
  })
  await t.resolves(fc.assert(property, { numRuns: 100 }))
})

t.test('an output, sent back with the outputs of its calls, is the chat that it was', async (t) => {
  let withCalls = 0
  const property = fc.property(script, (script) => {
    const { response } = play(script)
    const calls = response.output.flatMap((item) =>
      item.type === 'function_call' || item.type === 'custom_tool_call' ? [item] : [],
    )
    const outputs = calls
      .map(({ type, call_id }) => ({ type: `${type}_output`, call_id, output: `of ${call_id}` }))
      .toReversed()
    const input = [{ role: 'user', content: 'hi' }, ...response.output, ...outputs, { role: 'user', content: 'next' }]
    const request = asResponseRequest(JSON.parse(JSON.stringify({ model: 'm', input })))
    const items = inputItems(request, 'resp_2')
    assertSchema('ResponseItemList', { object: 'list', data: items, first_id: '', last_id: '', has_more: false })
    const chat = toChatRequest(request, items)
    assertSchema('CreateChatCompletionRequest', chat)

    const collector = new MessageCollector()
    for (const { choices } of script.chunks) for (const { delta } of choices) collector.add(delta)
    const { content, refusal, tool_calls, ...rest } = collector.message
    const reasoning_content = (rest as { reasoning_content?: string }).reasoning_content || undefined
    const hasTurn = response.output.some(({ type }) => type !== 'reasoning')
    const ids = (tool_calls ?? []).map(({ id }) => id)
    const order = calls.map(({ call_id }) => call_id)
    same([...ids].sort(), [...order].sort(), 'the calls')
    const byId = new Map((tool_calls ?? []).map((call) => [call.id, call]))
    const assistant = {
      role: 'assistant',
      content: content || '',
      refusal: refusal || undefined,
      reasoning_content,
      tool_calls: calls.length > 0 ? order.map((id) => byId.get(id)) : undefined,
    }
    const messages = chat.messages.map((message) =>
      message.role === 'assistant' ? { ...message, content: message.content ?? '', extra_content: undefined } : message,
    )
    same(
      messages,
      [
        { role: 'user', content: 'hi' },
        ...(hasTurn ? [assistant] : []),
        ...order.map((tool_call_id) => ({ role: 'tool', tool_call_id, content: `of ${tool_call_id}` })),
        { role: 'user', content: 'next' },
      ],
      'the chat',
    )
    if (calls.length > 1) withCalls += 1
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
  t.ok(withCalls > 50, `${withCalls} scripts called several tools`)
})
