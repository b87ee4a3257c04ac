import t, { type Test } from 'tap'
import { type OpenTurn, remembered } from '../../src/agent/remembered.ts'
import { type CallOptions, type ChatRequest, ConversationHistory, createLLM, type LLMClient } from '../../src/index.ts'
import { assistant, glance, user } from '../core.ts'
import {
  type Behaviour,
  completion,
  completionBody,
  completionChunks,
  dropAfter,
  errorEventAfter,
  failWith,
  gated,
  startUpstream,
} from '../upstream.ts'

const upstream = await startUpstream()
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => Promise.all([upstream.close(), model.close?.()]))
t.beforeEach(() => upstream.reset())

/** A conversation that notes what is done with it. */
class Notes {
  readonly log: string[] = []
  history: ConversationHistory
  failure: Error | undefined

  constructor(...messages: Parameters<ConversationHistory['append']>) {
    this.history = new ConversationHistory(messages)
  }

  readonly open = async (): Promise<OpenTurn> => {
    this.log.push('open')
    return {
      history: this.history.fork(),
      save: async (history) => {
        await new Promise(setImmediate)
        if (this.failure) throw this.failure
        this.history = history
        this.log.push('save')
      },
      release: () => void (this.log.at(-1) !== 'release' && this.log.push('release')),
    }
  }

  get glance(): string[] {
    return glance(this.history.messages)
  }
}

const ask = (content: string): ChatRequest => ({ model: 'm', messages: [user(content)] })

/** Reads a stream to its end; what it came to is in the log of the notes. */
async function read(client: LLMClient, request: ChatRequest, call?: CallOptions): Promise<string> {
  const texts: string[] = []
  for await (const { choices } of client.stream({ ...request, stream: true }, call))
    texts.push(choices[0]?.delta.content ?? '')
  return texts.join('')
}

/** Takes a turn whole, or as a stream. */
const ways: Record<string, (client: LLMClient, request: ChatRequest, call?: CallOptions) => Promise<unknown>> = {
  whole: (client, request, call) => client.complete(request, call),
  streamed: read,
}

for (const [way, take] of Object.entries(ways)) {
  t.test(`${way}: the model is sent the conversation, which then holds the turn`, async (t) => {
    const notes = new Notes(user('1'), assistant('a'))
    await take(remembered(model, notes.open), ask('2'))
    t.strictSame(upstream.last().body, {
      model: 'm',
      messages: [user('1'), assistant('a'), user('2')],
      ...(way === 'streamed' ? { stream: true } : {}),
    })
    t.strictSame(notes.glance, ['user 1', 'assistant a', 'user 2', 'assistant You said: 2'])
  })

  t.test(`${way}: it is saved before the answer is whole, and released after that`, async (t) => {
    const notes = new Notes()
    await take(remembered(model, notes.open), ask('1'))
    notes.log.push('whole')
    t.strictSame(notes.log, ['open', 'save', 'release', 'whole'])
  })

  const failures: Record<string, Behaviour> = {
    'the provider refuses': failWith(400),
    'the provider fails': failWith(500),
    'the connection breaks': way === 'whole' ? (_request, exchange) => exchange.drop() : dropAfter(2),
    'the provider breaks off': way === 'whole' ? failWith(503) : errorEventAfter(2),
  }
  for (const [name, behaviour] of Object.entries(failures)) {
    t.test(`${way}: when ${name} the conversation is as it was`, async (t) => {
      upstream.next(behaviour)
      const notes = new Notes(user('1'), assistant('a'))
      const client = remembered(model, notes.open)
      await t.rejects(take(client, ask('2')), { name: 'GatewayError' })
      t.strictSame(notes.log, ['open', 'release'])
      t.strictSame(notes.glance, ['user 1', 'assistant a'])
    })
  }

  t.test(`${way}: a turn that a content filter ends leaves it as it was`, async (t) => {
    upstream.next(completion({ text: 'half', finishReason: 'content_filter' }))
    const notes = new Notes(user('1'), assistant('a'))
    await take(remembered(model, notes.open), ask('2'))
    t.strictSame(notes.log, ['open', 'release'])
  })

  t.test(`${way}: an answer that ends by its length is one`, async (t) => {
    upstream.next(completion({ text: 'half', finishReason: 'length' }))
    const notes = new Notes()
    await take(remembered(model, notes.open), ask('1'))
    t.strictSame(notes.glance, ['user 1', 'assistant half'])
  })

  t.test(`${way}: a turn that its client left just before it was whole leaves it as it was`, async (t) => {
    const notes = new Notes()
    const controller = new AbortController()
    /** Does not listen to its signal. */
    const deaf: LLMClient = {
      ...model,
      async complete(request) {
        const answer = await model.complete(request)
        controller.abort()
        return answer
      },
      async *stream(request) {
        yield* model.stream(request)
        controller.abort()
      },
    }
    const { signal } = controller
    await t.rejects(take(remembered(deaf, notes.open), ask('1'), { signal }), { code: 'client_closed' })
    t.strictSame(notes.log, ['open', 'release'])
  })

  t.test(`${way}: when it cannot be saved, the answer is delivered with a warning`, async (t) => {
    const notes = new Notes(user('1'), assistant('a'))
    notes.failure = new Error('the disk is full')
    const warnings: unknown[] = []
    const onWarning = (...warning: unknown[]): void => void warnings.push(warning)
    await take(remembered(model, notes.open), ask('2'), { onWarning })
    t.strictSame(warnings, [['the conversation could not be saved: it may not hold this turn', notes.failure]])
    t.strictSame(notes.log, ['open', 'release'])
  })

  t.test(`${way}: an answer that no conversation can hold is delivered with a warning`, async (t) => {
    let extra: unknown = 'the bottom'
    for (let depth = 0; depth < 1100; depth++) extra = [extra]
    upstream.next((request, exchange) => {
      const body = completionBody(request) as { choices: [{ message: object }] }
      const [{ message }] = body.choices
      if (way === 'whole')
        return exchange.json(200, { ...body, choices: [{ ...body.choices[0], message: { ...message, extra } }] })
      const [first, ...rest] = completionChunks(request) as Generator<{ choices: [{ delta: object }] }>
      const { choices } = first as { choices: [{ delta: object }] }
      return send([{ ...first, choices: [{ ...choices[0], delta: { ...choices[0].delta, extra } }] }, ...rest])(
        request,
        exchange,
      )
    })
    const notes = new Notes()
    const warnings: string[] = []
    await take(remembered(model, notes.open), ask('1'), { onWarning: (warning) => void warnings.push(warning) })
    t.strictSame(warnings, ['the conversation could not be saved: it may not hold this turn'])
  })

  t.test(`${way}: of several answers the first is the conversation's`, async (t) => {
    const notes = new Notes()
    await take(remembered(model, notes.open), { ...ask('1'), n: 3 })
    t.strictSame(notes.glance, ['user 1', 'assistant You said: 1'])
  })

  t.test(`${way}: an answer of a server that numbers no choices is kept, too`, async (t) => {
    upstream.next(async (request, exchange) => {
      const message = { role: 'assistant', content: 'hello' }
      if (way === 'whole') {
        return exchange.json(200, { ...completionBody(request), choices: [{ message, finish_reason: 'stop' }] })
      }
      return send([{ choices: [{ delta: message }] }, { choices: [{ delta: {}, finish_reason: 'stop' }] }])(
        request,
        exchange,
      )
    })
    const notes = new Notes()
    await take(remembered(model, notes.open), ask('1'))
    t.strictSame(notes.glance, ['user 1', 'assistant hello'])
  })

  t.test(`${way}: what a run has said is kept instead of its last words`, async (t) => {
    const running: LLMClient = {
      ...model,
      async complete(request, call) {
        const answer = await model.complete(request)
        call?.onTurn?.([assistant('step'), assistant('end')])
        return answer
      },
      async *stream(request, call) {
        yield* model.stream(request)
        call?.onTurn?.([assistant('step'), assistant('end')])
      },
    }
    const notes = new Notes()
    const heard: unknown[] = []
    await take(remembered(running, notes.open), ask('1'), { onTurn: (said) => void heard.push(...said) })
    t.strictSame(notes.glance, ['user 1', 'assistant step', 'assistant end'])
    t.strictSame(heard, [assistant('step'), assistant('end')], 'who listens hears it, too')
  })
}

t.test('calls, thoughts and refusals are put together from a stream as they come whole', async (t) => {
  const answers = [
    { reasoning: 'let me see', toolCalls: [{ id: 'c1', name: 'f', arguments: '{"city":"Oslo"}' }] },
    { refusal: 'I will not' },
  ]
  for (const answer of answers) {
    const [whole, streamed] = [new Notes(), new Notes()]
    upstream.next(completion(answer), completion(answer))
    await remembered(model, whole.open).complete(ask('1'))
    await read(remembered(model, streamed.open), ask('1'))
    t.same(streamed.history.messages.at(-1), whole.history.messages.at(-1))
  }
})

t.test('a stream that ends whole without saying why is kept', async (t) => {
  upstream.next(async (request, exchange) => {
    const [first, second] = completionChunks(request, { tokens: ['hello'] })
    return send([first, second])(request, exchange)
  })
  const notes = new Notes()
  await read(remembered(model, notes.open), ask('1'))
  t.strictSame(notes.glance, ['user 1', 'assistant hello'])
})

t.test('an answer without a choice is none', async (t) => {
  upstream.next((_request, exchange) => exchange.json(200, { id: 'x', object: 'chat.completion', choices: [] }))
  const notes = new Notes(user('1'), assistant('a'))
  t.strictSame((await remembered(model, notes.open).complete(ask('2'))).choices, [])
  t.strictSame(notes.log, ['open', 'release'])
})

t.test('a stream that nobody reads opens nothing', async (t) => {
  const notes = new Notes()
  const chunks = remembered(model, notes.open)
    .stream({ ...ask('1'), stream: true })
    [Symbol.asyncIterator]()
  t.strictSame(notes.log, [])
  await chunks.return?.()
  t.strictSame(notes.log, [])
})

t.test(
  'a stream that is left midway leaves the conversation as it was, also when all but its end was read',
  async (t) => {
    const gate = gated(['a', 'b'])
    gate.release(4)
    upstream.next(gate.behaviour)
    const notes = new Notes()
    for await (const { choices } of remembered(model, notes.open).stream({ ...ask('1'), stream: true })) {
      if (choices[0]?.finish_reason) break
    }
    t.strictSame(notes.log, ['open', 'release'])
  },
)

t.test('a client that leaves, and neither reads on nor says so, does not keep its conversation taken', async (t) => {
  const notes = new Notes()
  const controller = new AbortController()
  const { signal } = controller
  const chunks = remembered(model, notes.open)
    .stream({ ...ask('1'), stream: true }, { signal })
    [Symbol.asyncIterator]()
  await chunks.next()
  controller.abort()
  t.strictSame(notes.log, ['open', 'release'])
  await t.rejects(
    async () => {
      for (;;) if ((await chunks.next()).done) return
    },
    { code: 'client_closed' },
    'and what it reads later is not taken for a whole answer',
  )
  t.strictSame(notes.log, ['open', 'release'])
})

t.test('what cannot be opened is the failure of the turn', async (t) => {
  const failure = new Error('no conversation')
  const client = remembered(model, () => Promise.reject(failure))
  await t.rejects(client.complete(ask('1')), failure)
  await t.rejects(read(client, ask('1')), failure)
  t.equal(upstream.requests.length, 0)
})

t.test('a turn that cannot be joined is released', async (t) => {
  const notes = new Notes()
  const client = remembered(model, notes.open, { maxMessages: -1 })
  for (const take of Object.values(ways)) await t.rejects(take(client, ask('1')), RangeError)
  t.strictSame(notes.log, ['open', 'release', 'open', 'release'])
})

t.test('it has the name of its client, and closes it', async (t: Test) => {
  const { provider, model: name, close } = remembered(model, new Notes().open)
  t.strictSame([provider, name], ['lab', 'm'])
  t.type(close, 'function')
})

/** A stream of these chunks, whole. */
function send(chunks: unknown[]): Behaviour {
  return async (_request, exchange) => {
    exchange.startStream()
    for (const chunk of chunks) await exchange.event(chunk)
    await exchange.done()
  }
}
