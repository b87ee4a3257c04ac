import t from 'tap'
import { Type } from 'typebox'
import { Toolbox, type ToolCall } from '../../src/agent/toolbox.ts'
import { type AgentTool, type CallOptions, defineTool } from '../../src/index.ts'
import { toolCall } from '../core.ts'
import { failure } from './runs.ts'

/** A tool without parameters. */
const tool = (name: string, execute: AgentTool['execute'], more: Partial<AgentTool> = {}): AgentTool => ({
  name,
  execute,
  ...more,
})

/** What the model is told of one call. */
async function told(tools: AgentTool[], args = '{}', call: CallOptions = {}): Promise<string> {
  const [message] = await new Toolbox(tools).run([toolCall('call_1', tools[0]?.name ?? 'none', args)], call)
  return String(message?.content)
}

/** What becomes of one tool whose result this is. */
const resultOf = (result: unknown, more: Partial<AgentTool> = {}): Promise<string> =>
  told([tool('f', () => result, more)])

const weather = defineTool({
  name: 'weather',
  description: 'Tells the weather.',
  parameters: Type.Object({ city: Type.String(), days: Type.Optional(Type.Integer({ minimum: 1 })) }),
  strict: true,
  execute: ({ city, days = 1 }) => `${city}: rain for ${days}`,
})

t.test('a request offers the tools as OpenAI writes them', async (t) => {
  t.strictSame(JSON.parse(JSON.stringify(new Toolbox([weather, tool('clock', () => 'noon')]).definitions)), [
    {
      type: 'function',
      function: {
        name: 'weather',
        description: 'Tells the weather.',
        parameters: {
          type: 'object',
          required: ['city'],
          properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 1 } },
        },
        strict: true,
      },
    },
    { type: 'function', function: { name: 'clock', parameters: { type: 'object', properties: {} } } },
  ])
})

t.test('two tools of one name are refused', async (t) => {
  const twice = [tool('a', () => ''), tool('b', () => ''), tool('a', () => '')]
  t.throws(() => new Toolbox(twice), new TypeError('two tools are named "a"'))
})

t.test('an ill-formed tool is refused', async (t) => {
  t.throws(() => new Toolbox([{ name: 'a' } as AgentTool]), new TypeError('tool "a": execute must be a function'))
})

t.test('a name of every object is no tool', async (t) => {
  const toolbox = new Toolbox([weather])
  for (const name of ['constructor', '__proto__', 'toString']) t.equal(toolbox.has(name), false)
})

t.test('results come in the order of the calls', async (t) => {
  const slow = Promise.withResolvers<string>()
  const tools = [
    tool('slow', () => slow.promise),
    tool('fast', () => {
      slow.resolve('slow')
      return 'fast'
    }),
  ]
  t.strictSame(await new Toolbox(tools).run([toolCall('1', 'slow'), toolCall('2', 'fast')], {}), [
    { role: 'tool', tool_call_id: '1', content: 'slow' },
    { role: 'tool', tool_call_id: '2', content: 'fast' },
  ])
})

t.test('tools run at the same time: each waits here until all have begun', async (t) => {
  const all = Promise.withResolvers<void>()
  let begun = 0
  const barrier = tool('barrier', async () => {
    if (++begun === 20) all.resolve()
    await all.promise
    return begun
  })
  const warnings: Error[] = []
  const warn = (warning: Error) => void warnings.push(warning)
  process.on('warning', warn)
  const { signal } = new AbortController()
  const calls = Array.from({ length: 20 }, (_, index) => toolCall(`call_${index}`, 'barrier'))
  const results = await new Toolbox([barrier]).run(calls, { signal })
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warn)
  t.strictSame(
    results.map(({ content }) => content),
    new Array(20).fill('20'),
  )
  t.strictSame(warnings, [], 'however many listen for the client')
})

t.test('what a tool returns', async (t) => {
  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  t.equal(await resultOf('as it is: "x"'), 'as it is: "x"')
  t.equal(await resultOf(''), '')
  t.equal(await resultOf({ rain: true, mm: [1, 2] }), '{"rain":true,"mm":[1,2]}')
  t.equal(await resultOf(Promise.resolve(7)), '7')
  for (const nothing of [undefined, null, () => 1, Number.NaN]) t.equal(await resultOf(nothing), 'null')
  t.match(await resultOf(cyclic), /^Error: the result is not JSON: .*circular/)
  t.match(await resultOf({ n: 1n }), /^Error: the result is not JSON: .*BigInt/)
  t.match(
    await resultOf({
      toJSON() {
        throw new Error('no')
      },
    }),
    'Error: the result is not JSON: no',
  )
  t.equal(await resultOf('half a \ud83d'), 'half a \ufffd', 'providers refuse half a character')
})

t.test('a result over the limit is an error to the model, and one at the limit is none', async (t) => {
  t.equal(await resultOf('é'.repeat(5), { maxResultBytes: 10 }), 'ééééé')
  const complaint = 'Error: the result is too large: 12 bytes, and at most 10 may be'
  t.equal(await resultOf('é'.repeat(6), { maxResultBytes: 10 }), complaint)
  t.equal(await resultOf(['x'.repeat(8)], { maxResultBytes: 10 }), complaint)
  t.equal((await resultOf('x'.repeat(65_536))).length, 65_536, 'the default')
  t.match(await resultOf('x'.repeat(65_537)), /^Error: the result is too large/)
})

t.test('what a tool throws is told to the model', async (t) => {
  const thrown = (error: unknown) =>
    told([
      tool('f', () => {
        throw error
      }),
    ])
  t.equal(await thrown(new Error('no such city')), 'Error: no such city')
  t.equal(await thrown('a text'), 'Error: a text')
  t.equal(await thrown(undefined), 'Error: undefined')
  t.equal(await thrown(new Error('')), 'Error: it failed')
  t.equal(await thrown(Object.create(null)), 'Error: it failed')
  t.equal(await thrown(Object.assign(new Error(), { message: { a: 1 } })), 'Error: [object Object]')
  t.equal((await thrown(new Error('x'.repeat(10_000)))).length, 'Error: '.length + 2000, 'not at any length')
  t.equal(await told([tool('f', () => Promise.reject(new Error('later')))]), 'Error: later')
})

t.test('arguments are checked against the schema', async (t) => {
  t.equal(await told([weather], '{"city":"Ghent","days":2}'), 'Ghent: rain for 2')
  t.match(await told([weather], '{"days":2}'), /^Error: the arguments do not fit the schema: .*city/)
  t.match(await told([weather], '{"city":"Ghent","days":0}'), /^Error: .*\/days must be >= 1/)
  t.match(await told([weather], '{"city":5}'), /^Error: .*\/city must be string/)
  t.equal(await told([weather], '{"city":'), 'Error: the arguments are not a JSON object: {"city":')
  t.equal(await told([weather], '"Ghent"'), 'Error: the arguments are not a JSON object: "Ghent"')
  t.equal(await told([weather], '[]'), 'Error: the arguments are not a JSON object: []')
  t.match(await told([weather], ''), /^Error: the arguments do not fit the schema: .*city/)
})

t.test('also against a plain JSON schema', async (t) => {
  const plain = defineTool({
    name: 'plain',
    parameters: {
      $defs: { point: { type: 'object', properties: { x: { type: 'number' } }, required: ['x'] } },
      type: 'object',
      properties: { at: { $ref: '#/$defs/point' }, unit: { enum: ['C', 'F'] } },
      additionalProperties: false,
    },
    execute: (args) => args,
  })
  t.equal(await told([plain], '{"at":{"x":1},"unit":"C"}'), '{"at":{"x":1},"unit":"C"}')
  t.match(await told([plain], '{"at":{"y":1}}'), /^Error: .*\/at .*x/)
  t.match(await told([plain], '{"unit":"K"}'), /^Error: .*\/unit/)
  t.match(await told([plain], '{"other":1}'), /^Error: .*additional/)
})

t.test('a model that has nothing to say says nothing', async (t) => {
  const seen: unknown[] = []
  const echo = tool('echo', (args) => void seen.push(args))
  for (const args of ['', ' \n', 'null', '{}']) await told([echo], args)
  // Some servers leave the field out, or send what it should hold.
  const odd = [{ name: 'echo' }, { name: 'echo', arguments: null }, { name: 'echo', arguments: { a: 1 } }]
  for (const called of odd) {
    await new Toolbox([echo]).run([{ id: '1', type: 'function', function: called } as unknown as ToolCall], {})
  }
  t.strictSame(seen, [{}, {}, {}, {}, {}, {}, { a: 1 }])
})

t.test('arguments that cannot be checked are told to the model as well', async (t) => {
  const tree = tool('tree', () => 'ok', {
    parameters: { type: 'object', properties: { child: { $ref: '#' } } },
  })
  const depth = 100_000
  const deep = `${'{"child":'.repeat(depth)}{}${'}'.repeat(depth)}`
  t.match(await told([tree], deep), /^Error: the arguments/)
  t.equal(await told([tree], '{"child":{"child":{}}}'), 'ok')
})

t.test('none runs before all have been asked for, and none after a refusal', async (t) => {
  const asked: string[] = []
  const run: string[] = []
  const two = [tool('a', () => run.push('a')), tool('b', () => run.push('b'))]
  const toolbox = new Toolbox(two, async (name, args) => {
    asked.push(`${name} ${JSON.stringify(args)} after ${run.length}`)
    if (name === 'b') throw new Error('refused')
  })
  const calls = [toolCall('1', 'a', '{"x":1}'), toolCall('2', 'unknown'), toolCall('3', 'b')]
  t.match(await failure(toolbox.run(calls, {})), { message: 'refused' })
  t.strictSame(asked, ['a {"x":1} after 0', 'b {} after 0'])
  t.strictSame(run, [])
})

t.test('a tool knows whom it works for', async (t) => {
  const contexts: object[] = []
  const call = { requestId: 'req_1', userId: 'ada', conversationId: 'c1' }
  const spy = tool('spy', (_args, context) => void contexts.push(context))
  await told([spy], '{}', call)
  await told([spy])
  t.match(contexts, [call, { requestId: undefined, userId: null, conversationId: undefined }])
  t.match(contexts[0], { signal: AbortSignal })
})

t.test('a tool is called as a method of its own object', async (t) => {
  class Counter {
    readonly name = 'count'
    #count = 0
    execute() {
      return ++this.#count
    }
  }
  t.equal(await told([new Counter()]), '1')
})

t.test('a tool has its time', async (t) => {
  const late = Promise.withResolvers<string>()
  let signal: AbortSignal | undefined
  const reports: unknown[] = []
  const slow = tool(
    'slow',
    (_args, context) => {
      signal = context.signal
      return late.promise
    },
    { timeoutMs: 20 },
  )
  t.equal(
    await told([slow], '{}', { onTool: (report) => reports.push(report) }),
    'Error: the tool did not finish within 20 ms',
  )
  t.equal(signal?.aborted, true, 'its signal tells it')
  t.match(reports, [{ tool: 'slow', outcome: 'timeout' }])
  t.ok(Number((reports as { durationMs: number }[])[0]?.durationMs) >= 19)
  late.reject(new Error('too late: nobody is there to hear it'))
  await new Promise((resolve) => setImmediate(resolve))
})

t.test('a tool in time hears nothing of its time', async (t) => {
  const signals: AbortSignal[] = []
  const quick = tool('quick', (_args, context) => void signals.push(context.signal), { timeoutMs: 10 })
  await told([quick])
  await new Promise((resolve) => setTimeout(resolve, 30))
  t.strictSame(
    signals.map(({ aborted }) => aborted),
    [false],
  )
})

t.test('when the client leaves', async (t) => {
  t.test('tools are told, and left behind: whether they listen, or fail later', async (t) => {
    const client = new AbortController()
    const late = Promise.withResolvers<string>()
    const signals: AbortSignal[] = []
    const reports: unknown[] = []
    const stubborn = tool('stubborn', (_args, { signal }) => {
      signals.push(signal)
      if (signals.length === 2) client.abort(new Error('gone'))
      return late.promise
    })
    const calls = [toolCall('1', 'stubborn'), toolCall('2', 'stubborn')]
    const error = await failure(
      new Toolbox([stubborn]).run(calls, { signal: client.signal, onTool: (report) => reports.push(report) }),
    )
    t.match(error, { kind: 'client_closed' })
    t.strictSame(
      signals.map(({ aborted, reason }) => [aborted, reason.message]),
      [
        [true, 'gone'],
        [true, 'gone'],
      ],
    )
    t.match(reports, [
      { tool: 'stubborn', outcome: 'aborted' },
      { tool: 'stubborn', outcome: 'aborted' },
    ])
    late.reject(new Error('later'))
    await new Promise((resolve) => setImmediate(resolve))
  })

  t.test('no tool begins any more', async (t) => {
    const client = new AbortController()
    let runs = 0
    const toolbox = new Toolbox([tool('a', () => runs++)], async () => client.abort())
    const error = await failure(toolbox.run([toolCall('1', 'a')], { signal: client.signal }))
    t.match(error, { kind: 'client_closed' })
    t.equal(runs, 0)
  })

  t.test('nothing of a run listens to it once that is over', async (t) => {
    const { signal } = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners += 1
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners -= 1
      removeEventListener.apply(signal, args)
    }
    const toolbox = new Toolbox([tool('a', () => 1)])
    for (let step = 0; step < 5; step++) await toolbox.run([toolCall('1', 'a'), toolCall('2', 'a')], { signal })
    t.equal(listeners, 0)
  })
})

t.test('every call is reported, a made-up name as _other', async (t) => {
  const reports: string[] = []
  const tools = [
    tool('good', () => 'x'),
    tool('bad', () => Promise.reject(new Error('no'))),
    tool('big', () => 'xx', { maxResultBytes: 1 }),
  ]
  const calls = [toolCall('1', 'good'), toolCall('2', 'bad'), toolCall('3', 'big'), toolCall('4', 'good', '5')]
  const results = await new Toolbox(tools).run([...calls, toolCall('5', 'secret name')], {
    onTool: ({ tool, outcome, durationMs }) => reports.push(`${tool} ${outcome} ${durationMs >= 0}`),
  })
  t.strictSame(reports.sort(), [
    '_other unknown_tool true',
    'bad failed true',
    'big too_large true',
    'good invalid_arguments true',
    'good ok true',
  ])
  t.equal(results.at(-1)?.content, 'Error: there is no tool "secret name"')
})

t.test('a call that names no tool at all is the provider’s fault', async (t) => {
  for (const call of [{}, { function: null }, { function: {} }, { custom: {} }]) {
    const odd = { id: '1', type: 'function', ...call } as unknown as ToolCall
    t.match(await failure(new Toolbox([weather]).run([odd], {})), { kind: 'upstream_malformed' })
  }
})
