import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Conversations, type ConversationsOptions } from '../../src/agent/conversations.ts'
import {
  type CallOptions,
  ConversationHistory,
  type ConversationLoaderPlugin,
  createLLM,
  GatewayError,
  type LLMClient,
  MemoryLeases,
  MemoryPersistence,
  storedConversations,
} from '../../src/index.ts'
import { assistant, glance, messagesOf, user } from '../core.ts'
import { completion, gated, hang, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => Promise.all([upstream.close(), model.close?.()]))
t.beforeEach(() => upstream.reset())

const key = { userId: 'alice', conversationId: 'c1' }
const ask = (content: string) => ({ model: 'm', messages: [user(content)] })
const sent = (): string[] => glance(messagesOf(upstream.last()))

/** Conversations in memory, and their leases. */
function kept(options: Partial<ConversationsOptions> = {}) {
  const loader = storedConversations(new MemoryPersistence())
  const leases = new MemoryLeases()
  const conversations = new Conversations({ loader, leases, ...options })
  return {
    leases,
    loader,
    /** The messages that are kept of a conversation. */
    glance: async (of = key) => glance((await loader.load(of))?.messages ?? []),
    client: (of = key): LLMClient => conversations.remembering(model, of),
  }
}

/** A loader that is as good as it is told. */
const loaderOf = (parts: Partial<ConversationLoaderPlugin>): ConversationLoaderPlugin => ({
  load: () => null,
  save: () => undefined,
  ...parts,
})

async function read(client: LLMClient, content: string, call?: CallOptions): Promise<void> {
  for await (const _chunk of client.stream({ ...ask(content), stream: true }, call));
}

const ways: Record<string, (client: LLMClient, content: string, call?: CallOptions) => Promise<unknown>> = {
  whole: (client, content, call) => client.complete(ask(content), call),
  streamed: read,
}

for (const [way, take] of Object.entries(ways)) {
  t.test(`${way}: 50 turns at once leave all 50, in the order of their arrival`, async (t) => {
    const { client, glance, leases } = kept()
    await Promise.all(Array.from({ length: 50 }, (_, n) => take(client(), String(n))))
    const pairs = Array.from({ length: 50 }, (_, n) => [`user ${n}`, `assistant You said: ${n}`])
    t.strictSame(await glance(), pairs.flat())
    t.equal(leases.size, 0)
  })

  t.test(`${way}: of turns at once those that fail are left out, and hold up none`, async (t) => {
    const { client, glance, leases } = kept()
    upstream.behave((request, exchange) => {
      if (/[05]"/.test(request.rawBody.slice(request.rawBody.lastIndexOf('content')))) return exchange.json(500, {})
      return completion()(request, exchange)
    })
    await Promise.allSettled(Array.from({ length: 20 }, (_, n) => take(client(), String(n))))
    const good = Array.from({ length: 20 }, (_, n) => n).filter((n) => n % 5 > 0)
    t.strictSame(
      await glance(),
      good.flatMap((n) => [`user ${n}`, `assistant You said: ${n}`]),
    )
    t.equal(leases.size, 0)
  })

  t.test(`${way}: the next turn waits for the one before it`, async (t) => {
    const { client } = kept()
    upstream.next(completion({ firstDelayMs: 60 }))
    const first = take(client(), '1')
    const second = take(client(), '2')
    await sleep(30)
    t.equal(upstream.requests.length, 1)
    await Promise.all([first, second])
    t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 2'])
  })

  t.test(`${way}: turns of other conversations, and of other users, do not wait`, async (t) => {
    const { client, leases } = kept({ lockTimeoutMs: 20 })
    upstream.next(hang())
    const controller = new AbortController()
    const held = take(client(), '1', { signal: controller.signal })
    held.catch(() => {})
    await upstream.request(0)
    const others = ['c2', 'C1', 'c1:'].map((conversationId) => ({ ...key, conversationId }))
    const users = ['bob', null, 'anon'].map((userId) => ({ ...key, userId }) as typeof key)
    for (const other of [...others, ...users]) await t.resolves(take(client(other), '1'), JSON.stringify(other))
    controller.abort()
    await t.rejects(held)
    t.equal(leases.size, 0)
  })

  t.test(`${way}: who waits too long is refused, and told when to come again`, async (t) => {
    const { client, leases } = kept({ lockTimeoutMs: 30 })
    upstream.next(completion({ firstDelayMs: 120 }))
    const first = take(client(), '1')
    await t.rejects(take(client(), '2'), {
      code: 'conversation_locked',
      status: 409,
      headers: { 'retry-after': '1' },
      message: 'another turn of this conversation is in progress',
    })
    await first
    t.equal(upstream.requests.length, 1)
    await take(client(), '3')
    t.strictSame(sent(), ['user 1', 'assistant You said: 1', 'user 3'])
    t.equal(leases.size, 0)
  })

  t.test(`${way}: who leaves while waiting frees its place at once`, async (t) => {
    const { client, leases } = kept()
    const gate = gated(['a'])
    upstream.next(gate.behaviour)
    const first = read(client(), '1')
    await upstream.request(0)
    const controller = new AbortController()
    const leaving = take(client(), '2', { signal: controller.signal })
    const third = take(client(), '3')
    controller.abort()
    await t.rejects(leaving, { code: 'client_closed' })
    gate.release(10)
    await Promise.all([first, third])
    t.equal(upstream.requests.length, 2)
    t.strictSame(sent(), ['user 1', 'assistant a', 'user 3'])
    t.equal(leases.size, 0)
  })

  t.test(`${way}: a shutdown tells who waits of itself`, async (t) => {
    const { client } = kept()
    const reason = new GatewayError('shutting_down', 'the gateway is shutting down')
    await t.rejects(take(client(), '1', { signal: AbortSignal.abort(reason) }), reason)
  })

  const broken: Record<string, Partial<ConversationLoaderPlugin>> = {
    'fails to load': { load: () => Promise.reject(new Error('secret of the database')) },
    'throws at once': {
      load() {
        throw new Error('secret of the database')
      },
    },
    'does not come to an end': { load: () => new Promise(() => {}) },
    'gives something else': { load: () => ({ messages: [] }) as never },
    'has a snapshot that is none': { load: () => ConversationHistory.import({ version: 1, messages: 'secret' }) },
  }
  for (const [name, parts] of Object.entries(broken)) {
    t.test(`${way}: a loader that ${name} is a store that cannot be reached`, async (t) => {
      const { client, leases } = kept({ loader: loaderOf(parts), loaderTimeoutMs: 30 })
      await t.rejects(take(client(), '1'), {
        code: 'store_unavailable',
        status: 503,
        headers: { 'retry-after': '1' },
        message: 'the store of conversations cannot be reached',
      })
      t.equal(upstream.requests.length, 0, 'and nothing is asked that could not be kept')
      t.equal(leases.size, 0)
    })
  }

  t.test(`${way}: an error of the gateway's own that a loader throws is the answer`, async (t) => {
    const failure = new GatewayError('model_not_allowed', 'not this conversation')
    const { client } = kept({ loader: loaderOf({ load: () => Promise.reject(failure) }) })
    await t.rejects(take(client(), '1'), failure)
  })

  t.test(`${way}: leases that cannot be had are a store that cannot be reached`, async (t) => {
    const failing: ConversationsOptions['leases'][] = [
      { acquire: () => Promise.reject(new Error('no connection')) },
      {
        acquire() {
          throw new Error('no connection')
        },
      },
    ]
    for (const leases of failing) {
      await t.rejects(take(kept({ leases }).client(), '1'), { code: 'store_unavailable', status: 503 })
    }
  })

  const unsaved: Record<string, ConversationLoaderPlugin['save']> = {
    'fails to save': () => Promise.reject(new Error('full')),
    'throws at once': () => {
      throw new Error('full')
    },
    'does not come to an end': () => new Promise(() => {}),
  }
  for (const [name, save] of Object.entries(unsaved)) {
    t.test(`${way}: a loader that ${name} costs nobody the answer`, async (t) => {
      const { client } = kept({ loader: loaderOf({ save }), loaderTimeoutMs: 30 })
      const warnings: string[] = []
      await take(client(), '1', { onWarning: (warning) => void warnings.push(warning) })
      t.strictSame(warnings, ['the conversation could not be saved: it may not hold this turn'])
    })
  }

  t.test(`${way}: a loader may be as plain as can be`, async (t) => {
    const saved = new Map<string, ConversationHistory>()
    const loader: ConversationLoaderPlugin = {
      load: ({ userId, conversationId }) => saved.get(`${userId} ${conversationId}`) ?? (undefined as never),
      save: ({ userId, conversationId }, history) => saved.set(`${userId} ${conversationId}`, history),
    }
    const { client } = kept({ loader })
    await take(client(), '1')
    await take(client(), '2')
    t.strictSame(glance(saved.get('alice c1')?.messages ?? []), [
      'user 1',
      'assistant You said: 1',
      'user 2',
      'assistant You said: 2',
    ])
  })

  t.test(
    `${way}: one that gives the same object each time gets it back unchanged from a turn that fails`,
    async (t) => {
      const history = new ConversationHistory([user('1'), assistant('a')])
      const { client } = kept({ loader: loaderOf({ load: () => history }) })
      upstream.next((_request, exchange) => exchange.json(500, {}))
      await t.rejects(take(client(), '2'))
      await take(client(), '3')
      t.strictSame(glance(history.messages), ['user 1', 'assistant a'])
      t.strictSame(sent(), ['user 1', 'assistant a', 'user 3'])
    },
  )

  t.test(`${way}: a client that left while the conversation was loaded asks nothing`, async (t) => {
    const controller = new AbortController()
    const load = async (): Promise<null> => {
      controller.abort()
      return null
    }
    const leases = new MemoryLeases()
    /** Does not listen to its signal. */
    const deaf: LLMClient = {
      provider: 'lab',
      model: 'm',
      complete: (request) => model.complete(request),
      stream: (request) => model.stream(request),
    }
    const client = new Conversations({ loader: loaderOf({ load }), leases }).remembering(deaf, key)
    await t.rejects(take(client, '1', { signal: controller.signal }), { code: 'client_closed' })
    t.equal(upstream.requests.length, 0)
    t.equal(leases.size, 0)
  })
}

t.test('what is written late does not come after what the next turn writes', async (t) => {
  const { loader, glance } = kept()
  const written = Promise.withResolvers<void>()
  const slow = loaderOf({
    load: (of) => loader.load(of),
    async save(of, history) {
      await written.promise
      await loader.save(of, history)
    },
  })
  const { client, leases } = kept({ loader: slow, loaderTimeoutMs: 40 })
  await client().complete(ask('1'))
  t.strictSame(await glance(), [], 'the answer does not wait for it')
  const next = client().complete(ask('2'))
  written.resolve()
  await next
  t.strictSame(await glance(), ['user 1', 'assistant You said: 1', 'user 2', 'assistant You said: 2'])
  t.equal(leases.size, 0)
})

t.test('a write that never ends does not hold the conversation for ever', async (t) => {
  let hangs = true
  const loader = loaderOf({ save: () => (hangs ? new Promise(() => {}) : undefined) })
  const { client, leases } = kept({ loader, loaderTimeoutMs: 10 })
  await client().complete(ask('1'))
  hangs = false
  t.equal(leases.size, 1)
  await client().complete(ask('2'))
  t.equal(leases.size, 0)
})

t.test('by default turns wait in this process, for each other', async (t) => {
  const { loader, glance } = kept()
  const conversations = new Conversations({ loader })
  await Promise.all(['1', '2'].map((n) => conversations.remembering(model, key).complete(ask(n))))
  t.equal((await glance()).length, 4)
})

t.test('within limits: the oldest turns are neither sent nor kept', async (t) => {
  const { loader } = kept()
  const client = new Conversations({ loader }).remembering(model, key, { maxMessages: 3 })
  for (const n of ['1', '2', '3', '4']) await client.complete(ask(n))
  t.strictSame(sent(), ['user 3', 'assistant You said: 3', 'user 4'])
  t.equal((await loader.load(key))?.messages.length, 4)
})

t.test('a client that cannot stream: asked again for a whole answer, it takes one turn', async (t) => {
  const { leases, loader, glance } = kept()
  const unsupported = new GatewayError('unsupported', 'no streams')
  const wholeOnly: LLMClient = {
    provider: 'lab',
    model: 'm',
    complete: (request, call) => model.complete(request, call),
    stream() {
      throw unsupported
    },
  }
  const client = new Conversations({ loader, leases }).remembering(wholeOnly, key)
  await t.rejects(read(client, '1'), unsupported)
  t.equal(leases.size, 0)
  await client.complete(ask('1'))
  t.strictSame(await glance(), ['user 1', 'assistant You said: 1'])
})
