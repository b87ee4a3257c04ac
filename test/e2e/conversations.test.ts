import { setTimeout as sleep } from 'node:timers/promises'
import type OpenAI from 'openai'
import { APIError, APIUserAbortError } from 'openai'
import t from 'tap'
import {
  BearerKeyAuth,
  type ConversationHistory,
  type ConversationKey,
  type ConversationLoaderPlugin,
  createEngine,
  createServer,
  FilePersistence,
  MemoryPersistence,
  storedConversations,
} from '../../src/index.ts'
import { chat, eventually, glance, inConversation, messagesOf, user } from '../core.ts'
import { startGateway } from '../gateway.ts'
import { completion, dropAfter, errorEventAfter, failWith, gated, hang, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

/** A store under the test's control: in memory, and as slow or broken as it is told. */
class Store implements ConversationLoaderPlugin {
  readonly #loader = storedConversations(new MemoryPersistence())
  readonly log: string[] = []
  onLoad: () => unknown = () => undefined
  onSave: () => unknown = () => undefined

  async load(key: ConversationKey): Promise<ConversationHistory | null> {
    await this.onLoad()
    return this.#loader.load(key)
  }

  async save(key: ConversationKey, history: ConversationHistory): Promise<void> {
    await this.onSave()
    await this.#loader.save(key, history)
    this.log.push('saved')
  }

  async glance(conversationId: string, userId: string | null = null): Promise<string[]> {
    return glance((await this.#loader.load({ userId, conversationId }))?.messages ?? [])
  }
}

const store = new Store()
t.beforeEach(() => {
  store.log.length = 0
  store.onLoad = store.onSave = () => undefined
})
const gateway = await startGateway(t, {
  upstream,
  extension: { conversationLoader: store },
  config: { conversations: { lockTimeout: '5s', loaderTimeout: '100ms' } },
})
const model = 'openai/m'
const ask = (content: string) => ({ model, messages: [{ role: 'user' as const, content }] })
const inIt = (conversation: string) => ({ headers: { 'x-conversation-id': conversation } })
const sent = (): string[] => glance(messagesOf(upstream.last()))

/** Takes turns of one conversation, whole or streamed. */
const ways: Record<string, (conversation: string, content: string, client?: OpenAI) => Promise<string>> = {
  async whole(conversation, content, client = gateway.client()) {
    const { choices } = await client.chat.completions.create(ask(content), inIt(conversation))
    return choices[0]?.message.content ?? ''
  },
  async streamed(conversation, content, client = gateway.client()) {
    return (await client.chat.completions.stream(ask(content), inIt(conversation)).finalContent()) ?? ''
  },
}

for (const [way, say] of Object.entries(ways)) {
  t.test(`${way}: each turn is sent with those before it`, async (t) => {
    const id = `talk ${way}`.replace(' ', '-')
    for (const n of ['1', '2', '3']) t.equal(await say(id, n), `You said: ${n}`)
    t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2', 'assistant You said: 2', 'user 3'])
  })

  t.test(`${way}: 50 turns at once leave all 50, each with its answer`, async (t) => {
    const id = `crowd-${way}`
    const said = await Promise.all(Array.from({ length: 50 }, (_, n) => say(id, String(n))))
    t.strictSame(
      said,
      Array.from({ length: 50 }, (_, n) => `You said: ${n}`),
    )
    const kept = await store.glance(id)
    t.equal(kept.length, 100)
    const asked = kept.flatMap((message) => (message.startsWith('user ') ? [message.slice('user '.length)] : []))
    t.strictSame(new Set(asked).size, 50)
    t.strictSame(
      kept,
      asked.flatMap((n) => [`user ${n}`, `assistant You said: ${n}`]),
    )
  })

  t.test(
    `${way}: turns that come one after the other, but do not wait for answers, are kept in that order`,
    async (t) => {
      const id = `order-${way}`
      const gate = gated(['first'])
      upstream.next(gate.behaviour)
      const first = ways.streamed?.(id, 'first')
      await upstream.request(0)
      const others: Promise<string>[] = []
      for (const n of ['1', '2', '3', '4']) {
        const arrived = Promise.withResolvers<unknown>()
        gateway.hooks.once('onRequest', arrived.resolve)
        others.push(say(id, n))
        await arrived.promise
        await sleep(20)
      }
      gate.release(10)
      await Promise.all([first, ...others])
      const asked = (await store.glance(id)).filter((message) => message.startsWith('user '))
      t.strictSame(asked, ['user first', 'user 1', 'user 2', 'user 3', 'user 4'])
    },
  )

  t.test(`${way}: who saw the end can go on at once, since it was saved before`, async (t) => {
    const id = `saved-${way}`
    store.onSave = () => sleep(40)
    await say(id, '1')
    store.log.push('whole')
    t.strictSame(store.log, ['saved', 'whole'])
  })

  t.test(`${way}: a turn that fails leaves the conversation as it was`, async (t) => {
    const id = `failing-${way}`
    await say(id, '1')
    const failures =
      way === 'whole' ? [failWith(500), failWith(400)] : [failWith(500), dropAfter(3), errorEventAfter(3)]
    for (const behaviour of failures) {
      upstream.next(behaviour)
      await t.rejects(say(id, '2'))
    }
    t.strictSame(await store.glance(id), ['user 1', 'assistant You said: 1'])
    await say(id, '3')
    t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 3'])
  })

  t.test(`${way}: a turn that a content filter ends leaves it as it was`, async (t) => {
    const id = `filtered-${way}`
    upstream.next(completion({ text: 'half', finishReason: 'content_filter' }))
    // The client's helper for streams raises it.
    await say(id, '1').catch(() => undefined)
    t.strictSame(await store.glance(id), [])
  })

  t.test(
    `${way}: a turn that its client leaves midway leaves it as it was, and the next one need not wait`,
    async (t) => {
      const id = `left-${way}`
      upstream.next(way === 'whole' ? hang() : gated(['a']).behaviour)
      const controller = new AbortController()
      const { signal } = controller
      const leaving = gateway.client().chat.completions.create(ask('1'), { ...inIt(id), signal })
      await upstream.request(0)
      controller.abort()
      await t.rejects(leaving, new APIUserAbortError())
      await say(id, '2')
      t.strictSame(await store.glance(id), ['user 2', 'assistant You said: 2'])
    },
  )

  t.test(`${way}: a store that cannot be read is a 503, which tells nothing of the store`, async (t) => {
    for (const [name, onLoad] of Object.entries({
      fails: () => Promise.reject(new Error('pg://admin')),
      hangs: hang,
    })) {
      store.onLoad = name === 'hangs' ? () => new Promise(() => {}) : onLoad
      const error = await say(`unread-${way}`, '1').catch((error: unknown) => error)
      t.ok(error instanceof APIError)
      const { status, code, message, headers } = error as APIError
      t.strictSame([status, code, headers?.get('retry-after')], [503, 'store_unavailable', '1'])
      t.notMatch(message, /pg|admin/)
      t.equal(upstream.requests.length, 0)
    }
    const stateless = await gateway.client().chat.completions.create(ask('1'))
    t.equal(stateless.choices[0]?.message.content, 'You said: 1', 'stateless traffic is untouched')
  })

  t.test(`${way}: the client's own retry gets over a store that was away for a moment`, async (t) => {
    let times = 0
    store.onLoad = () => (times++ === 0 ? Promise.reject(new Error('away')) : undefined)
    t.equal(await say(`away-${way}`, '1', gateway.client({ maxRetries: 1 })), 'You said: 1')
    t.equal(times, 2)
  })
}

t.test('the terminal event of a stream waits for a slow save, what comes before it does not', async (t) => {
  const saving = Promise.withResolvers<void>()
  store.onSave = () => saving.promise
  const response = await gateway.post('/v1/chat/completions', { ...ask('1'), stream: true }, inConversation('slow'))
  const decoder = new TextDecoder()
  let text = ''
  let saves = false
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true })
    if (!saves && text.includes('"finish_reason":"stop"')) {
      saves = true
      t.notMatch(text, '[DONE]')
      setTimeout(() => {
        t.notMatch(text, '[DONE]')
        saving.resolve()
      }, 50)
    }
  }
  t.match(text, /data: \[DONE\]\n\n$/)
  t.strictSame(store.log, ['saved'])
})

t.test('an answer that could not be kept is delivered, with a warning', async (t) => {
  const warning = 'the conversation could not be saved: it may not hold this turn'
  const never = (): Promise<never> => new Promise(() => {})
  const fails = (): Promise<never> => Promise.reject(new Error('pg://admin'))
  for (const [name, onSave] of Object.entries({ fails, never })) {
    store.onSave = onSave
    const told: unknown[] = []
    const stop = gateway.hooks.on('onWarning', (event) => told.push(event.warning))
    const whole = await gateway.post('/v1/chat/completions', ask('1'), inConversation(`unsaved-${name}`))
    t.equal(whole.status, 200)
    t.equal(whole.headers.get('x-signalbox-warning'), JSON.stringify(warning))
    t.match(await whole.json(), { choices: [{ message: { content: 'You said: 1' } }] })

    const body = { ...ask('1'), stream: true }
    const streamed = await gateway.post('/v1/chat/completions', body, inConversation(`unsaved-${name}-streamed`))
    const text = await streamed.text()
    t.ok(text.endsWith(`\n\n: warning ${JSON.stringify(warning)}\n\ndata: [DONE]\n\n`))
    t.notMatch(text, /pg:/)
    const content = await ways.streamed?.(`unsaved-${name}-client`, '1')
    t.equal(content, 'You said: 1', 'the official client does not mind the comment')
    t.strictSame(told, [warning, warning, warning])
    stop()
  }
})

t.test('a transcript replaces what is kept; system messages replace system messages', async (t) => {
  const { completions } = gateway.client().chat
  const turn = (...messages: OpenAI.ChatCompletionMessageParam[]) =>
    completions.create({ model, messages }, inIt('edit'))
  const rules = (content: string) => ({ role: 'system' as const, content })
  const question = (content: string) => ({ role: 'user' as const, content })
  await turn(rules('r1'), question('1'))
  await turn(rules('r2'), question('2'))
  t.strictSame(sent(), ['system r2', 'user 1', 'assistant You said: 1', 'user 2'])
  await turn(question('other'), { role: 'assistant', content: 'answer' }, question('3'))
  t.strictSame(sent(), ['user other', 'assistant answer', 'user 3'])
  await turn(question('4'))
  t.strictSame(sent(), ['user other', 'assistant answer', 'user 3', 'assistant You said: 3', 'user 4'])
})

t.test('an SDK that runs tools by itself loses no turn of its conversation', async (t) => {
  const weather = {
    type: 'function' as const,
    function: { name: 'weather', description: 'The weather', parameters: { type: 'object' }, function: () => 'sunny' },
  }
  const { completions } = gateway.client().chat
  for (const n of ['1', '2']) {
    const toolCalls = [{ id: `w${n}`, name: 'weather', arguments: '{}' }]
    upstream.next(completion({ toolCalls }), completion({ text: `sunny ${n}` }))
    const run = { ...ask(n), tools: [weather] }
    const runner =
      n === '1' ? completions.runTools(run, inIt('run')) : completions.runTools({ ...run, stream: true }, inIt('run'))
    t.equal(await runner.finalContent(), `sunny ${n}`)
  }
  const turn = (n: string): string[] => [`user ${n}`, `calls w${n}`, `w${n}: sunny`, `assistant sunny ${n}`]
  t.strictSame(await store.glance('run'), [...turn('1'), ...turn('2')])
})

t.test(
  'a stream that its client leaves after the first words keeps nothing, and the next turn need not wait',
  async (t) => {
    const gate = gated(['a', 'b'])
    gate.release(2)
    upstream.next(gate.behaviour)
    const stream = await gateway.client().chat.completions.create({ ...ask('1'), stream: true }, inIt('first-words'))
    for await (const { choices } of stream) if (choices[0]?.delta.content === 'a') break
    t.equal(await ways.whole?.('first-words', '2'), 'You said: 2')
    t.strictSame(sent(), ['user 2'])
  },
)

t.test('every script, in the header and back', async (t) => {
  for (const id of ['разговор', '会话 1', 'é', '🔑', 'a b', '100%', 'a%20b', '%C3%A9']) {
    const metadata = { conversation_id: id }
    const first = await gateway.post('/v1/chat/completions', { ...ask('1'), metadata })
    const header = first.headers.get('x-conversation-id') ?? ''
    t.match(header, /^[\x21-\x7e]+$/)
    const again = await gateway.post('/v1/chat/completions', ask('2'), inConversation(header))
    t.equal(again.headers.get('x-conversation-id'), header)
    t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'], id)
    const utf8 = Buffer.from(id).toString('latin1')
    if (/%/.test(id)) continue
    await gateway.post('/v1/chat/completions', ask('3'), inConversation(utf8))
    t.equal(sent().length, 5, `${id} in UTF-8`)
  }
  await gateway.post('/v1/chat/completions', ask('1'), inConversation('caf\xe9'))
  await gateway.post('/v1/chat/completions', ask('2'), inConversation('caf%C3%A9'))
  t.equal(sent().length, 3, 'and in latin1')
})

t.test("one user's conversation is never another's", async (t) => {
  const keys = {
    'sk-of-org-01': 'org',
    'sk-of-org-alice': 'org:alice',
    'sk-of-anon-01': 'anon',
    'sk-of-bob-0001': 'bob',
  }
  const guarded = await startGateway(t, {
    upstream,
    extension: { conversationLoader: store },
    auth: new BearerKeyAuth({ keys }),
  })
  const say = (apiKey: string, id: string, content: string) => ways.whole?.(id, content, guarded.client({ apiKey }))
  await say('sk-of-org-01', 'alice:c1', '1')
  await say('sk-of-org-alice', 'c1', '2')
  t.strictSame(sent(), ['user 2'])
  await ways.whole?.('c1', 'of nobody')
  await say('sk-of-anon-01', 'c1', '3')
  t.strictSame(sent(), ['user 3'])
  await say('sk-of-bob-0001', 'c1', '4')
  t.strictSame(sent(), ['user 4'])
  upstream.next(hang())
  const held = say('sk-of-org-01', 'c1', '5')
  held?.catch(() => {})
  await say('sk-of-bob-0001', 'c1', '6')
  t.strictSame(sent(), ['user 4', 'assistant You said: 4', 'user 6'], 'nor do they wait for each other')
})

t.test('a turn that waits too long is a 409, which the official client tries again by itself', async (t) => {
  const impatient = await startGateway(t, { upstream, config: { conversations: { lockTimeout: '30ms' } } })
  const gate = gated(['first'])
  upstream.next(gate.behaviour)
  const first = ways.streamed?.('c1', 'first', impatient.client())
  await upstream.request(0)
  const response = await impatient.post('/v1/chat/completions', ask('second'), inConversation('c1'))
  t.equal(response.status, 409)
  t.equal(response.headers.get('retry-after'), '1')
  t.match(await response.json(), { error: { code: 'conversation_locked', type: 'invalid_request_error', param: null } })

  const refused = Promise.withResolvers<unknown>()
  impatient.hooks.once('onResponse', refused.resolve)
  const second = ways.whole?.('c1', 'second', impatient.client({ maxRetries: 1 }))
  t.match(await refused.promise, { status: 409, errorCode: 'conversation_locked' })
  gate.release(10)
  t.equal(await first, 'first')
  t.equal(await second, 'You said: second')
  t.strictSame(sent(), ['user first', 'assistant first', 'user second'])
})

t.test('many who wait and leave leave nothing behind', async (t) => {
  const gate = gated(['first'])
  upstream.next(gate.behaviour)
  const first = ways.streamed?.('leavers', 'first')
  await upstream.request(0)
  const controller = new AbortController()
  const { signal } = controller
  const leaving = Array.from({ length: 20 }, (_, n) =>
    gateway.client().chat.completions.create({ ...ask(`${n}`), stream: n % 2 === 0 }, { ...inIt('leavers'), signal }),
  )
  await eventually(() => gateway.app.oaiServer.openRequests === 21)
  controller.abort()
  for (const each of leaving) await t.rejects(each, new APIUserAbortError())
  await eventually(() => gateway.app.oaiServer.openRequests === 1)
  gate.release(10)
  await first
  t.equal(await ways.whole?.('leavers', 'last'), 'You said: last')
  t.equal(upstream.requests.length, 2)
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
})

t.test('a shutdown breaks off turns, those that wait too, and keeps none of them', async (t) => {
  const stopping = await startGateway(t, { upstream, extension: { conversationLoader: store } })
  upstream.next(hang())
  const turns = ['1', '2'].map((n) => ways.whole?.('stopping', n, stopping.client()))
  const failures = Promise.all(turns.map((turn) => turn?.catch((error: APIError) => error.code)))
  await eventually(() => stopping.app.oaiServer.openRequests === 2 && upstream.requests.length === 1)
  stopping.app.oaiServer.abortOpenRequests()
  t.strictSame(await failures, ['shutting_down', 'shutting_down'])
  t.strictSame(await store.glance('stopping'), [])
})

t.test('in files, a conversation outlives its server', async (t) => {
  const directory = t.testdir()
  const agents = { bot: { model: 'lab/m', baseURL: upstream.baseURL } }
  for (const n of ['1', '2', '3']) {
    const engine = createEngine({ persistence: new FilePersistence({ directory }) })
    const server = createServer({ engine, agents })
    t.equal((await chat(server, { model: 'bot', messages: [user(n)] }, inConversation('c1'))).status, 200)
  }
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2', 'assistant You said: 2', 'user 3'])
})

t.test('and its service, where the configuration names a directory', async (t) => {
  const store = { kind: 'file', directory: t.testdir() }
  for (const n of ['1', '2']) {
    const service = await startGateway(t, { upstream, config: { store } })
    await ways.whole?.('c1', n, service.client())
    await service.close()
  }
  t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
})
