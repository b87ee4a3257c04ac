/** The official client of OpenAI, in front of an agent. */
import OpenAI, { ConflictError, InternalServerError, NotFoundError } from 'openai'
import { ContentFilterFinishReasonError } from 'openai/core/error'
import { zodResponseFormat } from 'openai/helpers/zod'
import t from 'tap'
import { z } from 'zod'
import { messagesOf } from '../upstream/transcript.ts'
import { completion, failWith, gated } from '../upstream.ts'
import { called, calls, clockCall, noon, result, says, startHelper, system, weatherCall } from './helper.ts'

const { upstream, gateway, baseURL, sent, tools } = await startHelper(t, {
  config: {
    agents: {
      short: { model: 'openai/gpt-4o-mini', tools: ['clock'], maxSteps: 2, conversation: { maxMessages: 3 } },
    },
    conversations: { lockTimeout: '100ms' },
  },
})
const client = gateway.client()

const question = { role: 'user' as const, content: 'What time is it?' }
const ask = { model: 'helper', messages: [question] }
const twoSteps = { prompt_tokens: 20, completion_tokens: 4, total_tokens: 24 }

/** In a conversation, with the client's own retries. */
const inConversation = (id: string, maxRetries = 2): OpenAI =>
  new OpenAI({ baseURL, apiKey: 'any', maxRetries, logLevel: 'off', defaultHeaders: { 'x-conversation-id': id } })

t.test('chat.completions.create', async (t) => {
  t.test('whole: the tool has run, and is not seen', async (t) => {
    upstream.next(calls([clockCall]), says('It is noon.'))
    const answer = await client.chat.completions.create(ask)
    t.match(answer, { object: 'chat.completion', usage: twoSteps })
    t.equal(answer.choices.length, 1)
    t.match(answer.choices[0], { message: { role: 'assistant', content: 'It is noon.' }, finish_reason: 'stop' })
    t.equal(answer.choices[0]?.message.tool_calls, undefined)
    t.equal(upstream.requests.length, 2)
    t.match(sent(), [system, question, called(clockCall), noon])
    t.equal(sent().length, 4)
    t.match(upstream.last().body, { model: 'gpt-4o-mini' })
    t.same(tools(), ['clock'])
  })

  t.test('streamed: one stream of one answer', async (t) => {
    upstream.next(calls([clockCall], 'One moment.'), completion({ tokens: ['It', ' is', ' noon.'], usage: {} }))
    const stream = await client.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    })
    const ids = new Set<string>()
    const pieces: string[] = []
    const ends: string[] = []
    let usage: object | null | undefined
    for await (const chunk of stream) {
      ids.add(chunk.id)
      if (chunk.usage) usage = chunk.usage
      for (const { delta, finish_reason } of chunk.choices) {
        if (delta.content) pieces.push(delta.content)
        if (finish_reason) ends.push(finish_reason)
        t.notOk(delta.tool_calls)
      }
    }
    t.equal(ids.size, 1)
    t.same(pieces, ['One', ' moment.', '\n\nIt', ' is', ' noon.'], 'token by token')
    t.same(ends, ['stop'])
    t.match(usage, { completion_tokens: 5, total_tokens: Number })
    t.match(sent(), [system, question, { ...called(clockCall), content: 'One moment.' }, noon])
  })

  t.test('a run that does not come to an end is cut short', async (t) => {
    upstream.next(calls([clockCall]), calls([{ ...clockCall, id: 'call_again' }]))
    const answer = await client.chat.completions.create({ ...ask, model: 'short' })
    t.match(answer.choices, [{ message: { content: null }, finish_reason: 'length' }])
    t.equal(answer.choices[0]?.message.tool_calls, undefined)
    t.equal(upstream.requests.length, 2)
  })

  t.test('a caller’s tool with the name of the agent’s is refused', async (t) => {
    const tool = { type: 'function' as const, function: { name: 'clock', parameters: {} } }
    await t.rejects(client.chat.completions.create({ ...ask, tools: [tool] }), {
      code: null,
      status: 400,
      param: 'tools',
    })
    t.equal(upstream.requests.length, 0)
  })
})

t.test('chat.completions.stream', async (t) => {
  upstream.next(calls([clockCall]), says('It is noon.'))
  const stream = client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } })
  const deltas: string[] = []
  stream.on('content', (delta) => deltas.push(delta))
  t.match(await stream.finalChatCompletion(), {
    choices: [{ message: { role: 'assistant', content: 'It is noon.' }, finish_reason: 'stop' }],
    usage: twoSteps,
  })
  t.equal(deltas.join(''), 'It is noon.')
  t.ok(deltas.length > 1)
})

t.test('chat.completions.runTools: the caller’s tool and the agent’s', async (t) => {
  /** Runs until the end; which cities the caller's tool was asked for, what was said, and all that the caller saw. */
  async function run(stream: boolean) {
    const cities: string[] = []
    const weather = {
      type: 'function' as const,
      function: {
        name: 'weather',
        description: 'The weather in a city',
        parameters: { type: 'object', properties: { city: { type: 'string' } } },
        parse: JSON.parse,
        function: ({ city }: { city: string }) => {
          cities.push(city)
          return `sunny in ${city}`
        },
      },
    }
    const runner = stream
      ? client.chat.completions.runTools({ ...ask, stream: true, tools: [weather] })
      : client.chat.completions.runTools({ ...ask, tools: [weather] })
    const content = await runner.finalContent()
    return { cities, content, seen: runner.messages, usage: await runner.totalUsage() }
  }
  const sunny = result(weatherCall, 'sunny in Lisbon')

  for (const stream of [false, true]) {
    const how = stream ? 'streamed' : 'whole'
    t.test(`in one step, ${how}`, async (t) => {
      upstream.next(calls([clockCall, weatherCall]), says('Noon, and sunny.'))
      const { cities, content, seen } = await run(stream)
      t.equal(content, 'Noon, and sunny.')
      t.same(cities, ['Lisbon'])
      t.match(seen, [question, called(weatherCall), sunny, { role: 'assistant', content: 'Noon, and sunny.' }])
      t.equal(upstream.requests.length, 2)
      t.match(sent(), [system, question, called(clockCall, weatherCall), noon, sunny])
      t.equal(sent().length, 5)
      t.same(tools(), ['clock', 'weather'])
    })

    t.test(`in two steps, the agent's first, ${how}`, async (t) => {
      upstream.next(calls([clockCall]), calls([weatherCall]), says('Noon, and sunny.'))
      const { cities, content, seen } = await run(stream)
      t.equal(content, 'Noon, and sunny.')
      t.same(cities, ['Lisbon'])
      t.equal(seen.length, 4)
      t.match(sent(), [system, question, called(clockCall), noon, called(weatherCall), sunny])
      t.equal(sent().length, 6)
    })

    t.test(`in two steps, the caller's first, ${how}`, async (t) => {
      upstream.next(calls([weatherCall]), calls([clockCall]), says('Noon, and sunny.'))
      const { cities, content, seen } = await run(stream)
      t.equal(content, 'Noon, and sunny.')
      t.same(cities, ['Lisbon'])
      t.equal(seen.length, 4)
      t.match(sent(), [system, question, called(weatherCall), sunny, called(clockCall), noon])
    })

    t.test(`several rounds of both, from a model that numbers its calls, ${how}`, async (t) => {
      const at = (id: string, city: string) => ({ ...weatherCall, id, arguments: { city } })
      upstream.next(
        calls([{ ...clockCall, id: 'call_0' }, at('call_1', 'Lisbon'), at('call_2', 'Porto')]),
        calls([{ ...clockCall, id: 'call_0' }]),
        calls([{ ...clockCall, id: 'call_0' }, at('call_1', 'Faro')]),
        says('Sunny.'),
      )
      const { cities, content, seen } = await run(stream)
      t.equal(content, 'Sunny.')
      t.same(cities, ['Lisbon', 'Porto', 'Faro'])
      t.equal(seen.length, 7)
      t.match(
        sent().map(({ role, content, tool_calls }) =>
          tool_calls ? (tool_calls as object[]).length : (content ?? role),
        ),
        [
          'Be brief.',
          question.content,
          3,
          'noon in Lisbon',
          'sunny in Lisbon',
          'sunny in Porto',
          1,
          'noon in Lisbon',
          2,
          'noon in Lisbon',
          'sunny in Faro',
        ],
      )
    })
  }

  t.test('usage is that of all steps of all rounds', async (t) => {
    upstream.next(calls([clockCall]), calls([weatherCall]), says('Noon, and sunny.'))
    t.match((await run(false)).usage, { prompt_tokens: 30, completion_tokens: 6, total_tokens: 36 })
  })

  t.test('text that the model said beside its calls is kept', async (t) => {
    upstream.next(calls([clockCall], 'First the time.'), calls([weatherCall], 'Now the weather.'), says('Sunny.'))
    const { seen } = await run(false)
    t.match(seen[1], { content: 'First the time.\n\nNow the weather.' })
    t.match(sent(), [system, question, { content: 'First the time.' }, noon, { content: 'Now the weather.' }, sunny])
  })
})

t.test('chat.completions.parse', async (t) => {
  const Time = z.object({ hour: z.number(), zone: z.string() })
  const response_format = zodResponseFormat(Time, 'time')

  t.test('after a step with a tool, and some talk', async (t) => {
    upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12,"zone":"Lisbon"}'))
    const answer = await client.chat.completions.parse({ ...ask, response_format })
    t.strictSame(answer.choices[0]?.message.parsed, { hour: 12, zone: 'Lisbon' })
    t.match(answer.usage, twoSteps)
    for (const { body } of upstream.requests) {
      t.match(body, { response_format: { type: 'json_schema', json_schema: { name: 'time', strict: true } } })
    }
  })

  t.test('streamed', async (t) => {
    upstream.next(calls([clockCall], 'One moment.'), says('{"hour":12,"zone":"Lisbon"}'))
    const stream = client.chat.completions.stream({ ...ask, response_format })
    const { choices } = await stream.finalChatCompletion()
    t.strictSame(choices[0]?.message.parsed, { hour: 12, zone: 'Lisbon' })
  })

  t.test('a refusal', async (t) => {
    upstream.next(completion({ refusal: 'I cannot tell the time.' }))
    const { choices } = await client.chat.completions.parse({ ...ask, response_format })
    t.match(choices, [{ message: { refusal: 'I cannot tell the time.', parsed: null } }])
  })
})

t.test('what a guardrail stops', async (t) => {
  const stopped = { role: 'assistant', refusal: 'That is a secret.' }
  const ask = { model: 'discreet', messages: [question] }
  const secret = [calls([clockCall]), says('The secret is 42.')]

  t.test('whole', async (t) => {
    upstream.next(...secret)
    const answer = await client.chat.completions.create(ask)
    t.match(answer.choices, [{ message: { ...stopped, content: null }, finish_reason: 'content_filter' }])
    t.match(answer.usage, twoSteps)
  })

  t.test('streamed', async (t) => {
    upstream.next(...secret)
    const stream = client.chat.completions.stream(ask)
    const deltas: string[] = []
    stream.on('content', (delta) => deltas.push(delta))
    t.match((await stream.finalChatCompletion()).choices, [{ message: stopped, finish_reason: 'content_filter' }])
    t.equal(deltas.join(''), '')
  })

  t.test('parsed', async (t) => {
    upstream.next(...secret)
    const response_format = zodResponseFormat(z.object({ hour: z.number() }), 'time')
    t.type(await t.rejects(client.chat.completions.parse({ ...ask, response_format })), ContentFilterFinishReasonError)
  })
})

t.test('a conversation', async (t) => {
  const say = (client: OpenAI, content: string) =>
    client.chat.completions.create({ model: 'helper', messages: [{ role: 'user', content }] })

  t.test('its turns, tools included, are sent again with the next', async (t) => {
    const client = inConversation('talk')
    upstream.next(calls([clockCall]), says('It is noon.'))
    const { response } = await say(client, 'What time is it?').withResponse()
    t.equal(response.headers.get('x-conversation-id'), 'talk')
    const before = [system, question, called(clockCall), noon, { role: 'assistant', content: 'It is noon.' }]

    const stream = client.chat.completions.stream({ model: 'helper', messages: [{ role: 'user', content: 'Sure?' }] })
    t.equal(await stream.finalContent(), 'You said: Sure?')
    t.match(sent(), [...before, { role: 'user', content: 'Sure?' }])
    t.equal(sent().length, 6)

    await say(client, 'Thanks.')
    t.match(sent().slice(5), [
      { role: 'user', content: 'Sure?' },
      { role: 'assistant', content: 'You said: Sure?' },
      { role: 'user', content: 'Thanks.' },
    ])
    t.equal(sent().length, 8)
  })

  t.test('a tool of the caller’s is answered in the next turn with its result alone', async (t) => {
    const client = inConversation('tools')
    const weather = { type: 'function' as const, function: { name: 'weather', parameters: {} } }
    upstream.next(calls([clockCall, weatherCall]))
    const asked = await client.chat.completions.create({ ...ask, tools: [weather] })
    t.match(asked.choices, [{ message: called(weatherCall), finish_reason: 'tool_calls' }])
    t.equal(asked.choices[0]?.message.tool_calls?.length, 1)
    const sunny = { role: 'tool' as const, tool_call_id: 'call_weather', content: 'sunny' }
    await client.chat.completions.create({ model: 'helper', messages: [sunny], tools: [weather] })
    t.match(sent(), [system, question, called(clockCall, weatherCall), noon, sunny])
    t.equal(sent().length, 5)
  })

  t.test('one that nobody named begins anew, and tells its name', async (t) => {
    const { data, response } = await say(client, 'Hello!').withResponse()
    t.equal(data.choices[0]?.message.content, 'You said: Hello!')
    const id = response.headers.get('x-conversation-id') ?? ''
    t.match(id, /^conv_[0-9a-f]{32}$/)
    await say(inConversation(id), 'Again!')
    t.match(
      sent().map(({ content }) => content),
      ['Be brief.', 'Hello!', 'You said: Hello!', 'Again!'],
    )
  })

  t.test('is kept as long as the configuration says', async (t) => {
    const client = inConversation('short')
    for (const content of ['one', 'two', 'three']) {
      await client.chat.completions.create({ model: 'short', messages: [{ role: 'user', content }] })
    }
    t.same(
      sent().map(({ content }) => content),
      ['two', 'You said: two', 'three'],
    )
  })

  t.test('two turns at once: the second is told to wait, and the client does', async (t) => {
    const gate = gated(['first'])
    upstream.next(gate.behaviour)
    gate.release()
    const stream = await inConversation('busy').chat.completions.create({ ...ask, stream: true })
    const refusal = await t.rejects(say(inConversation('busy', 0), 'second'))
    t.type(refusal, ConflictError)
    t.match(refusal, { status: 409, code: 'conversation_locked', type: 'invalid_request_error' })
    t.equal((refusal as unknown as ConflictError).headers?.get('retry-after'), '1')

    const refused = Promise.withResolvers<void>()
    gateway.hooks.once('onResponse', () => refused.resolve())
    const second = say(inConversation('busy'), 'second')
    await refused.promise
    t.equal(upstream.requests.length, 1)
    gate.release(Number.POSITIVE_INFINITY)
    for await (const _ of stream);
    t.equal((await second).choices[0]?.message.content, 'You said: second')
    t.match(
      sent().map(({ content }) => content),
      ['Be brief.', question.content, 'first', 'second'],
    )
  })

  t.test('a turn that fails leaves it as it was', async (t) => {
    const client = inConversation('failing', 0)
    await say(client, 'one')
    upstream.next(calls([clockCall]), failWith(500))
    t.type(await t.rejects(say(client, 'two')), InternalServerError)
    upstream.next(calls([clockCall]), failWith(500))
    await t.rejects(client.chat.completions.stream({ ...ask }).finalContent())
    await say(client, 'three')
    t.same(
      sent().map(({ content }) => content),
      ['Be brief.', 'one', 'You said: one', 'three'],
    )
  })
})

t.test('many runs at once, from a model that numbers its calls, and none has anything of another', async (t) => {
  upstream.behave((request, exchange) => {
    const messages = messagesOf(request)
    const city = String(messages[1]?.content)
    const results = messages.flatMap(({ role, content }) => (role === 'tool' ? [content] : []))
    const steps = [
      calls([{ id: 'call_0', name: 'clock', arguments: { zone: city } }]),
      calls([{ id: 'call_0', name: 'weather', arguments: { city } }]),
    ]
    return (steps[results.length] ?? says(results.join(', ')))(request, exchange)
  })
  const weather = {
    type: 'function' as const,
    function: {
      name: 'weather',
      description: 'The weather in a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } } },
      parse: JSON.parse,
      function: ({ city }: { city: string }) => `sunny in ${city}`,
    },
  }
  const cities = Array.from({ length: 40 }, (_, index) => `city ${index}`)
  const answers = cities.map((content, index) => {
    const run = { model: 'helper', messages: [{ role: 'user' as const, content }], tools: [weather] }
    const runner =
      index % 2 ? client.chat.completions.runTools({ ...run, stream: true }) : client.chat.completions.runTools(run)
    return runner.finalContent()
  })
  t.same(
    await Promise.all(answers),
    cities.map((city) => `noon in ${city}, sunny in ${city}`),
  )
  t.equal(upstream.requests.length, 120)
})

t.test('an upstream that fails in the middle of a run: the client’s retry runs it again', async (t) => {
  upstream.next(calls([clockCall]), failWith(500), calls([clockCall]), says('It is noon.'))
  const retrying = new OpenAI({ baseURL, apiKey: 'any', logLevel: 'off' })
  const answer = await retrying.chat.completions.create(ask)
  t.equal(answer.choices[0]?.message.content, 'It is noon.')
  t.match(answer.usage, twoSteps, 'the caller is told of the run that answered')
  t.equal(upstream.requests.length, 4)
})

t.test('a model that is not there is a 404, at once', async (t) => {
  const before = gateway.requestLines().length
  const failure = await t.rejects(inConversation('c').chat.completions.create({ ...ask, model: 'nobody' }))
  t.type(failure, NotFoundError)
  t.match(failure, { status: 404, code: 'model_not_found', message: '404 model "nobody" not found' })
  t.equal(gateway.requestLines().length, before + 1, 'the client does not retry')
  t.equal(upstream.requests.length, 0)
})

t.test('GET /v1/models tells what is an agent', async (t) => {
  const { data } = await client.models.list()
  t.match(data, [
    { id: 'helper', owned_by: 'openai', capabilities: { agent: true, external_tools: true } },
    { id: 'discreet' },
    { id: 'short' },
    { id: 'openai/*' },
  ])
  t.match(await client.models.retrieve('helper'), { id: 'helper', capabilities: { agent: true } })
})

t.test('the log and the hooks tell of the whole run', async (t) => {
  upstream.next(calls([clockCall]), says('It is noon.'))
  const completed = Promise.withResolvers<object>()
  const tool = Promise.withResolvers<object>()
  gateway.hooks.once('onCompletion', completed.resolve)
  gateway.hooks.once('onTool', tool.resolve)
  await client.chat.completions.create(ask)
  t.match(await tool.promise, { model: 'helper', tool: 'clock', outcome: 'ok' })
  t.match(await completed.promise, { model: 'helper', provider: 'openai', usage: twoSteps, costUsd: Number })
})
